/** Sync tokens in a SQLite database of Seafile's, and what is known of the clients that have them. */

import Database from 'better-sqlite3'
import type { RepoId } from '../../shared/ids.js'

/** Of all of these libraries or of none: one transaction. */
export function removeSqliteTokens(path: string, repos: readonly RepoId[]): void {
  const db = new Database(path, { fileMustExist: true, timeout: 10_000 })
  try {
    db.pragma('synchronous = EXTRA')
    const tables = new Set(db.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").pluck().all() as string[])
    if (!tables.has('RepoUserToken')) return
    db.transaction(() => {
      for (const repo of repos) {
        if (tables.has('RepoTokenPeerInfo')) {
          const tokens = '(SELECT token FROM RepoUserToken WHERE repo_id = ?)'
          db.prepare(`DELETE FROM RepoTokenPeerInfo WHERE token IN ${tokens}`).run(repo)
        }
        db.prepare('DELETE FROM RepoUserToken WHERE repo_id = ?').run(repo)
      }
    }).immediate()
  } finally {
    db.close()
  }
}
