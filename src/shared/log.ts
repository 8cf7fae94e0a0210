/**
 * The log: one JSON line an event on standard error, constant messages, named fields.
 *
 * systemd and Docker keep standard error; nothing is rotated here. Secrets are
 * never handed to it: errors carry ids and paths, not tokens or passwords.
 */

import { pino } from 'pino'

export interface Log {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
  child(fields: object): Log
}

const LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const

/** `SEAF_BACKUP_LOG` sets the level: debug, info (default), warn, error or silent. */
export function openLog(role: string): Log {
  const asked = process.env['SEAF_BACKUP_LOG'] ?? 'info'
  const level = (LEVELS as readonly string[]).includes(asked) ? asked : 'info'
  return pino(
    { name: role, level, base: { pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ dest: 2, sync: true }),
  )
}

/** For tests and for parts that are used without a daemon. */
export const silentLog: Log = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLog,
}
