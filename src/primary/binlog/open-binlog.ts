/** Which way of reading the binlog a configuration has. */

import { binlogOf, sqliteHasNone } from './read-binlog.js'
import type { DatabaseConfig } from '../../shared/catalog/database-config.js'
import type { ReadBinlog } from './read-binlog.js'

export const openBinlog = (database: DatabaseConfig): ReadBinlog =>
  database.type === 'sqlite' ? sqliteHasNone() : binlogOf(database)
