/** Bytes that no compression makes smaller, the same for the same seed, as fast as memory. */

import { createCipheriv, hash } from 'node:crypto'
import type { Cipheriv } from 'node:crypto'

const WORD_BYTES = 4
const WORD_VALUES = 2 ** 32
/** Words for `below` are taken from the stream so many bytes at a time. */
const WORDS_BYTES = 64 * 1024

export class Seeded {
  readonly #stream: Cipheriv
  #zeros = Buffer.alloc(0)
  #words: Buffer = Buffer.alloc(0)

  constructor(seed: string) {
    const key = hash('sha1', seed, 'buffer').subarray(0, 16)
    this.#stream = createCipheriv('aes-128-ctr', key, Buffer.alloc(16))
  }

  bytes(count: number): Buffer {
    if (this.#zeros.byteLength < count) this.#zeros = Buffer.alloc(count)
    return this.#stream.update(this.#zeros.subarray(0, count))
  }

  /** A whole number, 0 to `bound` - 1. */
  below(bound: number): number {
    if (this.#words.byteLength < WORD_BYTES) this.#words = this.bytes(WORDS_BYTES)
    const word = this.#words.readUInt32LE(0)
    this.#words = this.#words.subarray(WORD_BYTES)
    return Math.floor((word / WORD_VALUES) * bound)
  }
}
