/**
 * The next bytes of the database's binlog, on their way from the agent to the backup: frames (frames.ts) of one answer.
 *
 *   BINLOG    JSON BinlogHeader, first
 *   LOG_FILE  JSON {name}: what follows is of this file, from its beginning on
 *   LOGGED    the next bytes of the file's own, to the end of an event at the end of all
 *   END       only now is it whole
 *
 * Nothing that an agent says here becomes a path: files are numbered where they are kept.
 */

import { decodeZone } from '../system-zone.js'
import { broken, decodeJson, printable } from './frames.js'
import type { BinlogPosition } from '../binlog-events.js'
import type { SystemZone } from '../system-zone.js'

export interface BinlogRequest {
  /** The end of an event; null: the beginning of the file that is being written now. */
  readonly from: BinlogPosition | null
  /** The most to send, unless a single event is longer. */
  readonly bytes: number
}

export interface BinlogHeader {
  readonly server: { readonly version: string; readonly id: number }
  /** By the database server's clock, Unix ms, asked before its log was read. */
  readonly serverTime: number
  /** All that was logged at `serverTime` is here or was before; else more is to be asked for. */
  readonly atEnd: boolean
  /** Why the log cannot be read from where it was asked for, now or later; null: it can, and what follows is of it. */
  readonly lost: string | null
  /** The format description event of the file that was asked for, to be compared with what is archived; null: not from its middle. */
  readonly format: Buffer | null
  /** The server's own, when a file begins in what follows; null: none does, or it was not asked. */
  readonly zone: SystemZone | null
}

export const LOGGED_BYTES_MAX = 1024 * 1024
/** Of one answer: it is in the agent's memory. */
export const ANSWER_BYTES_MAX = 16 * 1024 * 1024
const TEXT_MAX = 500
const NAME_BYTES_MAX = 255
const FORMAT_BYTES_MAX = 64 * 1024
/** Behind the magic there is an event. */
const OFFSET_MIN = 4 + 19

export const isLogName = (value: unknown): value is string =>
  typeof value === 'string' &&
  value !== '' &&
  Buffer.byteLength(value) <= NAME_BYTES_MAX &&
  !/[\p{Cc}/\\\ufffd]/u.test(value) &&
  value.isWellFormed()

export function decodeBinlogRequest(body: Buffer): BinlogRequest {
  const { from, bytes } = decodeJson(body, 'a request for the binlog')
  if (!isCount(bytes) || bytes < 1 || bytes > ANSWER_BYTES_MAX) throw broken('a malformed request for the binlog')
  return { from: from === null ? null : position(from), bytes }
}

function position(value: unknown): BinlogPosition {
  const { file, offset } = (value ?? {}) as Record<string, unknown>
  if (!isLogName(file) || !isCount(offset) || offset < OFFSET_MIN) throw broken('a malformed request for the binlog')
  return { file, offset }
}

export const encodeBinlogHeader = (header: BinlogHeader): object => ({
  ...header,
  format: header.format?.toString('base64') ?? null,
})

export function decodeBinlogHeader(payload: Buffer): BinlogHeader {
  const { server, serverTime, atEnd, lost, format, zone } = decodeJson(payload, 'a BINLOG frame')
  const { version, id } = (server ?? {}) as Record<string, unknown>
  if (!isText(version) || !isCount(id) || !isCount(serverTime) || typeof atEnd !== 'boolean') throw malformed()
  if (!(lost === null || isText(lost)) || !(format === null || isBase64(format))) throw malformed()
  return {
    server: { version: printable(version), id },
    serverTime,
    atEnd,
    lost: lost === null ? null : printable(lost),
    format: format === null ? null : Buffer.from(format, 'base64'),
    zone: zone === undefined || zone === null ? null : systemZone(zone),
  }
}

function systemZone(value: unknown): SystemZone {
  try {
    return decodeZone(value)
  } catch (error) {
    if (error instanceof TypeError) throw malformed()
    throw error
  }
}

export function decodeLogFile(payload: Buffer): { readonly name: string } {
  const { name } = decodeJson(payload, 'a LOG_FILE frame')
  if (!isLogName(name)) throw broken('a file of the binlog with a name that is none')
  return { name }
}

const malformed = () => broken('a malformed BINLOG frame')
const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
const isText = (value: unknown): value is string => typeof value === 'string' && value.length <= TEXT_MAX
const isBase64 = (value: unknown): value is string =>
  typeof value === 'string' && value.length <= 2 * FORMAT_BYTES_MAX && /^[A-Za-z0-9+/]*={0,2}$/.test(value)
