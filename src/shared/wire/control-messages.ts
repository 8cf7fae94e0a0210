/**
 * What the backup daemon and its command say to each other over the control socket.
 *
 * HTTP/1.1 on a Unix socket of mode 0600 (`<state>/control.sock`): whoever may
 * open it is the administrator, so there is no token. Shapes only grow; a
 * field is never renamed, because monitoring reads `--json`.
 *
 *   GET  /v1/status          -> StatusReport
 *   POST /v1/sync SyncRequest -> SyncEvent, one JSON a line, until `end`
 *   POST /v1/dump             -> DumpEvent, one JSON a line, until `end`
 *   GET  /v1/log?library=ID&limit=N -> {entries: HeadLogEntry[]}, newest first; ID may be a prefix that is unique
 *   errors: status 4xx/5xx with ControlError as body
 */

import type { ErrorCode } from '../errors.js'

export type LibraryState = 'waiting' | 'syncing' | 'synchronized' | 'failed'

/** One object that a library needs and that the primary could not give. */
export interface DamagedObject {
  readonly kind: 'commits' | 'fs' | 'blocks'
  readonly id: string
  readonly problem: 'missing' | 'corrupt' | 'unreadable'
  /** A path that needs it, directories with a trailing slash; null when none was found. */
  readonly path: string | null
  /** `head`: the latest state needs it; `history`: only an older commit does. */
  readonly where: 'head' | 'history'
}

export interface LibraryFailure {
  readonly code: ErrorCode
  /** Operation, subject, reason. */
  readonly message: string
  /** What the administrator can do next. */
  readonly nextStep: string
  /** True: tried again by itself. */
  readonly retrying: boolean
  /** Milliseconds until the next attempt; null when only a change or the operator brings one. */
  readonly retryInMs: number | null
  /** At most 1,000 of them; `damagedTotal` counts all. */
  readonly damaged: readonly DamagedObject[]
  readonly damagedTotal: number
}

export interface SyncProgress {
  /** Objects and bytes stored by this attempt, or found here and whole. */
  readonly objects: number
  readonly bytes: number
  /** Known to be still wanted; grows while directories are being read. */
  readonly objectsWanted: number
  readonly bytesWanted: number
  readonly elapsedMs: number
}

export interface LibraryStatus {
  readonly id: string
  readonly name: string | null
  readonly owner: string | null
  readonly state: LibraryState
  readonly deletedOnPrimary: boolean
  /** The head recorded here; null: none yet. */
  readonly head: string | null
  /** The head the primary was last known to have. */
  readonly primaryHead: string | null
  /** Age of the oldest change that is not recorded here, in ms; 0: none; null: not known. */
  readonly lagMs: number | null
  /** When the recorded head became durable here, Unix ms; null: no head, or recorded before our log began. */
  readonly recordedAt: number | null
  /** Objects accepted as absent by `sync --force`. */
  readonly holes: number
  /** Which ones, at most 1,000. */
  readonly skipped: readonly DamagedObject[]
  /** Of the files of the recorded head, as Seafile counts; null: not known. */
  readonly sizeBytes: number | null
  /** When its users last changed it, Unix ms, by the primary's clock; null: not known. */
  readonly changedAt: number | null
  readonly failure: LibraryFailure | null
  readonly progress: SyncProgress | null
}

/** What one agent last said of itself. All ages count on by themselves when it says nothing more. */
export interface AgentStatus {
  readonly address: string
  /** Who notices changes there: mysql-binlog, mysql-poll, sqlite-watch; starting; null: nothing said yet. */
  readonly source: string | null
  /** Since the source was last known to be at its newest; null: not yet. Old: it is deaf, whatever else it says. */
  readonly positionAgoMs: number | null
  /** Why the fast way is off, in words; null: it is not. */
  readonly degraded: string | null
  readonly connectedForMs: number
}

/** Something that has lasted for longer than `rpo`. */
export interface Overdue {
  /** `primary`: silent; `sweep`: none succeeds; `source`: an agent's is deaf; `library`: changes wait; `dump`: none comes; `binlog`: its archive stands still; `replica`: it is not well. Others may follow. */
  readonly what: string
  readonly forMs: number
  readonly message: string
  readonly nextStep: string
}

export interface StatusReport {
  readonly version: string
  /** Unix ms, by the backup's clock. */
  readonly at: number
  readonly primary: {
    readonly url: string
    /** null: not asked yet. */
    readonly reachable: boolean | null
    readonly lastContactAgoMs: number | null
    /** Sweeps compare every head; null: none has succeeded since the start. */
    readonly lastSweepAgoMs: number | null
    /** Agents that hold an event connection now. */
    readonly agentsConnected: number
    readonly agents: readonly AgentStatus[]
    readonly problem: { readonly code: ErrorCode; readonly message: string; readonly nextStep: string } | null
  }
  /** Empty: all is within `rpo`. The most general first. */
  readonly overdue: readonly Overdue[]
  readonly counts: {
    readonly total: number
    readonly synchronized: number
    readonly waiting: number
    readonly syncing: number
    readonly failed: number
    readonly deletedOnPrimary: number
    /** Synchronized, but with objects accepted as absent. */
    readonly withHoles: number
  }
  readonly syncing: readonly string[]
  readonly failed: readonly string[]
  /** Of the other tables; null: the daemon does not run yet, or is of before there were any. */
  readonly dumps: DumpsStatus | null
  /** Between the dumps; null: as with them. */
  readonly binlog: BinlogStatus | null
  /** Null: no `replica_url` is set. */
  readonly replica: ReplicaStatus | null
  /** Null: none was made. */
  readonly drill: DrillStatus | null
  /** Null: the daemon does not run yet, was promoted, or is of before it was said. */
  readonly promotion: PromotionStatus | null
  /** Only with `?libraries=1`. */
  readonly libraries?: readonly LibraryStatus[]
}

/** A dump of Seafile's other tables that is kept here. */
export interface DumpStatus {
  readonly id: string
  /** When it was asked for, Unix ms by the backup's clock. */
  readonly at: number
  /** On the disk. */
  readonly bytes: number
  readonly tables: number
  readonly rows: number
}

export interface DumpsStatus {
  /** Whether `dump_schedule` asks for any. */
  readonly scheduled: boolean
  readonly kept: number
  /** Of them, those that were found damaged. */
  readonly damaged: number
  /** Of those that are whole. */
  readonly newest: DumpStatus | null
  /** Unix ms; null: none comes. */
  readonly nextAt: number | null
  readonly running: boolean
  /** For how long one has been due that is not there; null: none is. */
  readonly owedForMs: number | null
  /** Why the last attempt gave none; null: it did, or there was none. */
  readonly problem: { readonly code: ErrorCode; readonly message: string; readonly nextStep: string } | null
}

/** A place in the archive of the binlog over which nothing can be replayed. */
export interface BinlogGap {
  /** When the archive was begun anew, Unix ms. */
  readonly at: number
  readonly why: string
}

/** The archive of the primary's binlog: what is between two dumps can be restored to the second. */
export interface BinlogStatus {
  /** False: `binlog_archive = off`. */
  readonly archiving: boolean
  /** When the run was begun that is gone on with, Unix ms; null: there is none. */
  readonly since: number | null
  /** All is archived up to here by the clock of the primary's database, Unix ms; null: nothing yet. */
  readonly upTo: number | null
  /** The same moment by the backup's clock, Unix ms. */
  readonly at: number | null
  /** How long ago that is. */
  readonly behindMs: number | null
  /** Those since the newest dump that is whole: before the next one, no restore can pass them. */
  readonly gaps: readonly BinlogGap[]
  /** Why the last attempt archived nothing; null: it did, or there was none. */
  readonly problem: { readonly code: ErrorCode; readonly message: string; readonly nextStep: string } | null
}

/** What MySQL's own replica of the primary says of itself. */
export interface ReplicaStatus {
  /** Without the password. */
  readonly url: string
  /** False: not yet. */
  readonly asked: boolean
  /** In its own words; null: it does not know. */
  readonly behindSeconds: number | null
  /** It does not answer, or is stopped; null: it is well. */
  readonly problem: string | null
  readonly problemForMs: number | null
}

/** The last rehearsed restore (`seaf-backup-cmd drill`). */
export interface DrillStatus {
  /** Unix ms. */
  readonly at: number
  readonly ok: boolean
  /** The first thing that was wrong; null: nothing. */
  readonly problem: string | null
  /** Of the last one that succeeded; null: none has. */
  readonly okAt: number | null
}

/** What `promote --check` would find now. The primary is not asked for it. */
export interface PromotionStatus {
  /** What would have to be mended first; empty: nothing is known that would. */
  readonly stops: readonly string[]
  /** Libraries not here as the primary was last known to have them, or not seen to be whole, or with holes. */
  readonly librariesLacking: number
  /** That the primary had deleted, and that would not come back unless they are asked for. */
  readonly librariesDeleted: number
  /** Users, groups and shares would be of then, Unix ms; null: there is no whole dump, and they would be lost. */
  readonly tablesAt: number | null
}

/** What `dumps now` hears. */
export type DumpEvent =
  /** At most some a second: compressed bytes that have come. */
  | { readonly type: 'progress'; readonly bytes: number }
  | { readonly type: 'end'; readonly dump: DumpStatus }
  | { readonly type: 'error'; readonly error: ControlError }

/** One head that was recorded here. */
export interface HeadLogEntry {
  readonly head: string
  /** The head that it took the place of; null: the first one. */
  readonly displaced: string | null
  /** How it stands to the displaced one. */
  readonly relation: 'new' | 'forward' | 'revisit' | 'unproven' | 'rewound' | 'diverged' | 'same'
  readonly cause: 'push' | 'sweep' | 'manual' | 'forced'
  /** When the primary had it, as far as is known, Unix ms; null: not known. */
  readonly primaryHadAt: number | null
  /** When it was durable here, Unix ms. */
  readonly recordedAt: number
}

export const HEAD_LOG_ENTRIES_MAX = 10_000

export interface SyncRequest {
  /** A library id or a prefix of one that is unique; null: all libraries. */
  readonly library: string | null
  readonly force: boolean
  /** Believe nothing that is here: every object is read, and what is absent or damaged is fetched again. */
  readonly full: boolean
}

export type SyncEvent =
  /** First: how many libraries this is about; `library` when it is one. */
  | { readonly type: 'started'; readonly library: string | null; readonly libraries: number }
  /** At most some a second. For all libraries: sums, and how many are done. */
  | { readonly type: 'progress'; readonly librariesDone: number; readonly progress: SyncProgress }
  | { readonly type: 'library'; readonly library: LibraryStatus }
  /** Last. */
  | { readonly type: 'end'; readonly synchronized: number; readonly failed: number }
  | { readonly type: 'error'; readonly error: ControlError }

export interface ControlError {
  readonly code: ErrorCode
  readonly message: string
  readonly nextStep: string
  /** For LIBRARY_AMBIGUOUS: the ids that begin so, at most 20. */
  readonly candidates?: readonly string[]
}
