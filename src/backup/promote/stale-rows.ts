/**
 * Rows of Seafile's own that came with the dump and are not so here: sync tokens of clients that are ahead, and the trash,
 * where it holds what lives.
 */

import { quote } from '../restore/core-tables.js'
import { MysqlClient } from '../restore/mysql-client.js'
import { removeTokens } from '../restore/sync-tokens.js'
import { removeFromSqliteTrash } from './sqlite-tables.js'
import type { BackupConfig } from '../../shared/config.js'
import type { RepoId } from '../../shared/ids.js'

const NAMED_MAX = 20

type Database = Pick<BackupConfig, 'database'>

/** A client that is ahead would take what it lacks here for deleted; with a new token it asks first. */
export async function deleteTokens(
  { database }: Database,
  ahead: readonly RepoId[],
  signal: AbortSignal,
): Promise<string> {
  if (ahead.length === 0) return 'no client is ahead of this server: every sync token stays'
  await removeTokens(database, ahead, signal)
  const more = ahead.length > NAMED_MAX ? ` and ${ahead.length - NAMED_MAX} more` : ''
  return `clients of ${ahead.length} libraries that may be ahead must sign in again: ${ahead.slice(0, NAMED_MAX).join(' ')}${more}`
}

/**
 * What came back after it had been deleted is in the dump's trash still: after 30 days the server would purge it from
 * there, and its name with it.
 */
export async function removeFromTrash({ database }: Database, signal: AbortSignal): Promise<void> {
  if (database.type === 'sqlite') return removeFromSqliteTrash(database.path)
  using client = new MysqlClient(database)
  const use = `USE ${quote(database.dbName)};\n`
  const there = await client.ask(`${use}SHOW TABLES LIKE 'RepoTrash';`, signal) // not every server has it
  if (there.trim() === '') return
  await client.ask(`${use}DELETE FROM RepoTrash WHERE repo_id IN (SELECT repo_id FROM Repo);`, signal)
}
