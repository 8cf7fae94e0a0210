/** A dump of MySQL or MariaDB into a server, and what the binlog has after it: all of its databases, or none. */

import { pipeline } from 'node:stream/promises'
import { CORE_TABLES } from '../../shared/catalog/schema.js'
import { BackupError } from '../../shared/errors.js'
import { expectReplayable, removeMade, replayBinlog } from '../binlog/replay.js'
import { unpackPart } from '../dumps/read-dump.js'
import { likeOthers, quote } from './core-tables.js'
import { DatabaseDefaults } from './database-defaults.js'
import { MysqlClient } from './mysql-client.js'
import type { MysqlConfig } from '../../shared/catalog/database-config.js'
import type { TablesOfDump } from './target-tables.js'

/** How databases that are there are met. */
export interface Meeting {
  /** Written over, if they are not ours. */
  readonly force: boolean
  /** A run before has made them: removed, and made anew. */
  readonly ours: readonly string[]
}

/**
 * Whether it could be imported, so far as that can be seen: reads alone.
 * @throws BackupError TARGET_EXISTS; RESTORE_FAILED: the server refuses, or its client, or a tool, is missing
 */
export async function expectImportable(
  server: MysqlConfig,
  { databases, replay }: Pick<TablesOfDump, 'databases' | 'replay'>,
  meeting: Meeting,
  signal: AbortSignal,
): Promise<void> {
  using client = new MysqlClient(server)
  expectFree(databases, await thereOf(client, databases, signal), meeting)
  if (replay) await expectReplayable(client, replay, signal)
}

/**
 * `note` is told which databases are going to be made, before the first is.
 * @throws BackupError TARGET_EXISTS; RESTORE_FAILED with the server's words: what was made is there then
 */
export async function importSql(
  server: MysqlConfig,
  tables: TablesOfDump,
  meeting: Meeting & { note(made: readonly string[]): Promise<void> },
  signal: AbortSignal,
): Promise<void> {
  const { databases } = tables
  using client = new MysqlClient(server)
  const there = await thereOf(client, databases, signal)
  expectFree(databases, there, meeting)
  const others = there.filter(name => !meeting.ours.includes(name))
  await meeting.note([...new Set([...meeting.ours, ...databases.filter(name => !others.includes(name))])])
  await dropAll(client, meeting.ours, signal)
  await importInto(client, server.dbName, tables, signal)
  // --force: of a library that is not restored no head may stay
  if (others.includes(server.dbName))
    await client.ask(CORE_TABLES.map(table => `DELETE FROM ${quote(server.dbName)}.${table};`).join('\n'), signal)
}

/** Nothing half restored: what was not there before is not there after. @throws BackupError RESTORE_FAILED */
export async function dropMade(server: MysqlConfig, databases: readonly string[]): Promise<void> {
  using client = new MysqlClient(server)
  await dropAll(client, databases, never)
}

async function dropAll(client: MysqlClient, databases: readonly string[], signal: AbortSignal): Promise<void> {
  if (databases.length === 0) return
  await client.ask(databases.map(name => `DROP DATABASE IF EXISTS ${quote(name)};`).join('\n'), signal)
}

const never = new AbortController().signal

async function thereOf(client: MysqlClient, databases: readonly string[], signal: AbortSignal): Promise<string[]> {
  return (await client.ask('SHOW DATABASES', signal)).split('\n').filter(name => databases.includes(name))
}

function expectFree(databases: readonly string[], there: readonly string[], { force, ours }: Meeting): void {
  const others = there.filter(name => !ours.includes(name))
  if (others.length === 0 || force) return
  const nextStep = 'name a server without them, or say --force to write over their tables'
  throw new BackupError('TARGET_EXISTS', `restore ${databases.join(', ')}: ${others.join(', ')} is there`, { nextStep })
}

/** The dump is in, and the server stopped what was replayed after it: for the same statement, it would again. */
export class ReplayStopped extends BackupError {}

/**
 * Over whatever is there of these tables, but for the three core ones, which are left as they are or made. It may be
 * done again. @throws BackupError RESTORE_FAILED, as ReplayStopped too
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
  try {
    await replayBinlog(client, replay, readiness, signal)
  } catch (error) {
    if (!(error instanceof BackupError) || error.code !== 'RESTORE_FAILED') throw error
    throw new ReplayStopped(error.code, error.message, error.details, { cause: error })
  }
  await likeOthers(client, dbName, signal) // a column that was converted since has another collation
}
