/**
 * May we read the binlog, and where does it end? Asked over an ordinary connection.
 *
 * What is missing is named with the statement that gives it: an administrator
 * reads it in the log and can act.
 */

import { createConnection } from 'mysql2/promise'
import { BackupError, reason, systemCode } from '../../shared/errors.js'
import type { Connection } from 'mysql2/promise'
import type { DatabaseConfig } from '../../shared/catalog/database-config.js'
import type { BinlogPosition } from './binlog-position.js'

export type MysqlConfig = DatabaseConfig & { readonly type: 'mysql' }

const CONNECT_MS_MAX = 10_000

/** Reading the binlog is not possible, for a reason that stays until somebody acts. */
export class BinlogUnavailable extends Error {
  override readonly name = 'BinlogUnavailable'
}

export const connectionOptions = ({ host, port, unixSocket, user, password, dbName }: MysqlConfig) => ({
  ...(unixSocket === undefined ? { host, port } : { socketPath: unixSocket }),
  user,
  password,
  database: dbName,
  connectTimeout: CONNECT_MS_MAX,
})

export class BinlogControl implements AsyncDisposable {
  private constructor(
    private readonly connection: Connection,
    /** Upper-case: ROW, MIXED or STATEMENT. */
    readonly format: string,
  ) {
    connection.on('error', () => {}) // the next query tells
  }

  /** Throws BinlogUnavailable with what is missing. */
  static async open(config: MysqlConfig): Promise<BinlogControl> {
    const connection = await createConnection({ ...connectionOptions(config), rowsAsArray: true })
    try {
      const [rows] = await connection.query('SELECT @@log_bin, @@binlog_format, CURRENT_USER()')
      const [logBin, format, account] = (rows as unknown[][])[0] ?? []
      if (Number(logBin) !== 1) {
        throw new BinlogUnavailable(
          'the database server keeps no binary log; to be told of changes at once set log_bin in its configuration',
        )
      }
      await expectGrants(connection, String(account))
      return new BinlogControl(connection, String(format).toUpperCase())
    } catch (error) {
      await connection.end().catch(() => connection.destroy())
      throw error
    }
  }

  /** Oldest file first; the last one is being written. */
  async files(): Promise<{ readonly file: string; readonly size: number }[]> {
    const [rows] = await this.connection.query('SHOW BINARY LOGS')
    return (rows as unknown[][]).map(([file, size]) => ({ file: String(file), size: Number(size) }))
  }

  async end(): Promise<BinlogPosition> {
    const last = (await this.files()).at(-1)
    if (!last) throw new BackupError('DATABASE_DOWN', 'read the binlog: the server lists no file')
    return { file: last.file, offset: last.size }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.connection.destroy()
  }
}

const NEEDED = [
  { grant: 'REPLICATION SLAVE', names: ['REPLICATION SLAVE', 'REPLICATION REPLICA'] },
  { grant: 'REPLICATION CLIENT', names: ['REPLICATION CLIENT', 'BINLOG MONITOR'] },
] as const

async function expectGrants(connection: Connection, account: string): Promise<void> {
  const [rows] = await connection.query('SHOW GRANTS')
  const global = (rows as unknown[][])
    .map(([grant]) => String(grant).toUpperCase())
    .filter(grant => / ON \*\.\* /.test(grant))
  const has = (name: string) => global.some(grant => grant.includes(name) || grant.includes('ALL PRIVILEGES'))
  const missing = NEEDED.filter(({ names }) => !names.some(has)).map(({ grant }) => grant)
  if (missing.length === 0) return
  const [user, host] = account.split('@')
  throw new BinlogUnavailable(
    `the account ${account} lacks ${missing.join(' and ')}; to be told of changes at once: GRANT ${missing.join(', ')} ON *.* TO '${user}'@'${host}'`,
  )
}

/** A refusal that waiting does not heal. */
export function refused(error: unknown): BinlogUnavailable | undefined {
  const code = systemCode(error) ?? ''
  if (!code.startsWith('ER_') || !code.includes('ACCESS_DENIED')) return undefined
  return new BinlogUnavailable(`the database server refuses to let the binlog be read: ${reason(error)}`)
}
