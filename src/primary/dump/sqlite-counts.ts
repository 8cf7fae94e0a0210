/** The rows of the tables of SQLite databases, counted as they are now. */

import { statSync } from 'node:fs'
import Database from 'better-sqlite3'
import { BackupError, reason, systemCode } from '../../shared/errors.js'
import type { CountedTable } from '../../shared/wire/count-messages.js'

/** They are read in the agent's only thread: some tens of milliseconds. */
const SQLITE_BYTES_MAX = 64 * 1024 * 1024

/** @throws BackupError DATABASE_DOWN */
export function countSqlite(files: readonly { readonly name: string; readonly path: string }[]): CountedTable[] {
  return files.flatMap(({ name, path }) => {
    try {
      return countFile(name, path)
    } catch (error) {
      throw new BackupError('DATABASE_DOWN', `count the rows of ${path}: ${reason(error)}`, {}, { cause: error })
    }
  })
}

function countFile(database: string, path: string): CountedTable[] {
  const isLarge = statSync(path).size > SQLITE_BYTES_MAX
  const db = new Database(path, { readonly: true, fileMustExist: true })
  try {
    const tables = db
      .prepare(`SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'`)
      .pluck()
      .all() as string[]
    const countOf = (table: string) =>
      db
        .prepare(`SELECT COUNT(*) FROM "${table.replaceAll('"', '""')}"`)
        .pluck()
        .get() as number
    const counted = tables.map(table => ({ database, table, rows: isLarge ? null : countOf(table) }))
    // looked at after counting: what changed meanwhile may have been counted
    const unchangedForMs = Math.max(0, Math.round(Date.now() - Math.max(changedAt(path), changedAt(`${path}-wal`))))
    return counted.map(table => ({ ...table, unchangedForMs }))
  } finally {
    db.close()
  }
}

/** Unix ms; 0: there is no such file. */
function changedAt(path: string): number {
  try {
    return statSync(path).mtimeMs
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return 0
    throw error
  }
}
