/**
 * Frames on their way out: gathered into chunks of a quarter megabyte, so that a
 * hundred small objects cost one message to the main thread and one write to the
 * socket. `send` says when the receiver has had enough (a promise); only then is
 * anything awaited.
 */

import { ID_BYTES } from '../../shared/ids.js'
import { CHUNK_BYTES, CHUNK_HEADER_BYTES, writePlainHeader } from '../../shared/wire/chunks.js'
import {
  FRAME,
  FRAME_HEADER_BYTES,
  encodeAbsent,
  encodeBlockRef,
  frameHeader,
  provesItself,
} from '../../shared/wire/frames.js'
import type { Absent, FrameType } from '../../shared/wire/frames.js'
import type { Hmac } from 'node:crypto'

/** The receiver gives up after a minute of silence; long walks must be heard of well before. */
const ALIVE_MS = 5_000

export class FrameWriter {
  #chunk: Buffer
  /** Its header included. */
  #used = CHUNK_HEADER_BYTES
  #sentAt = performance.now()
  /** ABSENT frames written so far. */
  absent = 0

  /**
   * `send` owns what it is given: a chunk with its header, which it may replace by another that says the same, or
   * (`isChunk` false) a part of one. `room` gives another CHUNK_BYTES. `mac`: null where something else proves the
   * frames, and no END is written.
   */
  constructor(
    private readonly mac: Hmac | null,
    private readonly send: (bytes: Buffer, isChunk: boolean) => void | Promise<void>,
    private readonly room: () => Buffer = () => Buffer.allocUnsafeSlow(CHUNK_BYTES),
  ) {
    this.#chunk = room()
  }

  json(type: FrameType, value: object): void | Promise<void> {
    return this.#frame(type, Buffer.from(JSON.stringify(value), 'utf8'))
  }

  bytes(type: FrameType, payload: Buffer): void | Promise<void> {
    return this.#frame(type, payload)
  }

  empty(type: FrameType): void | Promise<void> {
    return this.#frame(type, Buffer.alloc(0))
  }

  tree(commit: string): void | Promise<void> {
    return this.#frame(FRAME.tree, Buffer.from(commit, 'hex'))
  }

  object(type: FrameType, id: string, bytes: Buffer): void | Promise<void> {
    const head = objectHead(type, id, bytes.byteLength)
    if (!provesItself(type)) this.mac?.update(head).update(bytes)
    return this.#append(head, bytes)
  }

  /**
   * A block of `size` bytes that `read` puts into our chunks part by part: a large one is never whole in memory. When
   * `read` gives less (0), the rest is zeros, which the receiver finds to be no block: the frame's length is promised.
   */
  async blockInParts(id: string, size: number, read: (target: Buffer) => number): Promise<void> {
    await this.#append(objectHead(FRAME.block, id, size), Buffer.alloc(0))
    for (let left = size; left > 0;) {
      const target = this.#chunk.subarray(this.#used, Math.min(CHUNK_BYTES, this.#used + left))
      const got = read(target)
      if (got === 0) target.fill(0)
      const filled = got === 0 ? target.byteLength : got
      this.#used += filled
      left -= filled
      if (this.#used === CHUNK_BYTES) await this.flush()
    }
  }

  blockRef(id: string, size: number): void | Promise<void> {
    return this.#frame(FRAME.blockRef, encodeBlockRef(id, size))
  }

  notThere(absent: Absent): void | Promise<void> {
    this.absent += 1
    return this.#frame(FRAME.absent, encodeAbsent(absent))
  }

  /** To be called inside long walks that write nothing. */
  alive(): void | Promise<void> {
    if (performance.now() - this.#sentAt < ALIVE_MS) return
    const written = this.empty(FRAME.alive)
    return written ?? this.flush()
  }

  end(changed: boolean): void | Promise<void> {
    if (!this.mac) throw new Error('assertion failed: an END that proves nothing')
    return this.json(FRAME.end, { mac: this.mac.digest('hex'), changed })
  }

  flush(): void | Promise<void> {
    if (this.#used === CHUNK_HEADER_BYTES) return
    return this.#flush(this.#used - CHUNK_HEADER_BYTES)
  }

  /** A chunk of `bytes`, of which what is here is the beginning. */
  #flush(bytes: number): void | Promise<void> {
    const chunk = this.#chunk.subarray(0, this.#used)
    writePlainHeader(chunk, bytes)
    this.#chunk = this.room()
    this.#used = CHUNK_HEADER_BYTES
    this.#sentAt = performance.now()
    return this.send(chunk, bytes === chunk.byteLength - CHUNK_HEADER_BYTES)
  }

  #frame(type: FrameType, payload: Buffer): void | Promise<void> {
    const header = frameHeader(type, payload.byteLength)
    if (!provesItself(type)) this.mac?.update(header).update(payload)
    return this.#append(header, payload)
  }

  #append(header: Buffer, payload: Buffer): void | Promise<void> {
    const total = header.byteLength + payload.byteLength
    if (total > CHUNK_BYTES - this.#used) return this.#appendLarge(header, payload, total)
    header.copy(this.#chunk, this.#used)
    payload.copy(this.#chunk, this.#used + header.byteLength)
    this.#used += total
  }

  async #appendLarge(header: Buffer, payload: Buffer, total: number): Promise<void> {
    await this.flush()
    if (total <= CHUNK_BYTES - CHUNK_HEADER_BYTES) return this.#append(header, payload)
    // a large payload is handed over as it is, not copied
    header.copy(this.#chunk, CHUNK_HEADER_BYTES)
    this.#used = CHUNK_HEADER_BYTES + header.byteLength
    await this.#flush(total)
    await this.send(payload, false)
  }
}

/** What stands before the `bytes` of an object. */
function objectHead(type: FrameType, id: string, bytes: number): Buffer {
  const head = Buffer.allocUnsafe(FRAME_HEADER_BYTES + ID_BYTES)
  frameHeader(type, ID_BYTES + bytes).copy(head)
  head.write(id, FRAME_HEADER_BYTES, 'hex')
  return head
}
