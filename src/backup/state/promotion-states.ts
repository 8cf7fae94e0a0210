/** What the state database says of each library, for a promotion: read only, with no daemon or beside one. */

import { openStateToRead } from './state-db.js'
import type Database from 'better-sqlite3'
import type { CommitId, RepoId } from '../../shared/ids.js'

export interface KnownLibrary {
  readonly repo: RepoId
  /** The head that the primary was last known to have. */
  readonly primaryHead: CommitId | null
  readonly deleted: boolean
  /** The commit whose closure was seen to be here; null: none. */
  readonly vouched: CommitId | null
  /** Unix ms: when its rows were recorded here last; null: not known. */
  readonly recordedAt: number | null
  /** Objects that are lacking, accepted or not. */
  readonly holes: number
}

export class PromotionStates implements Disposable {
  readonly #db: Database.Database

  /** @throws BackupError STATE_UNUSABLE */
  constructor(stateDir: string) {
    this.#db = openStateToRead(stateDir)
  }

  libraries(): KnownLibrary[] {
    const rows = this.#db
      .prepare(
        `SELECT repo, primary_head AS primaryHead, deleted, vouched, recorded_at AS recordedAt,
           (SELECT COUNT(*) FROM hole WHERE hole.repo = library.repo) AS holes FROM library ORDER BY repo`,
      )
      .all() as (Omit<KnownLibrary, 'deleted'> & { deleted: number })[]
    return rows.map(row => ({ ...row, deleted: row.deleted === 1 }))
  }

  /** Of the latest states, as Seafile counts them; a library of which it is not known counts nothing. */
  bytes(): number {
    return (this.#db.prepare('SELECT SUM(size_bytes) FROM library').pluck().get() as number | null) ?? 0
  }

  /** Unix ms of the last head that was recorded here; null: none was. */
  newestRecord(): number | null {
    return (this.#db.prepare('SELECT MAX(recorded_at) FROM head_log').pluck().get() as number | null) ?? null
  }

  [Symbol.dispose](): void {
    this.#db.close()
  }
}
