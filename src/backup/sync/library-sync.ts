/**
 * One library, brought from the head we recorded to the head the primary has.
 *
 * The order is the guarantee. Objects first, each verified as it enters the
 * store and all of them durable; then a note in our state of what was pulled;
 * then the rows, head included, in one transaction; then the head log. A crash
 * anywhere leaves the old head and some objects nobody refers to yet, or the
 * new head with everything it reaches. The GC fence is read before the first
 * object is stored, so that a seaf-gc running here in between makes the head
 * refuse to move rather than point at what was collected.
 */

import { storeIdOf } from '../../shared/catalog/library-tables.js'
import { BackupError } from '../../shared/errors.js'
import { short } from '../../shared/ids.js'
import { copyOf, isHere } from './own-copy.js'
import type { Catalog } from '../../shared/catalog/catalog.js'
import type { CommitId, RepoId } from '../../shared/ids.js'
import type { Log } from '../../shared/log.js'
import type { DiskObjectReader } from '../../shared/store/disk-object-store.js'
import type { DamagedObject, SyncProgress } from '../../shared/wire/control-messages.js'
import type { HeadMoveNote } from '../state/head-log.js'
import type { Cause, Library, LibraryStates } from '../state/library-state.js'
import type { PullPool } from './pull-pool.js'
import type { LibraryFrame } from '../../shared/wire/sync-messages.js'
import type { Hole } from './damage.js'
import type { PullJob, PullResult, Vouched } from './pull.js'

export interface SyncParts {
  readonly catalog: Catalog
  readonly states: LibraryStates
  readonly store: DiskObjectReader
  readonly pool: PullPool
  readonly log: Log
}

export interface SyncOrder {
  /** Follow a head that does not descend from ours, and accept what the primary cannot give. */
  readonly force: boolean
  /** Nothing that is here vouches for anything: every object is looked at. */
  readonly full: boolean
  readonly cause: Cause
  readonly onProgress: (progress: SyncProgress) => void
  /** What came along with the event that told of it: frames of the delta from the head's parent. */
  readonly enclosed: Buffer | null
}

/** Resolves when the library is synchronized. Rejects with the reason why it is not; a whole latest state may have been recorded nonetheless. */
export async function syncLibrary(
  library: Library,
  order: SyncOrder,
  parts: SyncParts,
  signal: AbortSignal,
): Promise<void> {
  const { result, recorded, fence, heardAt } = await pull(library, order, parts, signal)
  const pulled = expectPulled(library, result)
  const accepted = order.force || holesAccepted(library, pulled.damaged)
  if (pulled.rootId !== null) library.vouchedGc = fence?.gcId ?? null
  const vouched = pulled.rootId === null ? null : { commit: pulled.want, since: pulled.library.truncateTime }
  const damagedHead = pulled.damaged.some(d => d.where === 'head')
  const holdsBack = pulled.rootId === null || (damagedHead && !accepted)
  const note = noteOf(library, pulled, order)
  parts.states.pulled(library, vouched, pulled.damaged, holdsBack ? null : note)
  if (holdsBack) throw damageError(library, pulled.damaged)
  await moveHead(library, pulled, { note, recorded, gcId: fence?.gcId ?? null, heardAt, accepted, parts }, signal)
  if (pulled.damaged.length > 0 && !accepted) throw damageError(library, pulled.damaged)
}

interface Pull {
  readonly result: PullResult
  readonly recorded: CommitId | null
  readonly fence: Fence | undefined
  /** performance.now() when the primary told of its rows. */
  readonly heardAt: number
}

/** What is remembered is nearly always what our rows say: they are read while the primary is asked, and decide before anything is stored. */
async function pull(library: Library, order: SyncOrder, parts: SyncParts, signal: AbortSignal): Promise<Pull> {
  const isKnown = library.looked && library.vouched !== null && !order.full
  // SQLite and files are read at once: not before the thread has been given its work
  const reading = Promise.resolve().then(() => readOwnRows(library, parts, signal))
  if (!isKnown) await reading
  try {
    return await pullFrom(library, order, { reading, parts }, signal)
  } catch (error) {
    if (!(error instanceof RememberedWrongly)) throw error
    return await pullFrom(library, order, { reading, parts }, signal)
  } finally {
    await reading.catch(() => {}) // it changes the library: not while somebody else syncs it
  }
}

/** Our rows were read meanwhile, and the library is not what this pull began with. */
class RememberedWrongly extends Error {}

async function pullFrom(
  library: Library,
  order: SyncOrder,
  { reading, parts }: { reading: Promise<OwnRows>; parts: SyncParts },
  signal: AbortSignal,
): Promise<Pull> {
  const job = jobOf(library, order)
  const ours = reading.then(own => {
    if (job.recorded !== library.head || job.vouched !== (order.full ? null : library.vouched))
      throw new RememberedWrongly('our rows are not what was remembered')
    return own
  })
  const mayStore = ours.then(({ fence }) => fence?.storeId ?? null)
  mayStore.catch(() => {}) // told to who waits for `ours`; where the pull failed first, that counts
  let fence: Fence | undefined
  let heardAt = performance.now()
  const events = {
    mayStore,
    library: async (frame: LibraryFrame) => {
      const { fence: known } = await ours
      const storeId = storeIdOf(frame.rows)
      fence = known?.storeId === storeId ? known : { storeId, gcId: await parts.catalog.gcId(storeId, signal) }
      heardAt = parts.states.heard(library, frame.rows.head, frame.digest)
    },
    checkpoint: (vouched: Vouched, holes: readonly Hole[]) => {
      library.vouchedGc = fence?.gcId ?? null
      parts.states.checkpoint(library, vouched, holes)
    },
    progress: order.onProgress,
  }
  const result = await parts.pool.pull(job, events, signal)
  return { result, recorded: (await ours).recorded, fence, heardAt }
}

function jobOf(library: Library, { force, full, cause, enclosed }: SyncOrder): PullJob {
  const baseCommit = library.summary?.baseCommit ?? null
  const lacksBase = library.holes.some(({ id }) => id === baseCommit)
  return {
    repo: library.repo,
    recorded: library.head,
    vouched: full ? null : library.vouched,
    baseKnown: lacksBase || full ? null : baseCommit,
    // the base commit is the origin's: it is asked for there
    holes: library.holes
      .filter(({ id }) => id !== baseCommit)
      .map(({ kind, id, problem, path }) => ({ kind, id, problem, path })),
    force,
    isUrgent: cause !== 'sweep',
    enclosed: force || full ? null : enclosed,
  }
}

type Pulled = PullResult & { readonly kind: 'pulled' }

interface Fence {
  readonly storeId: RepoId
  readonly gcId: string | null
}

interface OwnRows {
  readonly recorded: CommitId | null
  /** As it was before anything was vouched for; undefined: no such library here yet. */
  readonly fence: Fence | undefined
}

/** Our Branch row is the truth about what we recorded; the state database only remembers it. */
async function readOwnRows(library: Library, parts: SyncParts, signal: AbortSignal): Promise<OwnRows> {
  const ours = await parts.catalog.read(library.repo, signal)
  const recorded = ours?.rows.head ?? null
  if (recorded !== library.head) {
    parts.log.warn(
      { repo: library.repo, found: recorded, remembered: library.head },
      'our head row is not what was recorded',
    )
    parts.states.foundHead(library, recorded)
  }
  // our own seaf-gc keeps what the recorded head reaches; what was pulled beyond it may be gone
  const collected = ours !== undefined && ours.gcId !== library.vouchedGc && library.vouched?.commit !== recorded
  if (collected) library.vouched = null
  library.looked = true
  if (!isHere(copyOf(library), parts.store)) {
    parts.log.error({ repo: library.repo }, 'objects are gone from here; all are pulled again')
    parts.states.lost(library)
  }
  return { recorded, fence: ours && { storeId: storeIdOf(ours.rows), gcId: ours.gcId } }
}

function expectPulled(library: Library, result: PullResult): Pulled {
  switch (result.kind) {
    case 'pulled':
      return result
    case 'headless':
      throw new BackupError(
        'HEAD_MISSING',
        `sync ${library.repo}: the primary lists this library, but has no Branch row for it`,
      )
    case 'refused': {
      const theirs = result.library.rows.head as CommitId
      if (result.relation === 'rewound') {
        throw new BackupError(
          'HEAD_REWOUND',
          `sync ${library.repo}: the primary went back to commit ${short(theirs)}, which is older than ours, ${short(library.head ?? '')}; ours is kept`,
          { theirs },
        )
      }
      throw new BackupError(
        'HEAD_DIVERGED',
        `sync ${library.repo}: the primary's head ${short(theirs)} does not descend from ours, ${short(library.head ?? '')}; ours is kept`,
        { theirs },
      )
    }
  }
}

/** All of these were accepted by an earlier `sync --force`. */
function holesAccepted(library: Library, damaged: readonly DamagedObject[]): boolean {
  const accepted = new Set(library.holes.filter(hole => hole.accepted).map(hole => hole.id))
  return damaged.every(d => accepted.has(d.id))
}

interface Move {
  readonly note: HeadMoveNote
  readonly recorded: CommitId | null
  readonly gcId: string | null
  readonly heardAt: number
  readonly accepted: boolean
  readonly parts: SyncParts
}

async function moveHead(library: Library, pulled: Pulled, move: Move, signal: AbortSignal): Promise<void> {
  const { catalog, states, log } = move.parts
  const { want, relation } = pulled
  const { digest } = pulled.library
  const rows = { ...pulled.library.rows, head: want }
  const { behindSince } = library
  if (want !== move.recorded || digest !== library.digest) {
    await catalog.moveHead({ rows, from: move.recorded, gcId: move.gcId }, signal)
  }
  const { accepted, heardAt } = move
  states.recorded(library, { rows, digest, accepted, heardAt, ...move.note })
  if (want === move.recorded) return
  const lagMs = behindSince === undefined ? null : Math.round(performance.now() - behindSince)
  log.info(
    { repo: library.repo, head: want, relation, objects: pulled.objects, bytes: pulled.bytes, lagMs },
    'head recorded',
  )
}

/** How the head log tells of this move. */
function noteOf({ behindSince }: Library, { want, relation }: Pulled, { cause }: SyncOrder): HeadMoveNote {
  const primaryHadAt = behindSince === undefined ? null : Math.round(Date.now() - (performance.now() - behindSince))
  return { head: want, relation, cause, primaryHadAt, recordedAt: Date.now() }
}

function damageError(library: Library, damaged: readonly DamagedObject[]): BackupError {
  const head = damaged.filter(d => d.where === 'head')
  const corrupt = damaged.some(d => d.problem !== 'missing')
  const what = damaged.length === 1 ? '1 object is' : `${damaged.length} objects are`
  const state = corrupt ? 'missing or damaged' : 'missing'
  const place =
    head.length > 0
      ? 'in its latest state; everything whole is stored, the last good head is kept'
      : 'in its history only; the latest state is protected'
  return new BackupError(
    corrupt ? 'OBJECT_CORRUPT' : 'OBJECT_MISSING',
    `sync ${library.repo}: ${what} ${state} on the primary, ${place}`,
    {
      damaged: damaged.length,
    },
  )
}
