/**
 * A raw binlog file as a row of events, read a piece at a time: whole events whose checksums are right, or an error.
 *
 * Nothing is interpreted here but what is needed to go from one event to the next.
 */

import { closeSync, openSync, readSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import {
  BinlogBroken,
  CRC_BYTES,
  EVENT_HEADER_BYTES,
  FLAGS_AT,
  IN_USE,
  MAGIC,
  hasChecksums,
} from '../../shared/binlog-events.js'
import { BackupError, reason } from '../../shared/errors.js'

/** Those that mean something here; MariaDB's own begin at 160. */
export const EVENT = {
  query: 2,
  intvar: 5,
  appendBlock: 9,
  deleteFile: 11,
  rand: 13,
  userVar: 14,
  formatDescription: 15,
  xid: 16,
  beginLoad: 17,
  executeLoad: 18,
  tableMap: 19,
  writeRowsV1: 23,
  updateRowsV1: 24,
  deleteRowsV1: 25,
  incident: 26,
  writeRows: 30,
  updateRows: 31,
  deleteRows: 32,
  gtidMysql: 33,
  anonymousGtid: 34,
  xaPrepare: 38,
  partialUpdateRows: 39,
  transactionPayload: 40,
  gtidTagged: 42,
  gtid: 162,
  startEncryption: 164,
  queryCompressed: 165,
} as const

export interface BinlogEvent {
  readonly type: number
  /** Unix seconds, by the clock of the server that wrote it. */
  readonly timestamp: number
  /** Of its first byte, and of what follows its last, in the file. */
  readonly position: number
  readonly end: number
  /** All of it, header and checksum too; until the next event is read. */
  readonly bytes: Buffer
  /** Between header and checksum; as long. */
  readonly body: Buffer
  /** As the file says how its events are to be read. */
  readonly format: BinlogFormat
}

export interface BinlogFormat {
  readonly serverVersion: string
  readonly hasChecksums: boolean
  /** Unix seconds: when the file was begun. */
  readonly began: number
  /** It was begun because the server was started. */
  readonly isOfStart: boolean
  /** Of the event that said so: its own. */
  readonly bytes: Buffer
}

/** What is to be read of a file. */
export interface BinlogPart {
  readonly path: string
  /** As the server calls it. */
  readonly name: string
  /** The first event begins here, and the last one ends. */
  readonly from: number
  readonly to: number
}

/** A row of that size no server takes by its defaults. */
export const EVENT_BYTES_MAX = 64 * 1024 * 1024
const READ_BYTES = 1024 * 1024

/**
 * The event that describes the file comes first, wherever `from` is. One buffer serves all events. @throws BackupError BINLOG_DAMAGED, BINLOG_UNREPLAYABLE for what is encrypted or too large
 */
export function* readEvents(part: BinlogPart): Generator<BinlogEvent> {
  using file = new Pieces(part)
  if (!file.take(MAGIC.byteLength).equals(MAGIC)) throw damaged(part, 0, 'it does not begin as a binlog does')
  let described = next(file, part, undefined)
  if (described.type !== EVENT.formatDescription)
    throw damaged(part, described.position, 'nothing says how it is to be read')
  yield described
  if (part.from > described.end) file.seek(part.from)
  while (file.position < part.to) {
    const event = next(file, part, described.format)
    if (event.type === EVENT.formatDescription) described = event
    if (event.type === EVENT.startEncryption) throw unreplayable(part, event.position, 'the server encrypts its binlog')
    yield event
  }
}

function next(file: Pieces, part: BinlogPart, known: BinlogFormat | undefined): BinlogEvent {
  const { position } = file
  const size = file.look(EVENT_HEADER_BYTES).readUInt32LE(9)
  if (size < EVENT_HEADER_BYTES + (known?.hasChecksums === false ? 0 : CRC_BYTES))
    throw damaged(part, position, `an event says that it has ${size} bytes`)
  if (position + size > part.to) throw damaged(part, position, `an event of ${size} bytes is cut off at ${part.to}`)
  if (size > EVENT_BYTES_MAX)
    throw unreplayable(part, position, `an event has ${size} bytes, and ${EVENT_BYTES_MAX} are the most that is taken`)
  const bytes = file.take(size)
  const type = bytes.readUInt8(4)
  const format = type === EVENT.formatDescription ? describedBy(bytes, part, position) : known
  if (!format) throw damaged(part, position, 'nothing says how it is to be read')
  const said = bytes.readUInt32LE(13)
  if (said !== 0 && said !== file.position % 2 ** 32) throw damaged(part, position, 'no event begins there')
  if (hasChecksum(type, format) && checksum(bytes, type) !== bytes.readUInt32LE(size - CRC_BYTES))
    throw damaged(part, position, 'the checksum of an event is not right')
  const body = bytes.subarray(EVENT_HEADER_BYTES, hasChecksum(type, format) ? size - CRC_BYTES : size)
  return { type, timestamp: bytes.readUInt32LE(0), position, end: file.position, bytes, body, format }
}

/** The one that says whether there are checksums has one itself, always. */
const hasChecksum = (type: number, format: BinlogFormat): boolean =>
  format.hasChecksums || type === EVENT.formatDescription

/** Of a file that is being written the server marks the first event, after its checksum was made. */
function checksum(bytes: Buffer, type: number): number {
  const covered = bytes.subarray(0, -CRC_BYTES)
  const flags = bytes.readUInt16LE(FLAGS_AT)
  if (type !== EVENT.formatDescription || (flags & IN_USE) === 0) return crc32(covered)
  const unmarked = Buffer.from(covered)
  unmarked.writeUInt16LE(flags & ~IN_USE, FLAGS_AT)
  return crc32(unmarked)
}

const FORMAT = { version: 0, server: 2, serverBytes: 50, began: 52, headerLength: 56 } as const

function describedBy(bytes: Buffer, part: BinlogPart, position: number): BinlogFormat {
  const body = bytes.subarray(EVENT_HEADER_BYTES)
  const checksums = checksumsSaid(bytes, part, position)
  const version = body.readUInt16LE(FORMAT.version)
  const headerLength = body.readUInt8(FORMAT.headerLength)
  if (version !== 4 || headerLength !== EVENT_HEADER_BYTES)
    throw unreplayable(part, position, `it is of version ${version} of the format, and 4 is known here`)
  const server = body.subarray(FORMAT.server, FORMAT.server + FORMAT.serverBytes).toString('latin1')
  return {
    serverVersion: server.replace(/\0.*$/s, ''),
    hasChecksums: checksums,
    began: bytes.readUInt32LE(0),
    isOfStart: body.readUInt32LE(FORMAT.began) !== 0,
    bytes: Buffer.from(bytes),
  }
}

function checksumsSaid(bytes: Buffer, part: BinlogPart, position: number): boolean {
  try {
    return hasChecksums(bytes)
  } catch (error) {
    if (error instanceof BinlogBroken) throw unreplayable(part, position, error.message, error)
    throw error
  }
}

/** The event with two bytes of its own changed, and its checksum made anew. `at`: in the whole event. */
export function withFlag(
  { bytes, type, format }: Pick<BinlogEvent, 'bytes' | 'type' | 'format'>,
  at: number,
  flag: number,
): Buffer {
  const changed = Buffer.from(bytes)
  changed.writeUInt16LE(changed.readUInt16LE(at) | flag, at)
  if (hasChecksum(type, format))
    changed.writeUInt32LE(crc32(changed.subarray(0, -CRC_BYTES)), changed.byteLength - CRC_BYTES)
  return changed
}

/** A file, forwards. What was taken is there until the next is looked at. */
class Pieces implements Disposable {
  readonly #fd: number
  #buffer: Buffer = Buffer.allocUnsafeSlow(READ_BYTES)
  /** Of what is held: where the next byte is, and where it ends. */
  #at = 0
  #end = 0
  /** Of the byte that comes next, in the file. */
  position = 0

  constructor(private readonly part: BinlogPart) {
    try {
      this.#fd = openSync(part.path, 'r')
    } catch (error) {
      throw damaged(part, 0, reason(error), error)
    }
  }

  seek(position: number): void {
    this.#at = 0
    this.#end = 0
    this.position = position
  }

  look(count: number): Buffer {
    if (this.#end - this.#at < count) this.#fill(count)
    return this.#buffer.subarray(this.#at, this.#at + count)
  }

  take(count: number): Buffer {
    const taken = this.look(count)
    this.#at += count
    this.position += count
    return taken
  }

  #fill(count: number): void {
    const before = this.#buffer
    if (count > before.byteLength) this.#buffer = Buffer.allocUnsafeSlow(count)
    this.#end = before.copy(this.#buffer, 0, this.#at, this.#end)
    this.#at = 0
    while (this.#end < count) {
      const read = this.#read(this.#buffer, this.#end)
      if (read === 0) throw damaged(this.part, this.position, 'it ends in the middle of an event')
      this.#end += read
    }
  }

  #read(target: Buffer, held: number): number {
    try {
      return readSync(this.#fd, target, held, target.byteLength - held, this.position + held)
    } catch (error) {
      throw damaged(this.part, this.position, reason(error), error)
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd)
  }
}

type Place = Pick<BinlogPart, 'name' | 'path'>

export function damaged({ name, path }: Place, position: number, why: string, cause?: unknown): BackupError {
  const message = `read the archived binlog ${name} at ${position}: ${why}`
  return new BackupError('BINLOG_DAMAGED', message, { path, position }, { cause })
}

export function unreplayable({ name, path }: Place, position: number, why: string, cause?: unknown): BackupError {
  const message = `replay the archived binlog ${name} at ${position}: ${why}`
  return new BackupError('BINLOG_UNREPLAYABLE', message, { path, position }, { cause })
}
