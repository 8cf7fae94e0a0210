/**
 * What was recorded at an instant, from the state database alone, which is only read: for restores, with no daemon or
 * beside one.
 */

import { openStateToRead } from './state-db.js'
import type Database from 'better-sqlite3'
import type { CommitId, RepoId } from '../../shared/ids.js'

export interface PastHead {
  readonly head: CommitId
  /** Unix ms by our clock: when the primary had it, as far as is known, else when it was here. Null: not known, but before. */
  readonly since: number | null
}

export class PastStates implements Disposable {
  readonly #db: Database.Database
  readonly #headAt: Database.Statement
  readonly #oldest: Database.Statement
  readonly #presence: Database.Statement
  readonly #deleted: Database.Statement
  readonly #recorded: Database.Statement

  /** @throws BackupError STATE_UNUSABLE */
  constructor(stateDir: string) {
    this.#db = openStateToRead(stateDir)
    this.#headAt = this.#db.prepare(
      `SELECT head, COALESCE(primary_had_at, recorded_at) AS since FROM head_log
       WHERE repo = ? AND COALESCE(primary_had_at, recorded_at) <= ? ORDER BY id DESC LIMIT ?`,
    )
    this.#oldest = this.#db.prepare('SELECT displaced FROM head_log WHERE repo = ? ORDER BY id LIMIT 1')
    this.#presence = this.#db.prepare('SELECT present, at FROM presence WHERE repo = ? ORDER BY id')
    this.#recorded = this.#db.prepare('SELECT recorded_at FROM library WHERE repo = ?').pluck()
    this.#deleted = this.#db.prepare('SELECT deleted FROM library WHERE repo = ?').pluck()
  }

  /** Heads that it had at `at` and before, newest first. */
  headsUntil(repo: RepoId, at: number, limit: number): PastHead[] {
    return this.#headAt.all(repo, at, limit) as PastHead[]
  }

  /**
   * Undefined: it had none yet. `now`: what is recorded now, for a library of which no move was ever noted.
   */
  headAt(repo: RepoId, at: number, now: CommitId): PastHead | undefined {
    const [noted] = this.headsUntil(repo, at, 1)
    if (noted) return noted
    const oldest = this.#oldest.get(repo) as { displaced: CommitId | null } | undefined
    if (!oldest) return { head: now, since: null }
    // of a head that was displaced nobody noted since when it was here, but it was before
    return oldest.displaced === null ? undefined : { head: oldest.displaced, since: null }
  }

  /** Whether the primary had it, for all that was noticed. Null: it is gone, nobody noted since when. */
  wasPresent(repo: RepoId, at: number): boolean | null {
    const notes = this.#presence.all(repo) as { present: number; at: number }[]
    const before = notes.findLast(note => note.at <= at)
    if (before) return before.present === 1
    const [next] = notes
    if (next) return next.present === 0
    return this.#deleted.get(repo) === 1 ? null : true
  }

  /** Unix ms: when it was noticed that the primary had it no more, at `at` or before; null: nobody noted it. */
  goneSince(repo: RepoId, at: number): number | null {
    const notes = this.#presence.all(repo) as { present: number; at: number }[]
    const last = notes.findLast(note => note.at <= at)
    return last?.present === 0 ? last.at : null
  }

  /** Unix ms: when its rows were recorded last; null: not known. */
  recordedAt(repo: RepoId): number | null {
    return (this.#recorded.get(repo) as number | null | undefined) ?? null
  }

  isDeleted(repo: RepoId): boolean {
    return this.#deleted.get(repo) === 1
  }

  [Symbol.dispose](): void {
    this.#db.close()
  }
}
