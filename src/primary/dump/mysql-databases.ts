/**
 * Are the databases there that are to be dumped, and may our account read all of them?
 *
 * The tool cannot tell: tables that an account may not read it does not see,
 * and a dump without them looks whole. So the grants are read before, and what
 * is missing is named with the statement that gives it.
 */

import { createConnection } from 'mysql2/promise'
import { BackupError } from '../../shared/errors.js'
import { mysqlError } from '../../shared/catalog/mysql-errors.js'
import type { DatabaseConfig } from '../../shared/catalog/database-config.js'

export type MysqlConfig = DatabaseConfig & { readonly type: 'mysql' }

const CONNECT_MS_MAX = 10_000
const ANSWER_MS_MAX = 30_000

/** Triggers and events that an account may not see are left out without a word; a view's text is refused. */
const NEEDED = ['SELECT', 'SHOW VIEW', 'TRIGGER', 'EVENT'] as const

/** The server's version. @throws BackupError DUMP_FAILED with every database and privilege that is missing */
export async function expectDumpable(config: MysqlConfig, databases: readonly string[]): Promise<string> {
  const { host, port, unixSocket, user, password, dbName } = config
  const where = unixSocket === undefined ? { host, port } : { socketPath: unixSocket }
  let connection
  try {
    connection = await createConnection({
      ...where,
      user,
      password,
      database: dbName,
      connectTimeout: CONNECT_MS_MAX,
      rowsAsArray: true,
    })
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
  const at = account.lastIndexOf('@')
  const to = `'${account.slice(0, at)}'@'${account.slice(at + 1)}'`
  return [`${account} lacks ${missing.join(', ')}: GRANT ${missing.join(', ')} ON \`${database}\`.* TO ${to}`]
}

/** Of one line of SHOW GRANTS, what it allows on every table of `database`. */
export function privilegesOn(grant: string, database: string): string[] {
  const [, list, on] = /^GRANT (.+?) ON (\*|`(?:[^`]|``)*`)\.\* TO /i.exec(grant) ?? []
  if (list === undefined || on === undefined) return []
  if (on !== '*' && !pattern(on.slice(1, -1).replaceAll('``', '`')).test(database)) return []
  return list.split(',').map(name => name.trim().toUpperCase())
}

/** Names in grants are patterns: `%` and `_` stand for others, unless a backslash is before them. */
function pattern(name: string): RegExp {
  const source = name.replace(
    /\\([%_])|([%_])|([.*+?^${}()|[\]\\])/g,
    (_all, plain?: string, wild?: string, other?: string) =>
      plain !== undefined ? plain : wild === '%' ? '.*' : wild === '_' ? '.' : `\\${String(other)}`,
  )
  return new RegExp(`^${source}$`)
}
