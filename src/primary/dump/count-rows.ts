/**
 * How many rows the databases of a dump have now, and for how long each table is known not to have changed. Reads only, in
 * bounded time: what would take longer is not counted.
 */

import { limit } from '../../shared/limit.js'
import { mysqlDatabases, sqliteFiles } from './database-names.js'
import { countMysql } from './mysql-counts.js'
import { countSqlite } from './sqlite-counts.js'
import type { PrimaryConfig } from '../../shared/config.js'
import type { CountedTable } from '../../shared/wire/count-messages.js'

export type CountRows = (signal: AbortSignal) => Promise<CountedTable[]>

/** One at a time. @throws BackupError of the database */
export function rowCounter({ database, databases: given, confDir }: PrimaryConfig): CountRows {
  const inTurn = limit(1)
  const counting: CountRows = async signal =>
    database.type === 'sqlite'
      ? countSqlite(sqliteFiles(database.path, given).files)
      : countMysql(database, mysqlDatabases(confDir, database.dbName, given), signal)
  return signal => inTurn(() => counting(signal), signal)
}
