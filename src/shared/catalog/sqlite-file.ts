/** Of the file that an SQLite database is: which one it is, and what its errors mean. */

import { rmSync } from 'node:fs'
import Database from 'better-sqlite3'
import { BackupError, reason, systemCode } from '../errors.js'
import { fileIdentity } from '../file-identity.js'

/** Which file a path leads to; undefined: none that can be reached. */
export function fileAt(path: string): string | undefined {
  try {
    return fileIdentity(path)
  } catch {
    return undefined
  }
}

const BESIDE = ['-journal', '-wal', '-shm'] as const

/** What SQLite keeps beside a database: left there, it would be played into the one that takes its place. */
export function removeBeside(path: string): void {
  for (const suffix of BESIDE) rmSync(path + suffix, { force: true })
}

export function removeDatabase(path: string): void {
  rmSync(path, { force: true })
  removeBeside(path)
}

/** Throws what `sqliteError` makes of it. */
export function openDatabase(path: string, options: Database.Options): Database.Database {
  try {
    return new Database(path, options)
  } catch (error) {
    throw sqliteError(path, error)
  }
}

/** Of these tables, as far as they are there. */
export function columnsIn(db: Database.Database, tables: readonly string[]): Map<string, Set<string>> {
  const there = new Set(db.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").pluck().all() as string[])
  const columnsOf = (table: string) => db.pragma(`table_info("${table}")`) as { name: string }[]
  return new Map(
    tables.filter(table => there.has(table)).map(table => [table, new Set(columnsOf(table).map(({ name }) => name))]),
  )
}

export function sqliteError(path: string, error: unknown): BackupError {
  const code = systemCode(error) ?? ''
  if (code === 'SQLITE_FULL')
    return new BackupError('STORE_FULL', `write ${path}: the disk is full`, {}, { cause: error })
  if (code === 'SQLITE_READONLY' || code.startsWith('SQLITE_READONLY_')) {
    return new BackupError('STORE_READ_ONLY', `write ${path}: ${reason(error)}`, {}, { cause: error })
  }
  if (code === 'SQLITE_ERROR' || code === 'SQLITE_NOTADB')
    return new BackupError('DATABASE_SCHEMA', `use ${path}: ${reason(error)}`, {}, { cause: error })
  return new BackupError('DATABASE_DOWN', `use ${path}: ${reason(error)}`, {}, { cause: error })
}
