/** What is in the events that a replay has to understand: statements, and whose rows are written. */

import { inflateSync } from 'node:zlib'
import { reason } from '../../shared/errors.js'
import { EVENT_HEADER_BYTES } from '../../shared/binlog-events.js'
import { EVENT, EVENT_BYTES_MAX, withFlag } from './events.js'
import type { BinlogEvent } from './events.js'

export interface Query {
  /** The session's database; empty: none. */
  readonly database: string
  /** Bytes as latin1: one character each. */
  readonly text: string
  /** "x" is a name in it, not text. */
  readonly ansiQuotes: boolean
  readonly backslashEscapes: boolean
  /** Of its session; null: it asks for no local time, and reads none. */
  readonly timeZone: string | null
}

export interface TableMap {
  readonly id: string
  readonly database: string
  readonly table: string
}

const QUERY = { databaseBytes: 8, statusBytes: 11, least: 13 } as const
/** Of LOAD DATA: with where in it the name of its file stands, which is nothing to us. */
const LOAD_BYTES = 13
const STATUS = { sqlMode: 1, catalogEnded: 2, timeZone: 5, catalog: 6 } as const
/** Of the variables that may stand before the time zone, by their kind: flags, numbers of an AUTO_INCREMENT, character sets. */
const STATUS_BYTES: Readonly<Record<number, number>> = { 0: 4, 3: 4, 4: 6 }
const SQL_MODE = { ansiQuotes: 0x4n, noBackslashEscapes: 0x100000n } as const

/** Where the size of an event stands in it. */
const SIZE_AT = 9

/** Throws RangeError or Error for what is none. */
export function readQuery(event: BinlogEvent): Query {
  const { body } = event
  const statusAt = statusBegin(event)
  const statusEnd = statusAt + body.readUInt16LE(QUERY.statusBytes)
  const databaseEnd = statusEnd + body.readUInt8(QUERY.databaseBytes)
  if (databaseEnd + 1 > body.byteLength) throw new RangeError('a statement is longer than its event')
  const said = body.subarray(databaseEnd + 1)
  const { mode, zone } = statusOf(body.subarray(statusAt, statusEnd))
  return {
    database: body.subarray(statusEnd, databaseEnd).toString('utf8'),
    text: (event.type === EVENT.queryCompressed ? unpacked(said) : said).toString('latin1'),
    ansiQuotes: (mode & SQL_MODE.ansiQuotes) !== 0n,
    backslashEscapes: (mode & SQL_MODE.noBackslashEscapes) === 0n,
    timeZone: zone?.name ?? null,
  }
}

const statusBegin = ({ type }: BinlogEvent): number => QUERY.least + (type === EVENT.executeLoad ? LOAD_BYTES : 0)

/** The statement with another time zone in place of its own. Throws RangeError where it has none. */
export function inZone(event: BinlogEvent, name: string): Buffer {
  const { bytes, body } = event
  const statusAt = statusBegin(event)
  const statusBytes = body.readUInt16LE(QUERY.statusBytes)
  const { zone } = statusOf(body.subarray(statusAt, statusAt + statusBytes))
  if (!zone) throw new RangeError('a statement without a time zone')
  const at = EVENT_HEADER_BYTES + statusAt + zone.at
  const said = Buffer.from(name, 'latin1')
  const made = Buffer.concat([
    bytes.subarray(0, at),
    Buffer.from([said.byteLength]),
    said,
    bytes.subarray(at + 1 + zone.name.length),
  ])
  made.writeUInt32LE(made.byteLength, SIZE_AT)
  const added = said.byteLength - zone.name.length
  made.writeUInt16LE(statusBytes + added, EVENT_HEADER_BYTES + QUERY.statusBytes)
  return made
}

/** A statement BEGIN of the time and the server of another event. `flags`: of the event. */
export function beginLike({ bytes, format }: BinlogEvent, flags: number): Buffer {
  const said = Buffer.from('BEGIN')
  const made = Buffer.alloc(EVENT_HEADER_BYTES + QUERY.least + 1 + said.byteLength + (format.hasChecksums ? 4 : 0))
  bytes.copy(made, 0, 0, EVENT_HEADER_BYTES)
  made.writeUInt8(EVENT.query, 4)
  made.writeUInt32LE(made.byteLength, SIZE_AT)
  made.writeUInt32LE(0, 13) // it is in no file
  made.writeUInt16LE(0, 17)
  said.copy(made, EVENT_HEADER_BYTES + QUERY.least + 1)
  return withFlag({ bytes: made, type: EVENT.query, format }, 17, flags)
}

interface Status {
  readonly mode: bigint
  /** Bytes as latin1; and where its length stands. */
  readonly zone: { readonly name: string; readonly at: number } | null
}

/** Each kind of variable has its own length, and servers write them in one order: none that is wanted stands behind a zone. */
function statusOf(status: Buffer): Status {
  let mode = 0n
  for (let at = 0; at < status.byteLength;) {
    const kind = status.readUInt8(at++)
    if (kind === STATUS.timeZone) return { mode, zone: { name: zoneAt(status, at), at } }
    if (kind === STATUS.sqlMode) mode = status.readBigUInt64LE(at)
    const length =
      kind === STATUS.sqlMode
        ? 8
        : kind === STATUS.catalog || kind === STATUS.catalogEnded
          ? status.readUInt8(at) + (kind === STATUS.catalog ? 1 : 2)
          : STATUS_BYTES[kind]
    if (length === undefined) break
    at += length
  }
  return { mode, zone: null }
}

function zoneAt(status: Buffer, at: number): string {
  const end = at + 1 + status.readUInt8(at)
  if (end > status.byteLength) throw new RangeError('the time zone of a statement is longer than its variables')
  return status.toString('latin1', at + 1, end)
}

/** As MariaDB packs: a byte with the kind and how many bytes the length has, the length, zlib. */
function unpacked(packed: Buffer): Buffer {
  const [head = 0] = packed
  const kind = (head & 0x70) >> 4
  if (kind !== 0) throw new RangeError(`a statement is compressed in a way ${kind} that is not known here`)
  try {
    return inflateSync(packed.subarray(1 + (head & 0x07)), { maxOutputLength: EVENT_BYTES_MAX })
  } catch (error) {
    throw new RangeError(`a compressed statement cannot be unpacked: ${reason(error)}`, { cause: error })
  }
}

const ID_BYTES = 6
const NAMES_AT = 8

/** Throws RangeError for what is none. */
export function readTableMap({ body }: BinlogEvent): TableMap {
  const databaseAt = NAMES_AT + 1
  const databaseEnd = databaseAt + body.readUInt8(NAMES_AT)
  const tableAt = databaseEnd + 2
  const tableEnd = tableAt + body.readUInt8(databaseEnd + 1)
  if (tableEnd >= body.byteLength || body[databaseEnd] !== 0 || body[tableEnd] !== 0)
    throw new RangeError('names of a table are longer than their event')
  return {
    id: tableId(body),
    database: body.subarray(databaseAt, databaseEnd).toString('utf8'),
    table: body.subarray(tableAt, tableEnd).toString('utf8'),
  }
}

const tableId = (body: Buffer): string => body.subarray(0, ID_BYTES).toString('hex')

const STATEMENT_ENDS = 0x1
/** Where the flags of rows are, in the whole event. */
const ROWS_FLAGS_AT = EVENT_HEADER_BYTES + ID_BYTES

export const ROWS_END = { at: ROWS_FLAGS_AT, flag: STATEMENT_ENDS } as const

export function readRows({ body }: BinlogEvent): { readonly id: string; readonly endsStatement: boolean } {
  return { id: tableId(body), endsStatement: (body.readUInt16LE(ID_BYTES) & STATEMENT_ENDS) !== 0 }
}

/** MariaDB's compressed ones: 166 to 171, the same three kinds twice. */
const COMPRESSED_ROWS = { first: 166, last: 171 } as const

export const isRows = (type: number): boolean =>
  (type >= EVENT.writeRowsV1 && type <= EVENT.deleteRowsV1) ||
  (type >= EVENT.writeRows && type <= EVENT.deleteRows) ||
  type === EVENT.partialUpdateRows ||
  (type >= COMPRESSED_ROWS.first && type <= COMPRESSED_ROWS.last)

export const isQuery = (type: number): boolean => type === EVENT.query || type === EVENT.queryCompressed

/** Of a distributed transaction, which others commit, maybe later, maybe in another connection. */
export interface XaStep {
  readonly does: 'START' | 'END' | 'COMMIT' | 'ROLLBACK'
  /** As the server writes it in each of these. */
  readonly name: string
}

const XA = /^XA (START|END|COMMIT|ROLLBACK) (\S+)$/
/** A name has two parts of 64 bytes, in hexadecimal digits. */
const XA_CHARACTERS_MAX = 400

export function xaStepOf({ text }: Query): XaStep | null {
  const [, does, name = ''] = (text.length <= XA_CHARACTERS_MAX && XA.exec(text)) || []
  return does === undefined ? null : { does: does as XaStep['does'], name }
}

const GTID_FLAGS_AT = 12
const GTID = { standalone: 0x1, groupCommit: 0x2, preparedXa: 0x40, completedXa: 0x80 } as const
const COMMIT_ID_BYTES = 8
/** Of an ALTER that is logged when it begins and again when it ends (binlog_alter_two_phase). */
const GTID_MORE = { startAlter: 0x2, rollbackAlter: 0x8 } as const

export interface MariadbGtid {
  readonly isStandalone: boolean
  /** It begins what is prepared to be committed, and does not commit it. */
  readonly isXa: boolean
  /** Its statement is not done there: it begins, and is logged again when it is done; or it has failed. */
  readonly isUndone: boolean
}

/** Of MariaDB's. */
export function readGtid({ body }: BinlogEvent): MariadbGtid {
  const flags = body.readUInt8(GTID_FLAGS_AT)
  const isNamed = (flags & (GTID.preparedXa | GTID.completedXa)) !== 0
  const moreAt = GTID_FLAGS_AT + 1 + ((flags & GTID.groupCommit) === 0 ? 0 : COMMIT_ID_BYTES)
  // behind the name of a distributed transaction they stand elsewhere, and nothing of one is replayed
  const more = isNamed ? 0 : (body[moreAt] ?? 0)
  return {
    isStandalone: (flags & GTID.standalone) !== 0,
    isXa: (flags & GTID.preparedXa) !== 0,
    isUndone: (more & (GTID_MORE.startAlter | GTID_MORE.rollbackAlter)) !== 0,
  }
}
