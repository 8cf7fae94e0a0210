/** Of an SQLite database that was copied: is it whole, and how many rows has each of its tables? */

import Database from 'better-sqlite3'
import type { TableCount } from './dump-manifest.js'

/** @throws Error for what is no database, or a damaged one */
export function sqliteRows(path: string, database: string): TableCount[] {
  const db = new Database(path, { readonly: true, fileMustExist: true })
  try {
    const [{ integrity_check: verdict } = { integrity_check: 'nothing was said' }] = db.pragma(
      'integrity_check(1)',
    ) as {
      integrity_check: string
    }[]
    if (verdict !== 'ok') throw new Error(verdict)
    const tables = db
      .prepare(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
      )
      .pluck()
      .all() as string[]
    return tables.map(table => ({ database, table, rows: countOf(db, table) }))
  } finally {
    db.close()
  }
}

const countOf = (db: Database.Database, table: string): number =>
  db
    .prepare(`SELECT COUNT(*) FROM "${table.replaceAll('"', '""')}"`)
    .pluck()
    .get() as number
