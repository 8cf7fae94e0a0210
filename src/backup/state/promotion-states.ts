/** What the state database says of each library, for a promotion: read only, with no daemon or beside one. */

import { openStateToRead } from './state-db.js'
import type Database from 'better-sqlite3'
import type { CommitId, RepoId } from '../../shared/ids.js'

export interface KnownLibrary {
  readonly repo: RepoId
  /** The head that the primary was last known to have. */
  readonly primaryHead: CommitId | null
  readonly deleted: boolean
  /** Unix ms: when it was noticed that the primary has it no more; null: it has it, or nobody noted when. */
  readonly deletedSince: number | null
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
           CASE WHEN deleted THEN
             (SELECT MAX(at) FROM presence WHERE presence.repo = library.repo AND present = 0) END AS deletedSince,
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

  /** Unix ms: until when all that the primary had was heard of; null: nobody noted it. */
  contactAt(): number | null {
    return (this.#db.prepare('SELECT at FROM contact').pluck().get() as number | undefined) ?? null
  }

  [Symbol.dispose](): void {
    this.#db.close()
  }
}
