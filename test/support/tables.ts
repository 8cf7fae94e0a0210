/** What is in the databases of a Seafile server, to be compared with what is in another's. */

import { CORE_TABLES } from '../../src/shared/catalog/schema.js'
import { LIBRARY_TABLES } from '../../src/shared/catalog/library-tables.js'
import type { Mariadb } from './mariadb.js'

/** Checksums by `database.table`. The core tables are never of a dump; `ofLibraries`: nor are those that belong to libraries. */
export async function tablesOf(
  server: Mariadb,
  databases: readonly string[],
  ofLibraries = true,
): Promise<Record<string, string>> {
  const left = new Set<string>([...CORE_TABLES, ...(ofLibraries ? [] : Object.keys(LIBRARY_TABLES))])
  const found: Record<string, string> = {}
  for (const database of databases) {
    const tables = (await server.query(`SHOW TABLES IN ${database}`)).trim().split('\n')
    const compared = tables.filter(table => table !== '' && !(database === databases[0] && left.has(table)))
    for (const table of compared) {
      const name = `${database}.\`${table}\``
      found[`${database}.${table}`] = await server.query(`CHECKSUM TABLE ${name}; SHOW CREATE TABLE ${name}`)
    }
  }
  return found
}
