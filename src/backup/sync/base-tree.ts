/**
 * The commit of the origin that a virtual library was last merged from (`VirtualRepo.base_commit`).
 *
 * The server merges against it, and seaf-gc with -R refuses an origin whose
 * virtual libraries have lost it; where the origin keeps little history nothing
 * else reaches it. Needed are the commit and its directories and files, not its
 * blocks: seaf-gc without -R takes those by right.
 */

import { asBackupError } from '../../shared/errors.js'
import { locateDamage } from './damage.js'
import { Frontier } from './frontier.js'
import { ObjectIntake } from './object-intake.js'
import { factsFrom } from './own-history.js'
import type { CommitId, RepoId } from '../../shared/ids.js'
import type { ObjectStore } from '../../shared/store/object-store.js'
import type { DamagedObject } from '../../shared/wire/control-messages.js'
import type { WantedObject } from '../../shared/wire/sync-messages.js'
import type { PullParts } from './pull.js'

export interface BaseOrder {
  readonly origin: RepoId
  readonly commit: CommitId
  /** An earlier base whose tree is here; null: none. */
  readonly known: CommitId | null
}

/** Only the head of what is asked: no parent of a base commit is owed. */
const HEAD_ALONE = 0

/** Durable when it resolves, but for what is returned. */
export async function pullBaseTree(
  { origin, commit, known }: BaseOrder,
  parts: PullParts,
  signal: AbortSignal,
): Promise<DamagedObject[]> {
  if (commit === known) return []
  const { store } = parts
  const frontier = new Frontier({
    repo: origin,
    storeId: origin,
    want: commit,
    base: known && { commit: known, since: HEAD_ALONE },
    truncateTime: HEAD_ALONE,
    holes: [],
    store,
    readFacts: factsFrom(store, origin),
  })
  await frontier.begin()
  await using intake = new ObjectIntake({ ...parts, repo: origin, storeId: origin, frontier, signal })
  while (frontier.size > 0) {
    const lacking = await takeOurs(frontier, intake, store, origin)
    if (lacking.length > 0 && !(await askOrigin(intake, lacking))) return []
    frontier.beginTrees(null)
    signal.throwIfAborted()
  }
  await intake.commit()
  const holes = new Map(intake.holes().map(hole => [hole.id, hole]))
  if (holes.size === 0) return []
  const olderRoots = frontier.keptCommits().map(({ rootId }) => rootId)
  const found = await locateDamage({
    store,
    storeId: origin,
    holes,
    want: commit,
    headRoot: null,
    olderRoots,
    signal,
  })
  return found.map(damaged => ({ ...damaged, where: 'history' })) // the library's own latest state needs none of it
}

/** What the origin or the virtual library brought is here already: gives what is not. */
async function takeOurs(
  frontier: Frontier,
  intake: ObjectIntake,
  store: ObjectStore,
  origin: RepoId,
): Promise<WantedObject[]> {
  const lacking: WantedObject[] = []
  for (const { kind, id } of frontier.outstanding()) {
    if (kind === 'blocks') {
      frontier.giveUp(id)
      continue
    }
    const read = await store.read({ kind, storeId: origin, id })
    if (read.state === 'whole') await intake.found(read.object)
    else lacking.push({ kind, id })
  }
  return lacking
}

/** False: the origin is gone from the primary, and with it the need for a base. */
async function askOrigin(intake: ObjectIntake, lacking: readonly WantedObject[]): Promise<boolean> {
  try {
    await intake.askFor(lacking)
    return true
  } catch (error) {
    if (asBackupError(error).code === 'LIBRARY_GONE') return false
    throw error
  }
}
