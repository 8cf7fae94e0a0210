/**
 * Where the holes are: which paths of the latest state, or of history only, need an object that is not here.
 *
 * Walks our own store, after everything whole has been stored. Run only when
 * there is damage, because it reads whole trees.
 */

import { EMPTY_ID } from '../../shared/ids.js'
import { IdSet } from '../../shared/seafile/id-set.js'
import { newBlocks } from '../../shared/seafile/tree-diff.js'
import type { CommitId, RepoId } from '../../shared/ids.js'
import { isDirMode, isFileMode } from '../../shared/seafile/objects.js'
import type { FsObject } from '../../shared/seafile/objects.js'
import type { ObjectReader } from '../../shared/store/object-store.js'
import type { DamagedObject } from '../../shared/wire/control-messages.js'

/** A hole before it is known where it is. */
export interface Hole {
  readonly kind: DamagedObject['kind']
  readonly id: string
  readonly problem: DamagedObject['problem']
}

export interface DamageSearch {
  readonly store: ObjectReader
  readonly storeId: RepoId
  readonly holes: ReadonlyMap<string, Hole>
  readonly want: CommitId
  /** Root of the wanted head; null when that commit itself cannot be had. */
  readonly headRoot: string | null
  /** Roots of other trees that are owed: searched until every hole was found. */
  readonly olderRoots: readonly string[]
  readonly signal: AbortSignal
}

export async function locateDamage(search: DamageSearch): Promise<DamagedObject[]> {
  const head = new Map<string, string>()
  const older = new Map<string, string>()
  const seen = new IdSet()
  if (search.headRoot !== null) await walk(search, search.headRoot, seen, head)
  const missingFromHead = [...search.holes.keys()].filter(id => !head.has(id))
  // history is searched only for what the latest state does not explain
  for (const root of search.olderRoots) {
    if (missingFromHead.every(id => older.has(id))) break
    await walk(search, root, seen, older)
  }
  return [...search.holes.values()].map(hole => {
    const path = head.get(hole.id)
    if (path !== undefined) return { ...hole, path, where: 'head' }
    // the head commit itself: nothing of the latest state can be had
    if (hole.id === search.want) return { ...hole, path: null, where: 'head' }
    return { ...hole, path: older.get(hole.id) ?? null, where: 'history' }
  })
}

/** First path found for each hole. Directories end with a slash, as seaf-fsck prints them. */
async function walk(search: DamageSearch, root: string, seen: IdSet, found: Map<string, string>): Promise<void> {
  if (root === EMPTY_ID) return
  const todo = [{ id: root, path: '/' }]
  for (let next = todo.pop(); next; next = todo.pop()) {
    if (search.holes.has(next.id)) {
      if (!found.has(next.id)) found.set(next.id, next.path)
      continue
    }
    if (!seen.add(next.id)) continue
    search.signal.throwIfAborted()
    const fs = await readFs(search, next.id)
    if (fs?.type === 'dir') {
      for (const entry of fs.entries) {
        if (entry.id === EMPTY_ID) continue
        if (isDirMode(entry.mode)) todo.push({ id: entry.id, path: `${next.path}${entry.name}/` })
        else if (isFileMode(entry.mode)) todo.push({ id: entry.id, path: next.path + entry.name })
      }
    } else if (fs) {
      for (const block of newBlocks(fs, undefined)) {
        if (search.holes.has(block) && !found.has(block)) found.set(block, next.path)
      }
    }
  }
}

async function readFs(search: DamageSearch, id: string): Promise<FsObject | undefined> {
  const read = await search.store.read({ kind: 'fs', storeId: search.storeId, id })
  return read.state === 'whole' && read.object.is === 'fs' ? read.object.fs : undefined
}
