/**
 * Whether chunks are packed: only where the line is what everybody waits for, and only what becomes smaller.
 *
 * Packing costs the live server's CPU, so it must pay. The line's rate is measured while a stream waits for it:
 * above SLOW_BYTES_PER_SECOND nothing is packed, since there the disk or the backup is as likely what is slow.
 * Most of what travels cannot be packed (fs objects are zlib streams; photographs, archives and all blocks of
 * encrypted libraries); one chunk tried in vain lets more and more of the next ones pass untried.
 */

import { packed } from '../../shared/wire/chunks.js'

/** 320 Mbit/s: there one chunk takes 6.5 ms on the line, and its packing about 1 ms. */
export const SLOW_BYTES_PER_SECOND = 40_000_000
/** What was measured so long ago says nothing: the line is measured again, with nothing packed. */
const FORGOTTEN_MS = 60_000
/** Measured over so much: less is the noise of buffers that fill and drain. */
const SAMPLE_BYTES = 512 * 1024
/** A smaller gain is not worth the receiver's work either. */
const WORTH_IT = 0.9
/** Of chunks that pass untried, the most: of compressible data behind 8 MB of others, at most so much is missed. */
const UNTRIED_MAX = 32
/** A shorter chunk costs a round trip anyway. */
const BYTES_MIN = 1024

export class Packing {
  #rate = Infinity
  #measuredAt = -Infinity
  /** Streams that wait now, and since when any does. */
  #waiting = 0
  #since = 0
  #sample = { bytes: 0, ms: 0 }
  #untried = 0
  #skip = 1

  constructor(private readonly now: () => number = () => performance.now()) {}

  /** A stream waits for what was sent to leave; `goesOn` ends it. */
  waits(): void {
    if (this.#waiting === 0) this.#since = this.now()
    this.#waiting += 1
  }

  goesOn(): void {
    this.#measure() // now: where many wait, one of them always does
    this.#waiting -= 1
  }

  /** So many bytes, of whichever stream, are with the kernel. */
  left(bytes: number): void {
    if (this.#waiting > 0) this.#sample.bytes += bytes
  }

  /** Of a chunk with its header: itself, or a smaller one that says the same. */
  apply(chunk: Buffer): Buffer {
    if (!this.#isSlow || chunk.byteLength < BYTES_MIN) return chunk
    if (this.#untried > 0) {
      this.#untried -= 1
      return chunk
    }
    const smaller = packed(chunk)
    if (smaller.byteLength <= chunk.byteLength * WORTH_IT) {
      this.#skip = 1
      return smaller
    }
    this.#untried = this.#skip
    this.#skip = Math.min(UNTRIED_MAX, this.#skip * 2)
    return chunk
  }

  #measure(): void {
    const now = this.now()
    this.#sample.ms += now - this.#since
    this.#since = now
    if (this.#sample.bytes < SAMPLE_BYTES) return
    this.#rate = (this.#sample.bytes / Math.max(this.#sample.ms, 0.001)) * 1000
    this.#measuredAt = now
    this.#sample = { bytes: 0, ms: 0 }
  }

  get #isSlow(): boolean {
    return this.#rate < SLOW_BYTES_PER_SECOND && this.now() - this.#measuredAt < FORGOTTEN_MS
  }
}
