/**
 * Seafile's three core tables beside those of a dump: they must have the collation of the others, or the server's joins
 * are refused ("Illegal mix of collations"), and it lists no library.
 */

import { CORE_TABLES, coreTablesSql } from '../../shared/catalog/schema.js'
import { BackupError } from '../../shared/errors.js'
import type { MysqlClient } from './mysql-client.js'

/** One that every server has, and every dump. */
const OTHER = 'RepoOwner'
const NAME = /^[a-z0-9_]+$/i

export const quote = (name: string): string => `\`${name.replaceAll('`', '``')}\``

/** Makes what is lacking. No row is changed. @throws BackupError RESTORE_FAILED when they cannot be joined after that */
export async function likeOthers(client: MysqlClient, dbName: string, signal: AbortSignal): Promise<void> {
  const use = `USE ${quote(dbName)};`
  await client.ask([use, ...coreTablesSql()].join('\n'), signal)
  const found = await client.ask(
    `SELECT character_set_name, collation_name FROM information_schema.columns
     WHERE table_schema = '${dbName.replaceAll("'", "''")}' AND table_name = '${OTHER}' AND column_name = 'repo_id';`,
    signal,
  )
  const [charset = '', collation = ''] = found.trim().split('\t')
  if (!NAME.test(charset) || !NAME.test(collation)) return // a dump of something else: there is nothing to be like
  const alike = CORE_TABLES.map(
    table => `ALTER TABLE ${table} CONVERT TO CHARACTER SET ${charset} COLLATE ${collation};`,
  )
  const join = `SELECT COUNT(*) FROM ${OTHER} o LEFT JOIN Branch b ON o.repo_id = b.repo_id LEFT JOIN Repo r ON r.repo_id = b.repo_id;`
  const joined = (await client.ask([use, ...alike, join].join('\n'), signal)).trim()
  if (!/^\d+$/.test(joined))
    throw new BackupError('RESTORE_FAILED', `join Seafile's tables in ${dbName}: ${joined.slice(0, 200)}`)
}
