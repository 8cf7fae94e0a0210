/** The two kinds of databases that a side can have, made for one test. */

import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { extractFixture } from './fixtures.js'
import { startMariadb } from './mariadb.js'
import { keepWindowOf } from './replica.js'
import type { DatabaseConfig } from '../../src/shared/catalog/database-config.js'
import type { FixtureName } from './fixtures.js'
import type { Mariadb } from './mariadb.js'

export type Engine = 'sqlite' | 'mysql'

export interface TestDatabase extends AsyncDisposable {
  /** Undefined: SQLite in the side's data directory. */
  readonly database: DatabaseConfig | undefined
  readonly server: Mariadb | undefined
}

export async function testDatabase(engine: Engine, args?: string[], timeZone?: string): Promise<TestDatabase> {
  if (engine === 'sqlite') return { database: undefined, server: undefined, async [Symbol.asyncDispose]() {} }
  const server = await startMariadb({ ...(args && { args }), ...(timeZone !== undefined && { timeZone }) })
  await server.query('CREATE DATABASE seafile_db')
  return { database: mysqlConfig(server), server, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
}

export const mysqlConfig = (server: Mariadb, dbName = 'seafile_db'): DatabaseConfig => ({
  type: 'mysql',
  host: '127.0.0.1',
  port: 3306,
  unixSocket: server.socket,
  user: server.user,
  password: '',
  dbName,
})

/** Lays a fixture's data and rows onto a primary, with a history window that does not depend on today. */
export async function layFixture(engine: Engine, dir: string, server: Mariadb | undefined): Promise<FixtureName> {
  const name = engine === 'sqlite' ? 'sqlite-small' : 'mysql-small'
  await extractFixture(name, dir)
  if (server) {
    await server.query('DROP DATABASE IF EXISTS seafile_db')
    await server.loadFile(join(dir, 'seafile_db.sql'), 'seafile_db')
    await keepWindowOf(name, sql => server.query(sql, 'seafile_db'))
  } else {
    const db = new Database(join(dir, 'seafile-data', 'seafile.db'))
    await keepWindowOf(name, async sql => db.exec(sql))
    db.close()
  }
  return name
}

/** Directories and files below `dir`, for asserting that nothing was left behind. */
export async function filesBelow(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true })
  return entries.filter(entry => entry.isFile()).map(entry => join(entry.parentPath, entry.name))
}

export async function flipByte(path: string): Promise<void> {
  const bytes = await readFile(path)
  const at = bytes.byteLength >> 1
  bytes[at] = (bytes[at] ?? 0) ^ 0xff
  await writeFile(path, bytes)
}
