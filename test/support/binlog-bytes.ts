/** Binlogs of bytes alone, for what needs no server. */

import { crc32 } from 'node:zlib'
import { FORMAT_DESCRIPTION, MAGIC } from '../../src/shared/binlog-events.js'

export interface FormatOptions {
  readonly checksums: boolean
  readonly timestamp?: number
  readonly serverId?: number
}

const HEADER = 19
const POST_HEADERS = 40

export function formatDescription({ checksums, timestamp = 1_700_000_000, serverId = 1 }: FormatOptions): Buffer {
  const body = Buffer.alloc(57 + POST_HEADERS + 1)
  body.writeUInt16LE(4, 0)
  body.write('10.11.14-MariaDB-log', 2)
  body.writeUInt32LE(timestamp, 52)
  body.writeUInt8(HEADER, 56)
  body.writeUInt8(checksums ? 1 : 0, body.byteLength - 1)
  return made({ type: FORMAT_DESCRIPTION, at: MAGIC.byteLength, body, timestamp, serverId, sum: true })
}

export interface EventOptions {
  /** Where it begins in its file. */
  readonly at: number
  /** Bytes of it. */
  readonly body: number
  readonly checksums: boolean
  /** As MariaDB writes those within a transaction since 11.4: it does not say where it ends. */
  readonly endless?: boolean
}

export const event = ({ at, body, checksums, endless = false }: EventOptions): Buffer =>
  made({ type: 2, at, body: Buffer.alloc(body, 'b'), timestamp: 1_700_000_005, serverId: 1, sum: checksums, endless })

/** A format description, and an event for each of `bodies`. */
export function binlogFile({ bodies, ...format }: FormatOptions & { readonly bodies: readonly number[] }): Buffer {
  let file = Buffer.concat([MAGIC, formatDescription(format)])
  for (const body of bodies)
    file = Buffer.concat([file, event({ at: file.byteLength, body, checksums: format.checksums })])
  return file
}

/** Of a statement; of one of LOAD DATA with `load`. */
export function queryBody(database: string, text: string, { status = Buffer.alloc(0), load = false } = {}): Buffer {
  const head = Buffer.alloc(load ? 26 : 13)
  head.writeUInt8(Buffer.byteLength(database), 8)
  head.writeUInt16LE(status.byteLength, 11)
  return Buffer.concat([head, status, Buffer.from(`${database}\0${text}`)])
}

const TABLE_ID = Buffer.from([7, 0, 0, 0, 0, 0])
export const tableMapBody = (database: string, table: string): Buffer =>
  Buffer.concat([TABLE_ID, Buffer.from([1, 0]), ...[database, table].map(nameOf), Buffer.from([1, 3, 0, 1])])
const nameOf = (name: string): Buffer => Buffer.from([Buffer.byteLength(name), ...Buffer.from(name), 0])
/** Of the table that was described; they end their statement. */
export const rowsBody = (): Buffer => Buffer.concat([TABLE_ID, Buffer.from([1, 0, 2, 0, 1, 255, 0, 9, 0, 0, 0])])

/** A file in which an event follows on the other. */
export function fileOf(events: readonly { readonly type: number; readonly body: Buffer }[]): Buffer {
  let file = Buffer.concat([MAGIC, formatDescription({ checksums: true })])
  for (const { type, body } of events) {
    const event = made({ type, at: file.byteLength, body, timestamp: 1_700_000_005, serverId: 1, sum: true })
    file = Buffer.concat([file, event])
  }
  return file
}

interface Made {
  readonly type: number
  readonly at: number
  readonly body: Buffer
  readonly timestamp: number
  readonly serverId: number
  readonly sum: boolean
  readonly endless?: boolean
}

function made({ type, at, body, timestamp, serverId, sum, endless = false }: Made): Buffer {
  const bytes = HEADER + body.byteLength + (sum ? 4 : 0)
  const header = Buffer.alloc(HEADER)
  header.writeUInt32LE(timestamp, 0)
  header.writeUInt8(type, 4)
  header.writeUInt32LE(serverId, 5)
  header.writeUInt32LE(bytes, 9)
  header.writeUInt32LE(endless ? 0 : (at + bytes) % 2 ** 32, 13)
  const plain = Buffer.concat([header, body])
  if (!sum) return plain
  const crc = Buffer.alloc(4)
  crc.writeUInt32LE(crc32(plain))
  return Buffer.concat([plain, crc])
}
