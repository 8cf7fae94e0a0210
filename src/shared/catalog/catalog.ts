/**
 * Seafile's rows: what a library is called, who owns it, and which commit is its head.
 *
 * `Branch.commit_id` of the branch named master is the only truth about a head.
 * Two implementations (SQLite, MySQL/MariaDB) pass one suite
 * (test/shared/catalog/catalog-suite.ts). Readers never write: on the primary only
 * `CatalogReader` is opened, read-only where the engine allows it.
 */

import type { CommitId, RepoId } from '../ids.js'

/** The rows of one library, in the form in which they are compared, sent and stored. Absent row: null. */
export interface LibraryRows {
  readonly repo: RepoId
  /** `Branch.commit_id` of branch master; null when that row is missing. */
  readonly head: CommitId | null
  /** `RepoHead.branch_name`. */
  readonly branchName: string | null
  readonly virtual: { readonly originRepo: RepoId; readonly path: string; readonly baseCommit: CommitId | null } | null
  readonly owner: string | null
  readonly info: {
    readonly name: string
    readonly updateTime: number | null
    readonly version: number | null
    readonly isEncrypted: number | null
    readonly lastModifier: string | null
    readonly status: number | null
    readonly type: string | null
  } | null
  /** `head` tells which head the size belongs to; the server fills it in some seconds after a commit. */
  readonly size: { readonly bytes: number; readonly head: string | null } | null
  readonly fileCount: number | null
  readonly historyLimitDays: number | null
  /** Unix seconds. */
  readonly validSince: number | null
}

/** Unix seconds and days, as seafile-server's history rule reads them; see seafile/history-rule.ts. */
export interface HistoryRows {
  /** RepoHistoryLimit of the library whose store is used (a virtual library's origin). */
  readonly limitDays: number | null
  /** SeafileConf (history, keep_days); null when there is no such row. */
  readonly defaultDays: number | null
  /** RepoValidSince of the library itself. */
  readonly validSince: number | null
}

/** One line of a sweep. `digest` covers every row of `LibraryRows` but the head, and the history limit that counts: 16 hex characters, opaque. */
export interface LibraryListing {
  readonly repo: RepoId
  readonly head: CommitId | null
  readonly digest: string
}

export interface LibraryRead {
  readonly rows: LibraryRows
  readonly history: HistoryRows
  /** `GCID.gc_id` of the store (origin for a virtual library): changes when seaf-gc ran. Null: none, or no such table. */
  readonly gcId: string | null
  /** Digest of `rows` as in `LibraryListing`. */
  readonly digest: string
}

export interface CatalogReader extends AsyncDisposable {
  /** Every library with a `Repo` row, from one consistent read. Rows that are not well-formed ids are left out and logged. */
  listing(signal: AbortSignal): Promise<LibraryListing[]>

  /** Heads of all libraries with a `Repo` and a `Branch` row; the cheapest whole read there is. */
  heads(signal: AbortSignal): Promise<Map<RepoId, CommitId>>

  /**
   * Another text whenever anybody committed since it was read last, and the cheapest question there is: what was read
   * after it need not be read again while it stays. Null: this engine does not tell.
   */
  version(signal: AbortSignal): Promise<string | null>

  /** `GCID.gc_id` of a store directory (see `LibraryRead.gcId`); null: none, or no such table. */
  gcId(storeId: RepoId, signal: AbortSignal): Promise<string | null>

  /** One library from one consistent read; undefined when it has no `Repo` row. */
  read(repo: RepoId, signal: AbortSignal): Promise<LibraryRead | undefined>
}

export interface HeadMove {
  /** The rows as the primary has them; `rows.head` is the head to record. */
  readonly rows: LibraryRows & { readonly head: CommitId }
  /** The head that must be recorded now; null: none. */
  readonly from: CommitId | null
  /** What `read().gcId` gave before the first object was stored. */
  readonly gcId: string | null
}

export interface Catalog extends CatalogReader {
  /**
   * Writes all rows of the library in one transaction, by compare-and-set on the
   * head and the GC id. When it resolves the rows survive a power cut; when it
   * rejects nothing was written. Rejects with HEAD_CONFLICT when the recorded
   * head is not `from` or the GC id changed. Rows that are null are deleted,
   * `GCID` and every table of other subjects is left alone. `from === rows.head`
   * is allowed: it applies a change of rows that came without a commit.
   */
  moveHead(move: HeadMove, signal: AbortSignal): Promise<void>
}

/** What the database said about one library in the middle of a commit; for `LibraryWriter` only. */
export interface CatalogWriter extends Catalog {
  /** Inserts Branch, RepoHead, Repo, RepoOwner, RepoInfo (VirtualRepo first, if any) in the order of seafile-server. */
  createLibrary(rows: LibraryRows & { readonly head: CommitId }, signal: AbortSignal): Promise<void>

  /** `UPDATE Branch` by compare-and-set, in a transaction of its own as the server does. False: the head is not `from`. */
  updateBranch(repo: RepoId, from: CommitId, to: CommitId, signal: AbortSignal): Promise<boolean>

  /** RepoInfo, then RepoSize and RepoFileCount in one transaction: what the server does after a commit. Null leaves a row as it is. */
  updateAfterCommit(
    repo: RepoId,
    rows: Pick<LibraryRows, 'info' | 'size' | 'fileCount'>,
    signal: AbortSignal,
  ): Promise<void>

  /** `VirtualRepo.base_commit` and `path` after a merge with the origin. */
  updateVirtual(repo: RepoId, virtual: NonNullable<LibraryRows['virtual']>, signal: AbortSignal): Promise<void>

  /** RepoHistoryLimit and RepoValidSince as the server sets them (REPLACE); null removes the row, undefined leaves it. */
  setHistory(
    repo: RepoId,
    history: { readonly limitDays?: number | null; readonly validSince?: number | null },
    signal: AbortSignal,
  ): Promise<void>

  /**
   * Libraries that have rows of their own (owner, size, …) but none in `Repo`: what a dump without Seafile's core
   * tables leaves. A server would list them as broken.
   */
  remnants(signal: AbortSignal): Promise<RepoId[]>

  /** What is there of such a one, as `read` would give it; null where nothing is. */
  remnant(repo: RepoId, signal: AbortSignal): Promise<LibraryRows>

  /** Its rows in every table of `LibraryRows`; of one that has a `Repo` row only with `evenListed`. */
  removeRows(repo: RepoId, evenListed: boolean, signal: AbortSignal): Promise<void>

  /** `REPLACE INTO RepoOwner`. */
  setOwner(repo: RepoId, owner: string, signal: AbortSignal): Promise<void>
}
