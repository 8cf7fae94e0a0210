/**
 * What we remember, held against what is here: a database that was restored, a disk that is not
 * mounted, a directory that was removed must not go on being reported as a backup.
 *
 * No scrub: of each library one way down is looked at, from the vouched commit to a block.
 * Whatever takes a whole directory away shows there; a single damaged object need not.
 */

import { asBackupError } from '../../shared/errors.js'
import { EMPTY_ID } from '../../shared/ids.js'
import { isDirMode, isFileMode } from '../../shared/seafile/objects.js'
import type { CommitId, RepoId } from '../../shared/ids.js'
import type { Catalog } from '../../shared/catalog/catalog.js'
import type { Log } from '../../shared/log.js'
import type { FsObject } from '../../shared/seafile/objects.js'
import type { DiskObjectReader } from '../../shared/store/disk-object-store.js'
import type { Library, LibraryStates } from '../state/library-state.js'

/** So many libraries are looked at in one go: a few milliseconds in which a pull in the same thread has to wait. */
const LOOK_AT_ONCE = 20

/** What is vouched for, as far as looking at it needs. */
export interface OwnCopy {
  readonly repo: RepoId
  /** Null: nothing is vouched for. */
  readonly commit: CommitId | null
  /** Null: whose store holds its tree is not known. */
  readonly storeId: RepoId | null
  /** Ids of holes. */
  readonly absent: readonly string[]
}

export const copyOf = ({ repo, vouched, summary, holes }: Library): OwnCopy => ({
  repo,
  commit: vouched?.commit ?? null,
  storeId: summary?.storeId ?? null,
  absent: holes.map(hole => hole.id),
})

/** At the start, before anything is believed: our Branch rows are the truth, and with an empty state all there is. */
export async function recallLibraries(
  { catalog, states, log }: { readonly catalog: Catalog; readonly states: LibraryStates; readonly log: Log },
  signal: AbortSignal,
): Promise<void> {
  const heads = await catalog.heads(signal)
  for (const repo of heads.keys()) states.ensure(repo)
  let otherHead = 0
  for (const library of [...states.all()]) {
    const found = heads.get(library.repo) ?? null
    if (found !== library.head) {
      states.foundHead(library, found)
      otherHead += 1
    }
    await distrustBeyondHead(library, found, catalog, signal)
    signal.throwIfAborted()
  }
  if (otherHead > 0) log.warn({ libraries: otherHead }, 'our head rows are not what was recorded')
}

export interface LookParts {
  readonly states: LibraryStates
  /** Indices of those that are not here. */
  readonly look: (copies: readonly OwnCopy[]) => Promise<readonly number[]>
  /** Of a library whose copy is gone. */
  readonly lost: (repo: RepoId) => void
  readonly log: Log
}

/**
 * After the start, beside everything else: each copy is looked at before its library counts as synchronized. A library
 * that is synced in the meantime was looked at by its sync.
 */
export async function lookAtCopies({ states, look, lost, log }: LookParts, signal: AbortSignal): Promise<void> {
  const unseen = [...states.all()].filter(library => !library.looked)
  let gone = 0
  while (unseen.length > 0) {
    const batch = unseen.splice(-LOOK_AT_ONCE).filter(library => !library.looked)
    const found = new Set(await look(batch.map(copyOf)))
    signal.throwIfAborted()
    for (const [i, library] of batch.entries()) {
      if (library.looked) continue
      library.looked = true
      if (!found.has(i)) continue
      try {
        states.lost(library)
      } catch (error) {
        // it is known here; whoever starts after us looks again
        log.error({ repo: library.repo, reason: asBackupError(error).message }, 'state not saved')
      }
      lost(library.repo)
      gone += 1
    }
  }
  if (gone > 0) log.error({ libraries: gone }, 'objects are gone from here; all are pulled again')
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
  const storeId = library.summary?.storeId ?? library.repo
  if ((await catalog.gcId(storeId, signal)) === null) library.vouched = null
}

/** False: what was vouched for is not here. True also for a library that nothing is vouched for. */
export function isHere({ repo, commit: vouched, storeId, absent: holes }: OwnCopy, store: DiskObjectReader): boolean {
  if (vouched === null) return true
  const absent = new Set<string>([EMPTY_ID, ...holes])
  if (absent.has(vouched)) return true
  const commit = store.read({ kind: 'commits', storeId: repo, id: vouched })
  if (commit.state !== 'whole' || commit.object.is !== 'commit') return false
  if (storeId === null) return true
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
