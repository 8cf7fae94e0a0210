/** What MySQL's errors mean for us. Codes, never messages, decide; passwords are in neither. */

import { BackupError, reason, systemCode } from '../errors.js'
import type { MysqlConfig } from './database-config.js'

const LOST = new Set([
  'PROTOCOL_CONNECTION_LOST',
  'ECONNRESET',
  'EPIPE',
  'ER_SERVER_SHUTDOWN',
  'ER_CONNECTION_KILLED',
  'ER_CLIENT_INTERACTION_TIMEOUT',
])
const REFUSED = new Set([
  'ER_ACCESS_DENIED_ERROR',
  'ER_DBACCESS_DENIED_ERROR',
  'ER_TABLEACCESS_DENIED_ERROR',
  'ER_COLUMNACCESS_DENIED_ERROR',
  'ER_ACCESS_DENIED_NO_PASSWORD_ERROR',
  'ER_SPECIFIC_ACCESS_DENIED_ERROR',
])
/** The server is there and has no room or no right moment: it may have one later. */
const BUSY = new Set([
  'ER_CON_COUNT_ERROR',
  'ER_TOO_MANY_USER_CONNECTIONS',
  'ER_OUT_OF_RESOURCES',
  'ER_OPTION_PREVENTS_STATEMENT',
  'ER_LOCK_DEADLOCK',
  'ER_LOCK_WAIT_TIMEOUT',
])

export const connectionLost = (error: unknown): boolean => LOST.has(systemCode(error) ?? '')

/** Another transaction won; ours changed nothing. */
export const mustRetry = (error: unknown): boolean =>
  ['ER_LOCK_DEADLOCK', 'ER_LOCK_WAIT_TIMEOUT', 'ER_CHECKREAD'].includes(systemCode(error) ?? '')

export function mysqlError(config: MysqlConfig, error: unknown): BackupError {
  const where = config.unixSocket ?? `${config.host}:${config.port}`
  const at = `use database ${config.dbName} at ${where} as ${config.user}`
  const code = systemCode(error) ?? ''
  const make = (ours: 'DATABASE_REFUSED' | 'DATABASE_SCHEMA' | 'DATABASE_DOWN' | 'STORE_FULL', hint: string) =>
    new BackupError(ours, `${at}: ${reason(error) || code}${hint}`, { database: code }, { cause: error })
  if (REFUSED.has(code))
    return make('DATABASE_REFUSED', '; check user and password in [database], and the grants of the account')
  if (code === 'ER_RECORD_FILE_FULL' || code === 'ER_DISK_FULL') return make('STORE_FULL', '')
  // what the server refuses for any other reason does not fit its tables
  if (code.startsWith('ER_') && !BUSY.has(code) && !LOST.has(code)) {
    return make('DATABASE_SCHEMA', "; is db_name Seafile's seafile_db, of a version that is known here?")
  }
  return make('DATABASE_DOWN', '')
}
