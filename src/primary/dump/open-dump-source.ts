/** Which way of taking a dump a configuration asks for. */

import { mysqlDatabases, sqliteFiles } from './database-names.js'
import { mysqlDump } from './mysql-dump.js'
import { sqliteDump } from './sqlite-dump.js'
import type { PrimaryConfig } from '../../shared/config.js'
import type { TakeDump } from './dump-source.js'

/** Which databases there are is looked at for each dump: a set-up may grow. */
export function openDumpSource({
  database,
  databases: given,
  dumpLock: mayLock,
  confDir,
  stateDir,
}: PrimaryConfig): TakeDump {
  return database.type === 'sqlite'
    ? sqliteDump({ databases: () => sqliteFiles(database.path, given), stateDir })
    : mysqlDump({ database, databases: () => mysqlDatabases(confDir, database.dbName, given), stateDir, mayLock })
}
