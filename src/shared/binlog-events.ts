/**
 * The bytes of a MySQL or MariaDB binlog: where its events begin and end, and whether each is what the server wrote.
 *
 * A file is `fe 62 69 6e` and then events: a header of 19 bytes, a body, and
 * with `binlog_checksum` four bytes of CRC32 over both. The header says where
 * the event ends in the file (32 bits of it), so that one that is left out, or
 * twice there, shows; MariaDB since 11.4 says it of those that begin and end a
 * transaction alone. Integers are little-endian. What the events say is
 * nobody's business here.
 */

import { crc32 } from 'node:zlib'

export const MAGIC = Buffer.from([0xfe, 0x62, 0x69, 0x6e])
export const EVENT_HEADER_BYTES = 19
export const CRC_BYTES = 4
/** Its longest is some hundred bytes: it must be read whole. */
const FORMAT_BYTES_MAX = 64 * 1024
/** In the body of a format description: version (2), server (50), created (4), length of headers (1). */
const FORMAT_BYTES_MIN = EVENT_HEADER_BYTES + 57 + 1 + CRC_BYTES
const CREATED_AT = EVENT_HEADER_BYTES + 52
export const FLAGS_AT = 17
const POSITION_AT = 13
/** Set in the file while the server writes to it, and never counted in the checksum. */
export const IN_USE = 0x01
/** Made up for a connection, and in no file. */
const ARTIFICIAL = 0x20

export const ROTATE = 4
export const FORMAT_DESCRIPTION = 15
const HEARTBEATS = new Set([27, 41])

export interface BinlogPosition {
  /** As the server calls it. */
  readonly file: string
  /** Bytes: where an event begins, or the last one has ended. */
  readonly offset: number
}

export interface EventHeader {
  /** Unix seconds. */
  readonly timestamp: number
  readonly type: number
  readonly serverId: number
  /** Of the whole event. */
  readonly bytes: number
  /** Where it ends in its file, modulo 2^32; 0: in no file, or within a transaction (MariaDB since 11.4). */
  readonly end: number
  readonly isArtificial: boolean
}

export function eventHeader(bytes: Buffer): EventHeader {
  const type = bytes.readUInt8(4)
  return {
    timestamp: bytes.readUInt32LE(0),
    type,
    serverId: bytes.readUInt32LE(5),
    bytes: bytes.readUInt32LE(9),
    end: bytes.readUInt32LE(POSITION_AT),
    isArtificial: (bytes.readUInt16LE(FLAGS_AT) & ARTIFICIAL) !== 0 || HEARTBEATS.has(type),
  }
}

/** Events are not as they must be. The message says what is wrong, and nothing of where it was read. */
export class BinlogBroken extends Error {
  override readonly name = 'BinlogBroken'
}

/** Whether the events of a file end with a checksum, by its format description. */
export function hasChecksums(format: Buffer): boolean {
  if (format.byteLength < FORMAT_BYTES_MIN) throw new BinlogBroken('a format description that is too short')
  const algorithm = format.readUInt8(format.byteLength - CRC_BYTES - 1)
  if (algorithm > 1) throw new BinlogBroken(`events with checksums of an unknown kind (${algorithm})`)
  return algorithm === 1
}

/**
 * Whether the two are of one file: of one server, begun in the same second, of the same form. What differs with the
 * place that a connection begins at (position, creation, checksum) says nothing.
 */
export function isSameFormat(a: Buffer, b: Buffer): boolean {
  return a.byteLength === b.byteLength && a.byteLength >= FORMAT_BYTES_MIN && plain(a).equals(plain(b))
}

function plain(format: Buffer): Buffer {
  const copy = Buffer.from(format)
  copy.fill(0, POSITION_AT, EVENT_HEADER_BYTES)
  copy.fill(0, CREATED_AT, CREATED_AT + 4)
  copy.fill(0, copy.byteLength - CRC_BYTES)
  return copy
}

/** One file as it comes, from its beginning or from where an event begins. Throws BinlogBroken at what cannot be right. */
export class BinlogReader {
  /** Where the last whole event has ended. */
  offset: number
  #checksums: boolean | undefined
  #format: Buffer | undefined
  /** Magic, header, or checksum, as far as it has come. */
  readonly #gathered = Buffer.alloc(EVENT_HEADER_BYTES)
  #count = 0
  #event: EventHeader | undefined
  /** Of the event's body, its checksum not counted. */
  #left = 0
  #crc = 0
  /** A format description, from its header on. */
  #kept: Buffer[] | undefined

  /** `format`: the format description of the file that is gone on with; without it the file is read from its beginning. */
  constructor(begin?: { readonly offset: number; readonly format: Buffer }) {
    this.offset = begin?.offset ?? 0
    this.#format = begin?.format
    this.#checksums = begin && hasChecksums(begin.format)
  }

  /** The format description event, when it has come. */
  get format(): Buffer | undefined {
    return this.#format
  }

  /** True between events. */
  get atBoundary(): boolean {
    return this.#count === 0 && !this.#event
  }

  push(chunk: Buffer): void {
    for (let at = 0; at < chunk.byteLength;) {
      if (this.offset === 0) at = this.#readMagic(chunk, at)
      else if (!this.#event) at = this.#readHeader(chunk, at)
      else if (this.#left > 0) at = this.#readBody(chunk, at)
      else at = this.#readChecksum(chunk, at)
    }
  }

  /** Up to `bytes` of what is gathered. True: all of it is there. */
  #gather(chunk: Buffer, at: number, bytes: number): boolean {
    this.#count += chunk.copy(this.#gathered, this.#count, at, at + bytes - this.#count)
    return this.#count === bytes
  }

  #readMagic(chunk: Buffer, at: number): number {
    const next = at - this.#count + MAGIC.byteLength
    if (!this.#gather(chunk, at, MAGIC.byteLength)) return chunk.byteLength
    if (!this.#gathered.subarray(0, MAGIC.byteLength).equals(MAGIC)) throw new BinlogBroken('a file that is no binlog')
    this.offset = MAGIC.byteLength
    this.#count = 0
    return next
  }

  #readHeader(chunk: Buffer, at: number): number {
    const next = at - this.#count + EVENT_HEADER_BYTES
    if (!this.#gather(chunk, at, EVENT_HEADER_BYTES)) return chunk.byteLength
    const event = eventHeader(this.#gathered)
    this.#count = 0
    this.#expect(event)
    this.#event = event
    this.#left = event.bytes - EVENT_HEADER_BYTES - this.#sumBytes
    if (event.type === FORMAT_DESCRIPTION) {
      this.#kept = [Buffer.from(this.#gathered)]
      this.#gathered.writeUInt16LE(this.#gathered.readUInt16LE(FLAGS_AT) & ~IN_USE, FLAGS_AT)
    }
    this.#crc = this.#sumBytes === 0 ? 0 : crc32(this.#gathered)
    if (this.#left === 0 && this.#sumBytes === 0) this.#end()
    return next
  }

  #expect({ bytes, end, isArtificial, type }: EventHeader): void {
    if (this.#checksums === undefined && type !== FORMAT_DESCRIPTION) {
      throw new BinlogBroken('a file that does not begin with a format description')
    }
    const min = type === FORMAT_DESCRIPTION ? FORMAT_BYTES_MIN : EVENT_HEADER_BYTES + this.#sumBytes
    if (bytes < min || (type === FORMAT_DESCRIPTION && bytes > FORMAT_BYTES_MAX)) {
      throw new BinlogBroken(`an event of ${bytes} bytes at ${this.offset}`)
    }
    if (isArtificial) throw new BinlogBroken(`an event at ${this.offset} that is in no file`)
    // MariaDB leaves it 0 within a transaction, since 11.4; the event that ends one says it again
    const mayBeOpen = end === 0 && type !== FORMAT_DESCRIPTION && type !== ROTATE
    if (!mayBeOpen && (this.offset + bytes) % 2 ** 32 !== end) {
      throw new BinlogBroken(`an event of ${bytes} bytes at ${this.offset} that says that it ends at ${end}`)
    }
  }

  /** A format description has one whatever the others have. */
  get #sumBytes(): number {
    return this.#checksums === false ? 0 : CRC_BYTES
  }

  #readBody(chunk: Buffer, at: number): number {
    const part = chunk.subarray(at, at + this.#left)
    if (this.#sumBytes > 0) this.#crc = crc32(part, this.#crc)
    this.#kept?.push(Buffer.from(part))
    this.#left -= part.byteLength
    if (this.#left === 0 && this.#sumBytes === 0) this.#end()
    return at + part.byteLength
  }

  #readChecksum(chunk: Buffer, at: number): number {
    const next = at - this.#count + CRC_BYTES
    if (!this.#gather(chunk, at, CRC_BYTES)) return chunk.byteLength
    const sum = this.#gathered.subarray(0, CRC_BYTES)
    this.#count = 0
    if (this.#kept) {
      this.#format = Buffer.concat([...this.#kept, sum])
      this.#checksums = hasChecksums(this.#format)
    }
    if (this.#checksums && sum.readUInt32LE(0) !== this.#crc) {
      throw new BinlogBroken(`an event at ${this.offset} whose checksum is not that of its bytes`)
    }
    this.#end()
    return next
  }

  #end(): void {
    this.offset += this.#event?.bytes ?? 0
    this.#event = undefined
    this.#kept = undefined
  }
}
