/** What is taken from the events that the server sends: the bytes of its files, and nothing that it made up for us. */

import { crc32 } from 'node:zlib'
import {
  BinlogBroken,
  BinlogReader,
  EVENT_HEADER_BYTES,
  FORMAT_DESCRIPTION,
  MAGIC,
  ROTATE,
  eventHeader,
} from '../../shared/binlog-events.js'
import type { EventHeader } from '../../shared/binlog-events.js'
import type { BinlogPosition } from '../../shared/binlog-events.js'

/** The beginning of a file, by its name, or bytes of the one begun last. */
export type Piece = string | Buffer
export const isBeginning = (piece: Piece): boolean => typeof piece === 'string'

/** Small events are gathered: a million buffers would be more than what is in them. */
const GATHERED_BYTES = 256 * 1024
/** A position can only be asked for below it; beyond, a file is read to its end at once: */
const ASKABLE_BYTES = 2 ** 32
/** and so much of it is held. */
const BEYOND_BYTES_MAX = 64 * 1024 * 1024
const CRC_BYTES = 4
const ROTATE_NAME_AT = EVENT_HEADER_BYTES + 8

/** More of a file lies where nobody can ask for it than can be held. */
export class BeyondReach extends Error {
  override readonly name = 'BeyondReach'
}

export class Slice {
  readonly pieces: Piece[] = []
  /** Of the file that was asked for, when it is gone on with in its middle. */
  format: Buffer | null = null
  #file: string
  #reader: BinlogReader | undefined
  #bytes = 0
  #room = Buffer.alloc(0)
  #used = 0

  constructor(
    private readonly from: BinlogPosition,
    private readonly bytesMax: number,
  ) {
    this.#file = from.file
    if (from.offset <= MAGIC.byteLength) this.#begin(from.file)
  }

  /** Where the last event ended that was taken. */
  get position(): BinlogPosition {
    return { file: this.#file, offset: this.#reader?.offset ?? this.from.offset }
  }

  get isFull(): boolean {
    return this.#bytes >= this.bytesMax && this.position.offset < ASKABLE_BYTES
  }

  /** Throws BinlogBroken for what cannot be in a file there; BeyondReach. */
  take(event: Buffer): void {
    if (event.byteLength < EVENT_HEADER_BYTES) throw new BinlogBroken('an event that is too short')
    const header = eventHeader(event)
    if (header.bytes !== event.byteLength) throw new BinlogBroken('an event that is longer or shorter than it says')
    if (header.isArtificial) return this.#madeUp(header, event)
    if (this.#reader) return this.#keep(this.#reader, event)
    // the server repeats how the file is written to whoever begins in its middle; the position that it has there is none
    if (header.type !== FORMAT_DESCRIPTION) throw new BinlogBroken('events without a format description')
    this.format = Buffer.from(event)
    this.#reader = new BinlogReader({ offset: this.from.offset, format: this.format })
  }

  /** All of it. */
  end(): readonly Piece[] {
    this.#flush()
    if (typeof this.pieces.at(-1) === 'string') this.pieces.pop() // a file with nothing in it yet
    return this.pieces
  }

  #madeUp({ type }: EventHeader, event: Buffer): void {
    if (type !== ROTATE) return
    const name = rotatedTo(event)
    if (name !== this.#file) this.#begin(name)
  }

  #begin(name: string): void {
    if (this.#reader?.atBoundary === false) throw new BinlogBroken('a file that ends within an event')
    this.#flush()
    this.#file = name
    this.pieces.push(name)
    this.#reader = new BinlogReader()
  }

  #keep(reader: BinlogReader, event: Buffer): void {
    if (reader.offset === 0) this.#add(reader, MAGIC)
    this.#add(reader, event)
  }

  #add(reader: BinlogReader, bytes: Buffer): void {
    reader.push(bytes)
    if (reader.offset > ASKABLE_BYTES + BEYOND_BYTES_MAX)
      throw new BeyondReach(`${this.#file} is longer than 4 GiB, and no replica can read it beyond in pieces`)
    this.#bytes += bytes.byteLength
    if (bytes.byteLength > this.#room.byteLength - this.#used) this.#flush()
    if (bytes.byteLength > GATHERED_BYTES) return void this.pieces.push(bytes)
    if (this.#room.byteLength === 0) this.#room = Buffer.allocUnsafeSlow(GATHERED_BYTES)
    this.#used += bytes.copy(this.#room, this.#used)
  }

  #flush(): void {
    if (this.#used > 0) this.pieces.push(this.#room.subarray(0, this.#used))
    this.#room = Buffer.alloc(0)
    this.#used = 0
  }
}

/** Of a made-up one nothing says whether a checksum follows the name: where the last bytes are one, they are no name. */
function rotatedTo(event: Buffer): string {
  const body = event.byteLength - CRC_BYTES
  const hasChecksum = body > ROTATE_NAME_AT && crc32(event.subarray(0, body)) === event.readUInt32LE(body)
  return event.toString('utf8', ROTATE_NAME_AT, hasChecksum ? body : event.byteLength)
}
