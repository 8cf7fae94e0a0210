/**
 * What proves the frames of a stream whose content does not prove itself, before the stream has ended.
 *
 *   PROOF = HMAC-SHA256(key, "segment\n" nonce "\n" number "\n" frames)
 *   END   = HMAC-SHA256(key, "end\n" nonce "\n" number of segments "\n" changed)
 *
 * A segment is what was said since the last PROOF. Its number keeps it in its place: a segment that is changed, left out,
 * doubled, moved, or of another answer proves nothing. One for each side of a stream; each byte is hashed once.
 */

import { createHmac, createSecretKey } from 'node:crypto'
import { FRAME, frameHeader } from './frames.js'
import type { Hmac, KeyObject } from 'node:crypto'
import type { AuthKey } from './auth.js'

/** What the receiver holds back at most, besides the last frame of it: from here on the sender must prove. */
export const SEGMENT_BYTES = 64 * 1024
export const SEGMENT_FRAMES = 1_000
export const PROOF_BYTES = 32

export class StreamSeal {
  #number = 0
  #frames = 0
  #bytes = 0
  #mac: Hmac | undefined
  /** Of its bytes Node would make one for each segment, which takes it four times as long as all the rest. */
  readonly #key: KeyObject

  constructor(
    key: AuthKey,
    private readonly nonce: string,
  ) {
    this.#key = createSecretKey(key)
  }

  /** Something was said that is not proved yet. */
  get isOpen(): boolean {
    return this.#frames > 0
  }

  /** Nothing more may be said before it is proved. */
  get isFull(): boolean {
    return this.#frames >= SEGMENT_FRAMES || this.#bytes >= SEGMENT_BYTES
  }

  /** A frame, whole: its header, or that and the beginning of its payload, and the rest. */
  add(head: Buffer, rest: Buffer): void {
    this.#mac ??= createHmac('sha256', this.#key).update(`segment\n${this.nonce}\n${this.#number}\n`)
    this.#mac.update(head).update(rest)
    this.#frames += 1
    this.#bytes += head.byteLength + rest.byteLength
  }

  /** The frame that proves what was added since the last one. */
  proof(): Buffer {
    return Buffer.concat([frameHeader(FRAME.proof, PROOF_BYTES), this.close()])
  }

  /** Of the segment that is open; the next one begins. */
  close(): Buffer {
    if (!this.#mac) throw new Error('assertion failed: a proof of nothing')
    const mac = this.#mac.digest()
    this.#mac = undefined
    this.#number += 1
    this.#frames = 0
    this.#bytes = 0
    return mac
  }

  /** For END, in hex. Of a stream whose last segment is closed. */
  end(changed: boolean): string {
    if (this.isOpen) throw new Error('assertion failed: an end of what is not proved')
    return createHmac('sha256', this.#key).update(`end\n${this.nonce}\n${this.#number}\n${changed}`).digest('hex')
  }
}
