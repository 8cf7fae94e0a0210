/**
 * What a stream of frames travels in: chunks, each as it is or packed.
 *
 *   chunk    = how (1 byte: 0 plain, 1 zstd) length (4 bytes, big-endian) the stream's next bytes, or their zstd frame
 *
 * Frames and chunks know nothing of each other: a frame may begin in one chunk and end in another. Which chunks are
 * packed is the sender's business (packing.ts); nothing is proved here, since the frames inside are (frames.ts). A
 * packed chunk gives CHUNK_BYTES at most, so that a few bytes cannot become gigabytes.
 */

import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { broken } from './frames.js'

export const CHUNK_BYTES = 256 * 1024
export const CHUNK_HEADER_BYTES = 5
/** zstd adds a few bytes to what it cannot pack; the sender sends that as it is. */
const PACKED_BYTES_MAX = CHUNK_BYTES

const PLAIN = 0
const ZSTD = 1

/** Level 1: 300 to 500 MB/s a thread, and nearly all that the higher ones would gain. */
const PACKING = { params: { [constants.ZSTD_c_compressionLevel]: 1 } }

/** Of what it unpacks to, and of the memory that a frame may ask for. */
const UNPACKING = {
  maxOutputLength: CHUNK_BYTES,
  params: { [constants.ZSTD_d_windowLogMax]: Math.log2(CHUNK_BYTES) },
}

/** Into the room for it, before `bytes` of the stream. */
export const writePlainHeader = (chunk: Buffer, bytes: number): void => writeHeader(chunk, PLAIN, bytes)

function writeHeader(chunk: Buffer, how: number, bytes: number): void {
  chunk[0] = how
  chunk.writeUInt32BE(bytes, 1)
}

/** A chunk with its header, as one packed chunk; the caller sees whether it is smaller. */
export function packed(plain: Buffer): Buffer {
  const bytes = zstdCompressSync(plain.subarray(CHUNK_HEADER_BYTES), PACKING)
  const chunk = Buffer.allocUnsafeSlow(CHUNK_HEADER_BYTES + bytes.byteLength)
  writeHeader(chunk, ZSTD, bytes.byteLength)
  bytes.copy(chunk, CHUNK_HEADER_BYTES)
  return chunk
}

/** Gives the stream's own bytes back, in parts as they come. */
export class ChunkReader {
  readonly #header = Buffer.alloc(CHUNK_HEADER_BYTES)
  #headerBytes = 0
  #left = 0
  #packed: Buffer[] | undefined
  /** One of them was packed, or some. */
  arePacked = false;

  /** Throws PROTOCOL_BROKEN at the first byte that cannot be ours. */
  *push(received: Buffer): Iterable<Buffer> {
    for (let at = 0; at < received.byteLength;) {
      if (this.#left === 0) {
        at += this.#readHeader(received.subarray(at))
        continue
      }
      const part = received.subarray(at, at + this.#left)
      at += part.byteLength
      this.#left -= part.byteLength
      if (!this.#packed) yield part
      else {
        this.#packed.push(part)
        if (this.#left === 0) yield unpacked(this.#packed)
      }
    }
  }

  /** How many bytes it took. */
  #readHeader(from: Buffer): number {
    const taken = from.copy(this.#header, this.#headerBytes)
    this.#headerBytes += taken
    if (this.#headerBytes < CHUNK_HEADER_BYTES) return taken
    this.#headerBytes = 0
    const how = this.#header[0]
    this.#left = this.#header.readUInt32BE(1)
    if (how !== PLAIN && how !== ZSTD) throw broken(`a chunk of unknown kind ${how}`)
    if (how === ZSTD && (this.#left === 0 || this.#left > PACKED_BYTES_MAX))
      throw broken(`a packed chunk of ${this.#left} bytes`)
    this.#packed = how === ZSTD ? [] : undefined
    this.arePacked ||= how === ZSTD
    return taken
  }
}

function unpacked(parts: readonly Buffer[]): Buffer {
  const [first] = parts
  const bytes = parts.length === 1 && first ? first : Buffer.concat(parts)
  const plain = unpackedOrNothing(bytes)
  // nothing, said often enough, would be much to remember
  if (!plain?.byteLength) throw broken('a packed chunk that cannot be unpacked')
  return plain
}

function unpackedOrNothing(bytes: Buffer): Buffer | undefined {
  try {
    return zstdDecompressSync(bytes, UNPACKING)
  } catch {
    return undefined
  }
}
