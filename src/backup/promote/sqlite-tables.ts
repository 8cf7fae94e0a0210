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

/** What has a row in Repo is no trash. */
export function removeFromSqliteTrash(own: string): void {
  const db = new Database(own, { fileMustExist: true, timeout: 10_000 })
  try {
    const there = db.prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'RepoTrash'").get()
    if (there) db.prepare('DELETE FROM RepoTrash WHERE repo_id IN (SELECT repo_id FROM Repo)').run()
  } finally {
    db.close()
  }
}
