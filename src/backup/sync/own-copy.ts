/**
 * What we remember, held against what is here: a database that was restored, a disk that is not
 * mounted, a directory that was removed must not go on being reported as a backup.
 *
 * No scrub: of each library one way down is looked at, from the vouched commit to a block.
 * Whatever takes a whole directory away shows there; a single damaged object need not.
 */

import { storeIdOf } from '../../shared/catalog/library-tables.js'
import { EMPTY_ID } from '../../shared/ids.js'
import { isDirMode, isFileMode } from '../../shared/seafile/objects.js'
import type { CommitId } from '../../shared/ids.js'
import type { Catalog } from '../../shared/catalog/catalog.js'
import type { Log } from '../../shared/log.js'
import type { FsObject } from '../../shared/seafile/objects.js'
import type { DiskObjectReader } from '../../shared/store/disk-object-store.js'
import type { Library, LibraryStates } from '../state/library-state.js'

/** So many libraries are looked at in one go: a few milliseconds in which nobody else has a turn. */
const LOOK_AT_ONCE = 20

export interface OwnCopy {
  readonly catalog: Catalog
  readonly states: LibraryStates
  readonly store: DiskObjectReader
  readonly log: Log
}

/** At the start, before anything is believed: our Branch rows are the truth, and with an empty state all there is. */
export async function recallLibraries({ catalog, states, store, log }: OwnCopy, signal: AbortSignal): Promise<void> {
  const heads = await catalog.heads(signal)
  for (const repo of heads.keys()) states.ensure(repo)
  let [otherHead, lost, looked] = [0, 0, 0]
  for (const library of [...states.all()]) {
    const found = heads.get(library.repo) ?? null
    if (found !== library.head) {
      states.foundHead(library, found)
      otherHead += 1
    }
    await distrustBeyondHead(library, found, catalog, signal)
    if (!isHere(library, store)) {
      states.lost(library)
      lost += 1
    }
    if (++looked % LOOK_AT_ONCE === 0) await new Promise<void>(resolve => setImmediate(resolve))
    signal.throwIfAborted()
  }
  if (otherHead > 0) log.warn({ libraries: otherHead }, 'our head rows are not what was recorded')
  if (lost > 0) log.error({ libraries: lost, data: store.dataDir }, 'objects are gone from here; all are pulled again')
}

/**
 * Where seaf-gc leaves no id (SQLite, older servers) it runs while everything is stopped, and takes what no head
 * reaches: after a stop nothing vouches for what was pulled beyond the recorded head.
 */
async function distrustBeyondHead(
  library: Library,
  head: CommitId | null,
  catalog: Catalog,
  signal: AbortSignal,
): Promise<void> {
  if (head === null || !library.vouched || library.vouched.commit === head) return
  const storeId = library.rows ? storeIdOf(library.rows) : library.repo
  if ((await catalog.gcId(storeId, signal)) === null) library.vouched = null
}

/** False: what was vouched for is not here. True also for a library that nothing is vouched for. */
export function isHere({ repo, vouched, rows, holes }: Library, store: DiskObjectReader): boolean {
  if (!vouched) return true
  const absent = new Set<string>([EMPTY_ID, ...holes.map(hole => hole.id)])
  if (absent.has(vouched.commit)) return true
  const commit = store.read({ kind: 'commits', storeId: repo, id: vouched.commit })
  if (commit.state !== 'whole' || commit.object.is !== 'commit') return false
  if (!rows) return true // whose store holds its tree is not known
  const storeId = storeIdOf(rows)
  for (let id: string | undefined = commit.object.commit.rootId; id !== undefined && !absent.has(id);) {
    const read = store.read({ kind: 'fs', storeId, id })
    if (read.state !== 'whole' || read.object.is !== 'fs') return false
    const { fs }: { fs: FsObject } = read.object
    if (fs.type === 'file') {
      const [block] = fs.blocks
      if (block === undefined || absent.has(block)) return true
      return store.readRaw({ kind: 'blocks', storeId, id: block }, 0).state === 'large' // there, and not empty
    }
    const below = fs.entries.filter(entry => !absent.has(entry.id))
    id = (below.find(({ mode }) => isFileMode(mode)) ?? below.find(({ mode }) => isDirMode(mode)))?.id
  }
  return true
}
