/**
 * May we read the binlog, and where does it end? Asked over an ordinary connection.
 *
 * What is missing is named with the statement that gives it: an administrator
 * reads it in the log and can act.
 */

import { BackupError, reason, systemCode } from '../../shared/errors.js'
import { connect } from '../mysql-connection.js'
import { globalPrivileges, grantee } from '../mysql-grants.js'
import type { Connection } from 'mysql2/promise'
import type { MysqlConfig } from '../../shared/catalog/database-config.js'
import type { BinlogPosition } from '../../shared/binlog-events.js'

/** A server that stalls for longer is as good as gone: the connection is given up and made anew. */
const ANSWER_MS_MAX = 10_000
const GOODBYE_MS_MAX = 1_000

const TOLD_AT_ONCE = 'to be told of changes at once'
/** MySQL counts it in the size of an encrypted file, and in no position. */
const ENCRYPTION_HEADER_BYTES = 512

/** Reading the binlog is not possible, for a reason that stays until somebody acts. */
export class BinlogUnavailable extends Error {
  override readonly name = 'BinlogUnavailable'
}

export class BinlogControl implements AsyncDisposable {
  private constructor(
    private readonly connection: Connection,
    /** Upper-case: ROW, MIXED or STATEMENT. */
    readonly format: string,
  ) {
    connection.on('error', () => {}) // the next query tells
  }

  /** `purpose`: what an account or a server that does not allow it is told to be for. Throws BinlogUnavailable with what is missing. */
  static async open(config: MysqlConfig, purpose = TOLD_AT_ONCE): Promise<BinlogControl> {
    const connection = await connect(config)
    try {
      const [[logBin, format, account] = []] = await ask(
        connection,
        'SELECT @@log_bin, @@binlog_format, CURRENT_USER()',
      )
      if (Number(logBin) !== 1) {
        throw new BinlogUnavailable(
          `the database server keeps no binary log; ${purpose} set log_bin in its configuration`,
        )
      }
      await expectGrants(connection, String(account), purpose)
      await expectReadableTransactions(connection, purpose)
      return new BinlogControl(connection, String(format).toUpperCase())
    } catch (error) {
      await hangUp(connection)
      throw error
    }
  }

  /** Oldest file first; the last one is being written. `size`: the position of its end. */
  async files(): Promise<{ readonly file: string; readonly size: number }[]> {
    const rows = await ask(this.connection, 'SHOW BINARY LOGS')
    return rows.map(([file, size, encrypted]) => ({
      file: String(file),
      size: Number(size) - (encrypted === 'Yes' ? ENCRYPTION_HEADER_BYTES : 0),
    }))
  }

  /** Which databases alone are logged, and which are not, as the server lists them; empty: there is no such list. */
  async filters(): Promise<{ readonly only: string; readonly without: string }> {
    const [, , only, without] = await this.row('SHOW MASTER STATUS').catch((error: unknown) => {
      if (systemCode(error) !== 'ER_PARSE_ERROR') throw error
      return this.row('SHOW BINARY LOG STATUS') // MySQL since 8.4, which does not know the old name
    })
    return { only: String(only ?? ''), without: String(without ?? '') }
  }

  /** The first row of the answer. `values` for each `?`; a list becomes one of SQL. */
  async row(sql: string, values: readonly unknown[] = []): Promise<unknown[]> {
    return (await ask(this.connection, sql, values))[0] ?? []
  }

  async end(): Promise<BinlogPosition> {
    const last = (await this.files()).at(-1)
    if (!last) throw new BackupError('DATABASE_DOWN', 'read the binlog: the server lists no file')
    return { file: last.file, offset: last.size }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await hangUp(this.connection)
  }
}

/** Servers count and log who leaves without a word. One that does not listen any more is left all the same. */
export function hangUp(connection: Connection): Promise<void> {
  return new Promise(resolve => {
    const leave = () => {
      clearTimeout(patience)
      connection.destroy()
      resolve()
    }
    const patience = setTimeout(leave, GOODBYE_MS_MAX)
    connection.end().then(leave, leave)
  })
}

async function ask(connection: Connection, sql: string, values: readonly unknown[] = []): Promise<unknown[][]> {
  const [rows] = await connection.query({ sql, values: [...values], timeout: ANSWER_MS_MAX })
  return rows as unknown[][]
}

/** MariaDB 10.5 renamed the second one, and shows it so. */
const NEEDED = [
  { grant: 'REPLICATION SLAVE', names: ['REPLICATION SLAVE', 'REPLICATION REPLICA'] },
  { grant: 'REPLICATION CLIENT', names: ['REPLICATION CLIENT', 'BINLOG MONITOR'] },
] as const

async function expectGrants(connection: Connection, account: string, purpose: string): Promise<void> {
  const held = new Set((await ask(connection, 'SHOW GRANTS')).flatMap(([grant]) => globalPrivileges(String(grant))))
  if (held.has('ALL PRIVILEGES')) return
  const missing = NEEDED.filter(({ names }) => !names.some(name => held.has(name))).map(({ grant }) => grant)
  if (missing.length === 0) return
  throw new BinlogUnavailable(
    `the account ${account} lacks ${missing.join(' and ')}; ${purpose}: ` +
      `GRANT ${missing.join(', ')} ON *.* TO ${grantee(account)}`,
  )
}

/** MySQL can pack a transaction into one event, which our reader cannot unpack. MariaDB has no such variable. */
async function expectReadableTransactions(connection: Connection, purpose: string): Promise<void> {
  const [[, packed] = []] = await ask(connection, "SHOW GLOBAL VARIABLES LIKE 'binlog_transaction_compression'")
  if (packed !== 'ON') return
  throw new BinlogUnavailable(
    `the server compresses transactions in its binary log; ${purpose} set binlog_transaction_compression = OFF`,
  )
}

/** A refusal that waiting does not heal. */
export function refused(error: unknown): BinlogUnavailable | undefined {
  const code = systemCode(error) ?? ''
  if (!code.startsWith('ER_') || !code.includes('ACCESS_DENIED')) return undefined
  return new BinlogUnavailable(`the database server refuses to let the binlog be read: ${reason(error)}`)
}
