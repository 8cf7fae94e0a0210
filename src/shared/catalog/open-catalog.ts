/** The catalog that a configuration asks for. */

import { SqliteCatalog } from './catalog-sqlite.js'
import type { CatalogReader, CatalogWriter } from './catalog.js'
import type { DatabaseConfig } from './database-config.js'
import type { Log } from '../log.js'

/** For the primary: reads only. Rejects with DATABASE_DOWN, DATABASE_REFUSED or DATABASE_SCHEMA. */
export async function openCatalogReader(database: DatabaseConfig, log: Log): Promise<CatalogReader> {
  return database.type === 'sqlite'
    ? SqliteCatalog.openReader(database.path, log)
    : (await mysqlCatalog()).open(database, log, { create: false })
}

/** `create`: an empty database gets the tables that are written here; one with tables is used as it is. */
export async function openCatalog(
  database: DatabaseConfig,
  log: Log,
  options: { create: boolean },
): Promise<CatalogWriter> {
  return database.type === 'sqlite'
    ? SqliteCatalog.open(database.path, log, options)
    : (await mysqlCatalog()).open(database, log, options)
}

/** With its driver, which takes longer to load than all the rest: who has SQLite needs neither. */
const mysqlCatalog = async () => (await import('./catalog-mysql.js')).MysqlCatalog
