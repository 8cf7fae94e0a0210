/**
 * Every head that was ever recorded, oldest first; and of each library the move that is about to be made.
 *
 * The rows move in a database of their own, between two writes of ours. The
 * first announces the move, the second enters it. Killed in between, the next
 * start finds the head in `Branch` and enters it as it was announced.
 */

import { HEAD_LOG_ENTRIES_MAX } from '../../shared/wire/control-messages.js'
import type { Database as Db, Statement } from 'better-sqlite3'
import type { CommitId, RepoId } from '../../shared/ids.js'
import type { HeadLogEntry } from '../../shared/wire/control-messages.js'
import type { Relation } from '../sync/own-history.js'
import type { Cause } from './library-state.js'

export interface HeadMoveNote {
  readonly head: CommitId
  readonly relation: Relation
  readonly cause: Cause
  readonly primaryHadAt: number | null
  /** Unix ms: when it was durable here; of what is only announced, moments before. */
  readonly recordedAt: number
}

/** Its writes belong into a transaction of the caller's. */
export class HeadLog {
  readonly #db: Db
  readonly #enter: Statement
  readonly #announce: Statement
  readonly #withdraw: Statement

  constructor(db: Db) {
    this.#db = db
    this.#enter = db.prepare(
      `INSERT INTO head_log (repo, head, displaced, relation, cause, primary_had_at, recorded_at)
       VALUES (?, ?, ?, ?, ?, ?, ?)`,
    )
    this.#announce = db.prepare(
      `INSERT OR REPLACE INTO head_move (repo, head, relation, cause, primary_had_at, announced_at)
       VALUES (?, ?, ?, ?, ?, ?)`,
    )
    this.#withdraw = db.prepare('DELETE FROM head_move WHERE repo = ?')
  }

  announce(repo: RepoId, { head, relation, cause, primaryHadAt, recordedAt }: HeadMoveNote): void {
    this.#announce.run(repo, head, relation, cause, primaryHadAt, recordedAt)
  }

  /** Undefined: we were not about to move it there. */
  announced(repo: RepoId, head: CommitId | null): HeadMoveNote | undefined {
    return this.#db
      .prepare(
        `SELECT head, relation, cause, primary_had_at AS primaryHadAt, announced_at AS recordedAt
         FROM head_move WHERE repo = ? AND head = ?`,
      )
      .get(repo, head) as HeadMoveNote | undefined
  }

  enter(repo: RepoId, displaced: CommitId | null, note: HeadMoveNote): void {
    const { head, relation, cause, primaryHadAt, recordedAt } = note
    this.#withdraw.run(repo)
    if (displaced !== head) this.#enter.run(repo, head, displaced, relation, cause, primaryHadAt, recordedAt)
  }

  /** Newest first. */
  entries(repo: RepoId, limit = HEAD_LOG_ENTRIES_MAX): HeadLogEntry[] {
    return this.#db
      .prepare(
        `SELECT head, displaced, relation, cause, primary_had_at AS primaryHadAt, recorded_at AS recordedAt
         FROM head_log WHERE repo = ? ORDER BY id DESC LIMIT ?`,
      )
      .all(repo, limit) as HeadLogEntry[]
  }
}
