/**
 * The tables of a dump into the backup's own SQLite database, all of them or none: one transaction. Seafile's three core
 * tables are not touched.
 */

import Database from 'better-sqlite3'
import { CORE_TABLES } from '../../shared/catalog/schema.js'

interface Made {
  readonly type: string
  readonly name: string
  readonly table: string
  readonly sql: string
}

const CORE = new Set<string>(CORE_TABLES)
const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`

export function importSqliteTables(own: string, dumped: string): void {
  const db = new Database(own, { fileMustExist: true, timeout: 10_000 })
  try {
    db.pragma('synchronous = EXTRA')
    db.prepare('ATTACH ? AS dumped').run(dumped)
    const made = db
      .prepare("SELECT type, name, tbl_name AS 'table', sql FROM dumped.sqlite_master WHERE sql IS NOT NULL")
      .all() as Made[]
    const wanted = made.filter(({ table, name }) => !CORE.has(table) && !name.startsWith('sqlite_'))
    db.transaction(() => {
      for (const { name } of wanted.filter(({ type }) => type === 'table')) copyTable(db, name, made)
      // with their tables the old ones went
      for (const { sql } of wanted.filter(({ type }) => type !== 'table')) db.exec(sql)
    }).immediate()
  } finally {
    db.close()
  }
}

function copyTable(db: Database.Database, name: string, made: readonly Made[]): void {
  db.exec(`DROP TABLE IF EXISTS main.${quote(name)}`)
  db.exec(made.find(item => item.type === 'table' && item.name === name)?.sql ?? '')
  db.exec(`INSERT INTO main.${quote(name)} SELECT * FROM dumped.${quote(name)}`)
}

/** `repos`: those whose clients are ahead; with another token they ask for what the server has. */
export function deleteSqliteTokens(own: string, repos: readonly string[]): number {
  const db = new Database(own, { fileMustExist: true, timeout: 10_000 })
  try {
    const tables = new Set(db.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").pluck().all() as string[])
    if (!tables.has('RepoUserToken')) return 0
    return db
      .transaction(() => {
        let deleted = 0
        for (const repo of repos) {
          if (tables.has('RepoTokenPeerInfo')) {
            const tokens = '(SELECT token FROM RepoUserToken WHERE repo_id = ?)'
            db.prepare(`DELETE FROM RepoTokenPeerInfo WHERE token IN ${tokens}`).run(repo)
          }
          deleted += db.prepare('DELETE FROM RepoUserToken WHERE repo_id = ?').run(repo).changes
        }
        return deleted
      })
      .immediate()
  } finally {
    db.close()
  }
}
