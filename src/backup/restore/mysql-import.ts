/** A dump of MySQL or MariaDB into a server, and what the binlog has after it: all of its databases, or none. */

import { pipeline } from 'node:stream/promises'
import { CORE_TABLES } from '../../shared/catalog/schema.js'
import { BackupError, reason } from '../../shared/errors.js'
import { expectReplayable, removeMade, replayBinlog } from '../binlog/replay.js'
import { unpackPart } from '../dumps/read-dump.js'
import { likeOthers, quote } from './core-tables.js'
import { DatabaseDefaults } from './database-defaults.js'
import { MysqlClient } from './mysql-client.js'
import type { MysqlConfig } from '../../shared/catalog/database-config.js'
import type { TablesOfDump } from './target-tables.js'

/**
 * Whether it could be imported, so far as that can be seen: reads alone.
 * @throws BackupError TARGET_EXISTS; RESTORE_FAILED: the server refuses, or its client, or a tool, is missing
 */
export async function expectImportable(
  server: MysqlConfig,
  { databases, replay }: Pick<TablesOfDump, 'databases' | 'replay'>,
  force: boolean,
  signal: AbortSignal,
): Promise<void> {
  using client = new MysqlClient(server)
  expectFree(databases, await thereOf(client, databases, signal), force)
  if (replay) await expectReplayable(client, replay, signal)
}

/** @throws BackupError TARGET_EXISTS; RESTORE_FAILED with the server's words: what was made is removed then */
export async function importSql(
  server: MysqlConfig,
  tables: TablesOfDump,
  force: boolean,
  signal: AbortSignal,
): Promise<void> {
  const { databases } = tables
  using client = new MysqlClient(server)
  const there = await thereOf(client, databases, signal)
  expectFree(databases, there, force)
  const made = databases.filter(name => !there.includes(name))
  try {
    await importInto(client, server.dbName, tables, signal)
    // --force: of a library that is not restored no head may stay
    if (there.includes(server.dbName))
      await client.ask(CORE_TABLES.map(table => `DELETE FROM ${quote(server.dbName)}.${table};`).join('\n'), signal)
  } catch (error) {
    throw await takenBack(client, made, error)
  }
}

async function thereOf(client: MysqlClient, databases: readonly string[], signal: AbortSignal): Promise<string[]> {
  return (await client.ask('SHOW DATABASES', signal)).split('\n').filter(name => databases.includes(name))
}

function expectFree(databases: readonly string[], there: readonly string[], force: boolean): void {
  if (there.length === 0 || force) return
  const nextStep = 'name a server without them, or say --force to write over their tables'
  throw new BackupError('TARGET_EXISTS', `restore ${databases.join(', ')}: ${there.join(', ')} is there`, { nextStep })
}

/**
 * Over whatever is there of these tables, but for the three core ones, which are left as they are or made. It may be
 * done again. @throws BackupError RESTORE_FAILED
 */
export async function importInto(
  client: MysqlClient,
  dbName: string,
  { dump, databases, replay }: TablesOfDump,
  signal: AbortSignal,
): Promise<void> {
  const readiness = replay && (await expectReplayable(client, replay, signal))
  if (replay) await removeMade(client, replay, signal)
  const defaults = new DatabaseDefaults()
  await client.take(async target => {
    const fed = pipeline(defaults, target, { signal })
    fed.catch(() => {}) // told below, when the dump itself is not at fault
    await unpackPart(dump, 0, defaults, signal)
    await fed
  }, signal)
  await likeOthers(client, dbName, signal)
  if (!replay || !readiness) return
  const sql = defaults.sqlFor(databases)
  if (sql.length > 0) await client.ask(sql.join('\n'), signal)
  await replayBinlog(client, replay, readiness, signal)
  await likeOthers(client, dbName, signal) // a column that was converted since has another collation
}

/** Nothing half restored: what was not there before is not there after. Gives the error that says which it is. */
async function takenBack(client: MysqlClient, made: readonly string[], error: unknown): Promise<unknown> {
  if (made.length === 0) return error
  try {
    await client.ask(made.map(name => `DROP DATABASE IF EXISTS ${quote(name)};`).join('\n'), never)
    return error
  } catch (failure) {
    const message = `${reason(error)}; and what was made could not be removed (${made.join(', ')}): ${reason(failure)}`
    return new BackupError('RESTORE_FAILED', message, {}, { cause: error })
  }
}

const never = new AbortController().signal
