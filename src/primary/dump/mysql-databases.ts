/**
 * Are the databases there that are to be dumped, and may our account read all of them?
 *
 * The tool cannot tell: tables that an account may not read it does not see,
 * and a dump without them looks whole. So the grants are read before, and what
 * is missing is named with the statement that gives it.
 */

import { BackupError } from '../../shared/errors.js'
import { mysqlError } from '../../shared/catalog/mysql-errors.js'
import { connect } from '../mysql-connection.js'
import { grantee, privilegesOn } from '../mysql-grants.js'
import type { MysqlConfig } from '../../shared/catalog/database-config.js'

const ANSWER_MS_MAX = 30_000

/** Triggers and events that an account may not see are left out without a word; a view's text is refused. */
const NEEDED = ['SELECT', 'SHOW VIEW', 'TRIGGER', 'EVENT'] as const

/** The server's version. @throws BackupError DUMP_FAILED with every database and privilege that is missing */
export async function expectDumpable(config: MysqlConfig, databases: readonly string[]): Promise<string> {
  let connection
  try {
    connection = await connect(config)
  } catch (error) {
    throw mysqlError(config, error)
  }
  const ask = async (sql: string) => (await connection.query({ sql, timeout: ANSWER_MS_MAX }))[0] as unknown[][]
  try {
    const [[version, account] = []] = await ask('SELECT VERSION(), CURRENT_USER()')
    const there = new Set((await ask('SHOW DATABASES')).map(([name]) => String(name)))
    const grants = (await ask('SHOW GRANTS')).map(([grant]) => String(grant))
    const problems = databases.flatMap(name =>
      there.has(name)
        ? missingGrants(grants, name, String(account))
        : [`there is no database ${name}, or ${String(account)} may not see it`],
    )
    if (problems.length === 0) return String(version)
    const hint = 'which ones there are can be said with databases in [backup] of the primary'
    throw new BackupError('DUMP_FAILED', `dump ${databases.join(', ')}: ${problems.join('; ')}; ${hint}`)
  } catch (error) {
    throw error instanceof BackupError ? error : mysqlError(config, error)
  } finally {
    connection.destroy()
  }
}

function missingGrants(grants: readonly string[], database: string, account: string): string[] {
  const held = new Set(grants.flatMap(grant => privilegesOn(grant, database)))
  if (held.has('ALL PRIVILEGES')) return []
  const missing = NEEDED.filter(privilege => !held.has(privilege))
  if (missing.length === 0) return []
  const needed = missing.join(', ')
  return [`${account} lacks ${needed}: GRANT ${needed} ON \`${database}\`.* TO ${grantee(account)}`]
}
