/**
 * What the backup believes about each library, in memory and in the state database.
 *
 *   waiting ──started──▶ syncing ──recorded──▶ synchronized ──moved──▶ waiting
 *                           │
 *                           └──failed──▶ failed ──started──▶ syncing
 *
 * The state itself is never stored: it follows from what is. A library is
 * synchronized when its recorded head and rows are those that the primary was
 * last seen to have and nothing failed; until the primary has been heard of and
 * our own copy was looked at since the start, nobody knows, and it is waiting.
 */

import { storeIdOf } from '../../shared/catalog/library-tables.js'
import { HeadLog } from './head-log.js'
import { holeOf, loaded, stored, unknownLibrary } from './library-row.js'
import { openError, stateError } from './state-db.js'
import type { Database as Db, Statement } from 'better-sqlite3'
import type { ErrorCode } from '../../shared/errors.js'
import type { LibraryListing, LibraryRows } from '../../shared/catalog/catalog.js'
import type { CommitId, RepoId } from '../../shared/ids.js'
import type { DamagedObject, HeadLogEntry, LibraryState, SyncProgress } from '../../shared/wire/control-messages.js'
import type { Hole } from '../sync/damage.js'
import type { Relation } from '../sync/own-history.js'
import type { Vouched } from '../sync/pull.js'
import type { HeadMoveNote } from './head-log.js'
import type { HoleRow, LibraryRow } from './library-row.js'

export type Cause = 'push' | 'sweep' | 'manual' | 'forced'

export interface Failure {
  readonly code: ErrorCode
  readonly message: string
  /** Consecutive; decides how long until the next attempt. */
  readonly attempts: number
  /** performance.now(); undefined: only a change or the operator brings the next one. */
  readonly retryAt: number | undefined
}

export type KnownHole = DamagedObject & { readonly accepted: boolean }

/** What is needed of a library's rows while nothing happens to it: of a hundred thousand, all stay in memory. */
export interface LibrarySummary {
  /** Where its fs objects and blocks lie. */
  readonly storeId: RepoId
  readonly name: string | null
  readonly owner: string | null
  readonly sizeBytes: number | null
  /** Unix seconds, RepoInfo. */
  readonly updateTime: number | null
  /** Of a virtual library. */
  readonly baseCommit: CommitId | null
}

const summaryOf = (rows: LibraryRows): LibrarySummary => ({
  storeId: storeIdOf(rows),
  name: rows.info?.name ?? null,
  owner: rows.owner,
  sizeBytes: rows.size?.bytes ?? null,
  updateTime: rows.info?.updateTime ?? null,
  baseCommit: rows.virtual?.baseCommit ?? null,
})

export interface Library {
  readonly repo: RepoId
  head: CommitId | null
  recordedAt: number | null
  /** Of the rows as recorded; null: not known. */
  summary: LibrarySummary | null
  digest: string | null
  vouched: Vouched | null
  /** Our own seaf-gc's id when that was pulled: GC keeps what a recorded head reaches, nothing else. */
  vouchedGc: string | null
  primaryHead: CommitId | null
  /** Digest of the primary's rows when last listed; null: not since the start. */
  primaryDigest: string | null
  deleted: boolean
  failure: Failure | null
  holes: readonly KnownHole[]
  /** performance.now() when the primary last said what it has of this library; undefined: not since our start. */
  heardAt: number | undefined
  /** performance.now() of the oldest change that is not recorded; undefined: none, or not known when. */
  behindSince: number | undefined
  /** performance.now() when it was first seen to be behind; undefined: it is not. Known also when `behindSince` is not. */
  seenBehindAt: number | undefined
  /** The head that an event named last, until it is recorded or was looked for often enough. */
  told: { readonly head: CommitId; readonly looks: number } | undefined
  progress: SyncProgress | null
  syncing: boolean
  /** What is vouched for was seen to be here since our start (own-copy.ts); until then nobody may rely on it. */
  looked: boolean
}

export function stateOf(library: Library): LibraryState {
  if (library.syncing) return 'syncing'
  if (library.failure) return 'failed'
  if (library.heardAt === undefined || library.head === null || isBehind(library) || !library.looked) return 'waiting'
  return 'synchronized'
}

/** The primary was seen to have another head, or other rows, than are recorded. */
export const isBehind = (library: Library): boolean =>
  library.primaryHead !== library.head || (library.primaryDigest !== null && library.primaryDigest !== library.digest)

/** 0: none; null: not known. */
export function lagMs(library: Library, now: number): number | null {
  if (library.heardAt === undefined) return null
  if (!isBehind(library)) return 0
  return library.behindSince === undefined ? null : now - library.behindSince
}

const seenBehindAt = (library: Library, at: number) => (isBehind(library) ? (library.seenBehindAt ?? at) : undefined)

/** Its oldest change that is not recorded, in ms: at least that, where nobody knows since when. 0: none is known of. */
export function waitedMs(library: Library, now: number): number {
  if (library.heardAt === undefined || !isBehind(library)) return 0
  return now - (library.behindSince ?? library.seenBehindAt ?? now)
}

export interface Recorded {
  readonly rows: LibraryRows & { readonly head: CommitId }
  readonly digest: string
  /** Its holes are accepted as they are. */
  readonly accepted: boolean
  readonly relation: Relation
  readonly cause: Cause
  readonly primaryHadAt: number | null
  /** performance.now() when the primary said that it has these rows; what was heard later stays. */
  readonly heardAt: number
}

export class LibraryStates {
  readonly #libraries = new Map<RepoId, Library>()
  readonly #db: Db
  readonly #save: Statement
  readonly #remove: Statement
  readonly #clearHoles: Statement
  readonly #addHole: Statement
  readonly #notePresence: Statement
  readonly #log: HeadLog
  readonly #saveHeard: Statement
  /** The primary's head is known, and not written yet. */
  readonly #heard = new Set<Library>()

  constructor(db: Db) {
    this.#db = db
    this.#save = db.prepare(
      `INSERT OR REPLACE INTO library (repo, head, recorded_at, digest, vouched, vouched_since, vouched_gc, primary_head, deleted, failure,
         store, name, owner, size_bytes, update_time, base_commit)
       VALUES (@repo, @head, @recordedAt, @digest, @vouched, @since, @vouchedGc, @primaryHead, @deleted, @failure,
         @store, @name, @owner, @sizeBytes, @updateTime, @baseCommit)`,
    )
    this.#remove = db.prepare('DELETE FROM library WHERE repo = ?')
    this.#clearHoles = db.prepare('DELETE FROM hole WHERE repo = ?')
    this.#addHole = db.prepare(
      'INSERT INTO hole (repo, id, kind, problem, path, place, accepted) VALUES (?, ?, ?, ?, ?, ?, ?)',
    )
    this.#saveHeard = db.prepare(
      `INSERT INTO library (repo, primary_head) VALUES (?, ?)
       ON CONFLICT (repo) DO UPDATE SET primary_head = excluded.primary_head`,
    )
    this.#notePresence = db.prepare('INSERT INTO presence (repo, present, at) VALUES (?, ?, ?)')
    this.#log = new HeadLog(db)
    try {
      this.#load()
    } catch (error) {
      throw openError(db.name, error)
    }
  }

  get(repo: RepoId): Library | undefined {
    return this.#libraries.get(repo)
  }

  /** Known from now on. */
  ensure(repo: RepoId): Library {
    let library = this.#libraries.get(repo)
    if (!library) {
      library = unknownLibrary(repo)
      this.#libraries.set(repo, library)
    }
    return library
  }

  all(): Iterable<Library> {
    return this.#libraries.values()
  }

  get size(): number {
    return this.#libraries.size
  }

  /** What a listing says that was asked for at `askedAt` (performance.now()). What was heard since is newer and stays. */
  listed(listing: LibraryListing, askedAt: number): Library {
    const library = this.ensure(listing.repo)
    if ((library.heardAt ?? -1) > askedAt) return library
    // found by comparing, not by an event: since when it is so, nobody knows
    if (library.primaryHead !== listing.head) library.behindSince = undefined
    library.heardAt = askedAt
    this.#isBack(library)
    if (library.primaryHead !== listing.head) this.#heard.add(library)
    library.primaryHead = listing.head === library.head ? library.head : listing.head // one text in memory, not two
    library.primaryDigest = listing.digest === library.digest ? library.digest : listing.digest
    if (!isBehind(library)) library.behindSince = undefined
    library.seenBehindAt = seenBehindAt(library, askedAt)
    return library
  }

  /** The primary does not have it (any more). What is here is kept; of what never came here nothing is remembered. */
  gone(library: Library): void {
    if (library.head === null && library.vouched === null && !library.syncing) return this.#forget(library)
    library.heardAt = performance.now()
    library.failure = null
    if (!library.deleted) this.#present(library, false, 'record a deletion on the primary')
  }

  #isBack(library: Library): void {
    if (library.deleted) this.#present(library, true, 'record a library that is back')
  }

  #present(library: Library, present: boolean, operation: string): void {
    library.deleted = !present
    try {
      this.#write(library, operation, () => this.#notePresence.run(library.repo, present ? 1 : 0, Date.now()))
    } catch (error) {
      library.deleted = present
      throw error
    }
  }

  /** The primary's own rows say so, just now: when that is (performance.now()). */
  heard(library: Library, head: CommitId | null, digest: string): number {
    library.heardAt = performance.now()
    this.#isBack(library)
    if (library.primaryHead !== head) this.#heard.add(library)
    library.primaryHead = head
    library.primaryDigest = digest
    library.seenBehindAt = seenBehindAt(library, library.heardAt)
    return library.heardAt
  }

  /** An event said so. `at`: performance.now() of the change, for all it knows. Said late, it undoes no newer one. */
  moved(repo: RepoId, head: CommitId | null, at: number): Library {
    const library = this.ensure(repo)
    library.heardAt = performance.now()
    if (head !== null && !(head === library.head && isBehind(library))) {
      if (library.primaryHead !== head) this.#heard.add(library)
      library.primaryHead = head
      library.told = { head, looks: 0 }
    }
    if (head === null || head !== library.head) library.behindSince ??= at
    library.seenBehindAt = seenBehindAt(library, library.heardAt)
    return library
  }

  /** Durable when it returns: `vouched` is whole but for `holes`. */
  checkpoint(library: Library, vouched: Vouched, holes: readonly Hole[]): void {
    const paths = new Map(library.holes.map(hole => [hole.id, hole]))
    library.vouched = vouched
    library.holes = holes.map(hole => ({
      ...hole,
      path: paths.get(hole.id)?.path ?? null,
      where: paths.get(hole.id)?.where ?? 'history',
      accepted: paths.get(hole.id)?.accepted ?? false,
    }))
    this.#write(library, 'record a checkpoint', () => this.#writeHoles(library))
  }

  /** The head is in `Branch`; this remembers how it came. Durable when it returns. */
  recorded(library: Library, recorded: Recorded): void {
    const displaced = library.head
    library.head = recorded.rows.head
    library.recordedAt = Date.now()
    const note = { ...recorded, head: recorded.rows.head, recordedAt: library.recordedAt }
    library.summary = summaryOf(recorded.rows)
    library.digest = recorded.digest
    if (recorded.accepted) library.holes = library.holes.map(hole => ({ ...hole, accepted: true }))
    if ((library.heardAt ?? -1) <= recorded.heardAt) {
      library.heardAt = recorded.heardAt
      library.primaryHead = recorded.rows.head
      library.primaryDigest = recorded.digest
      this.#isBack(library)
    }
    // behind still, or again: by something that was heard of while this was pulled
    library.behindSince = isBehind(library) && library.behindSince !== undefined ? library.heardAt : undefined
    library.seenBehindAt = isBehind(library) ? library.heardAt : undefined
    library.failure = null
    this.#write(library, 'record a head', () => {
      this.#writeHoles(library)
      this.#log.enter(library.repo, displaced, note)
    })
  }

  /**
   * Everything whole is here, and no row has moved yet: what was pulled is remembered, with what it lacks.
   * Null: the head's own commit is lacking, so what was vouched for before still is. `move`: the rows' head goes there next.
   */
  pulled(
    library: Library,
    vouched: Vouched | null,
    damaged: readonly DamagedObject[],
    move: HeadMoveNote | null = null,
  ): void {
    if (vouched) library.vouched = vouched
    const accepted = new Set(library.holes.filter(hole => hole.accepted).map(hole => hole.id))
    library.holes = damaged.map(d => ({ ...d, accepted: accepted.has(d.id) }))
    this.#write(library, 'record what was pulled', () => {
      this.#writeHoles(library)
      if (move) this.#log.announce(library.repo, move)
    })
  }

  failed(library: Library, failure: Failure): void {
    library.failure = failure
    this.#write(library, 'record a failure')
  }

  /**
   * Our Branch row says something else than we remember. Killed between head move and record: it is what we
   * pulled last, and stays vouched for. Else (a database restored, a state lost) nothing vouches for it.
   */
  foundHead(library: Library, head: CommitId | null): void {
    if (head === null || library.vouched?.commit !== head) library.vouched = null
    const [displaced, move] = [library.head, this.#log.announced(library.repo, head)]
    library.recordedAt = move?.recordedAt ?? null
    library.head = head
    library.summary = null
    library.digest = null
    this.#write(library, 'record a head that was found', () => move && this.#log.enter(library.repo, displaced, move))
  }

  /** What was vouched for is not here any more: behind, whatever its rows say, until all of it was pulled again. */
  lost(library: Library): void {
    library.vouched = null
    library.digest = null
    this.#write(library, 'record that objects are gone')
  }

  /** Newest first. */
  headLog(repo: RepoId, limit?: number): HeadLogEntry[] {
    return this.#log.entries(repo, limit)
  }

  /**
   * What was heard of the primary's heads and is not here yet, in one transaction: on the day that the primary is gone,
   * it says which libraries were behind. What is synced meanwhile is written with that, so that little is left.
   */
  saveHeard(): void {
    if (this.#heard.size === 0) return
    try {
      this.#db.transaction(() => {
        for (const { repo, primaryHead } of this.#heard) this.#saveHeard.run(repo, primaryHead)
      })()
    } catch (error) {
      throw stateError("record the primary's heads", error)
    }
    this.#heard.clear()
  }

  #forget({ repo }: Library): void {
    const library = this.#libraries.get(repo)
    if (library) this.#heard.delete(library)
    this.#libraries.delete(repo)
    try {
      this.#remove.run(repo)
    } catch (error) {
      throw stateError('forget a library that never was', error)
    }
  }

  #write(library: Library, operation: string, more: () => unknown = () => {}): void {
    try {
      this.#db.transaction(() => {
        this.#save.run(stored(library))
        more()
      })()
      this.#heard.delete(library)
    } catch (error) {
      throw stateError(operation, error)
    }
  }

  #writeHoles(library: Library): void {
    this.#clearHoles.run(library.repo)
    for (const { id, kind, problem, path, where, accepted } of library.holes) {
      this.#addHole.run(library.repo, id, kind, problem, path, where, accepted ? 1 : 0)
    }
  }

  #load(): void {
    const owners = new Map<string, string>()
    for (const row of this.#db.prepare('SELECT * FROM library').iterate() as Iterable<LibraryRow>) {
      this.#libraries.set(row.repo, loaded(row, owners))
    }
    for (const row of this.#db.prepare('SELECT * FROM hole').iterate() as Iterable<HoleRow>) {
      const library = this.#libraries.get(row.repo)
      if (library) library.holes = [...library.holes, holeOf(row)]
    }
  }
}
