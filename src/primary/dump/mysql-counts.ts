/** The rows of MySQL's or MariaDB's tables, counted in one snapshot and in bounded time. */

import { mysqlError } from '../../shared/catalog/mysql-errors.js'
import { BackupError } from '../../shared/errors.js'
import { COUNTED_TABLES_MAX } from '../../shared/wire/count-messages.js'
import { connect } from '../mysql-connection.js'
import type { Connection } from 'mysql2/promise'
import type { MysqlConfig } from '../../shared/catalog/database-config.js'
import type { CountedTable } from '../../shared/wire/count-messages.js'

/** Below the minute that the backup waits for an answer. */
const ALL_MS_MAX = 30_000
const TABLE_MS_MAX = 10_000

/** @throws BackupError of the database */
export async function countMysql(
  config: MysqlConfig,
  names: readonly string[],
  signal: AbortSignal,
): Promise<CountedTable[]> {
  let connection: Connection | undefined
  try {
    connection = await connect(config)
    return await countTables(connection, names, signal)
  } catch (error) {
    if (signal.aborted) throw error
    throw error instanceof BackupError ? error : mysqlError(config, error)
  } finally {
    connection?.destroy()
  }
}

async function countTables(
  connection: Connection,
  names: readonly string[],
  signal: AbortSignal,
): Promise<CountedTable[]> {
  const until = performance.now() + ALL_MS_MAX
  const ask = async (sql: string, values: unknown[] = []) =>
    (await connection.query({ sql, values, timeout: ALL_MS_MAX }))[0] as unknown[][]
  // MariaDB's bound of a statement, and what keeps MySQL 8 from remembering yesterday's times: each knows one of them
  for (const set of [`max_statement_time = ${TABLE_MS_MAX / 1000}`, 'information_schema_stats_expiry = 0'])
    await ask(`SET SESSION ${set}`).catch(() => {})
  await ask("SET SESSION time_zone = '+00:00'") // in others an hour comes twice, or never
  await ask('START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY')
  const tables = await ask(
    `SELECT table_schema, table_name, TIMESTAMPDIFF(SECOND, update_time, NOW()) FROM information_schema.tables
     WHERE table_type = 'BASE TABLE' AND table_schema IN (?) ORDER BY 1, 2 LIMIT ${COUNTED_TABLES_MAX}`,
    [names],
  )
  const counted: CountedTable[] = []
  for (const [database, table, unchanged] of tables) {
    signal.throwIfAborted()
    const sql = `SELECT /*+ MAX_EXECUTION_TIME(${TABLE_MS_MAX}) */ COUNT(*) FROM ${quote(database)}.${quote(table)}`
    // one that takes too long, or went meanwhile, is not counted
    const [[rows] = []] = performance.now() > until ? [] : await ask(sql).catch((): unknown[][] => [])
    counted.push({
      database: String(database),
      table: String(table),
      rows: rows === undefined ? null : Number(rows),
      unchangedForMs: unchanged === null ? null : Math.max(0, Number(unchanged)) * 1000,
    })
  }
  return counted
}

const quote = (name: unknown): string => `\`${String(name).replaceAll('`', '``')}\``
