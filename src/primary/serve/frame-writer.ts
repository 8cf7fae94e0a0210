/**
 * Frames on their way out: gathered into chunks of a quarter megabyte, so that a
 * hundred small objects cost one message to the main thread and one write to the
 * socket. `send` says when the receiver has had enough (a promise); only then is
 * anything awaited. What does not prove itself is proved before it leaves, and before
 * what hangs on it: the receiver acts on nothing else.
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
import { PROOF_BYTES } from '../../shared/wire/stream-seal.js'
import type { Absent, FrameType } from '../../shared/wire/frames.js'
import type { StreamSeal } from '../../shared/wire/stream-seal.js'

/** Of a chunk, for frames; behind them there is room for the PROOF of them. */
const FRAMES_END = CHUNK_BYTES - FRAME_HEADER_BYTES - PROOF_BYTES
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
   * (`isChunk` false) a part of one. `room` gives another CHUNK_BYTES. `seal`: null where something else proves the
   * frames, and neither PROOF nor END is written.
   */
  constructor(
    private readonly seal: StreamSeal | null,
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
    const written = this.#frame(FRAME.tree, Buffer.from(commit, 'hex'))
    if (written) return written.then(() => this.#prove())
    this.#prove() // of the objects that follow, none is expected before it is
  }

  object(type: FrameType, id: string, bytes: Buffer): void | Promise<void> {
    return this.#append(type, objectHead(type, id, bytes.byteLength), bytes)
  }

  /**
   * A block of `size` bytes that `read` puts into our chunks part by part: a large one is never whole in memory. When
   * `read` gives less (0), the rest is zeros, which the receiver finds to be no block: the frame's length is promised.
   */
  async blockInParts(id: string, size: number, read: (target: Buffer) => number): Promise<void> {
    this.#prove() // within it there is no place for a PROOF
    await this.#append(FRAME.block, objectHead(FRAME.block, id, size), Buffer.alloc(0))
    for (let left = size; left > 0;) {
      const target = this.#chunk.subarray(this.#used, Math.min(CHUNK_BYTES, this.#used + left))
      const got = read(target)
      if (got === 0) target.fill(0)
      const filled = got === 0 ? target.byteLength : got
      this.#used += filled
      left -= filled
      if (this.#used === CHUNK_BYTES) await this.#flush()
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
    if (!this.seal) throw new Error('assertion failed: an END that proves nothing')
    this.#prove()
    return this.json(FRAME.end, { mac: this.seal.end(changed), changed })
  }

  flush(): void | Promise<void> {
    this.#prove()
    if (this.#used > CHUNK_HEADER_BYTES) return this.#flush()
  }

  /** A chunk of `bytes`, of which what is here is the beginning. */
  #flush(bytes = this.#used - CHUNK_HEADER_BYTES): void | Promise<void> {
    const chunk = this.#chunk.subarray(0, this.#used)
    writePlainHeader(chunk, bytes)
    this.#chunk = this.room()
    this.#used = CHUNK_HEADER_BYTES
    this.#sentAt = performance.now()
    return this.send(chunk, bytes === chunk.byteLength - CHUNK_HEADER_BYTES)
  }

  #frame(type: FrameType, payload: Buffer): void | Promise<void> {
    return this.#append(type, frameHeader(type, payload.byteLength), payload)
  }

  #append(type: FrameType, head: Buffer, rest: Buffer): void | Promise<void> {
    if (head.byteLength + rest.byteLength > FRAMES_END - this.#used) return this.#appendInNext(type, head, rest)
    this.#put(head)
    this.#put(rest)
    if (!this.seal || provesItself(type)) return
    this.seal.add(head, rest)
    if (this.seal.isFull) this.#prove()
  }

  async #appendInNext(type: FrameType, head: Buffer, rest: Buffer): Promise<void> {
    await this.flush()
    const bytes = head.byteLength + rest.byteLength
    if (bytes <= FRAMES_END - CHUNK_HEADER_BYTES) return this.#append(type, head, rest)
    if (!provesItself(type)) this.seal?.add(head, rest) // now: it is handed over as it is, not copied
    this.#put(head)
    await this.#flush(bytes)
    await this.send(rest, false)
    this.#prove()
  }

  #put(bytes: Buffer): void {
    this.#used += bytes.copy(this.#chunk, this.#used)
  }

  /** There is room for it: frames end before. */
  #prove(): void {
    if (this.seal?.isOpen) this.#put(this.seal.proof())
  }
}

/** What stands before the `bytes` of an object. */
function objectHead(type: FrameType, id: string, bytes: number): Buffer {
  const head = Buffer.allocUnsafe(FRAME_HEADER_BYTES + ID_BYTES)
  frameHeader(type, ID_BYTES + bytes).copy(head)
  head.write(id, FRAME_HEADER_BYTES, 'hex')
  return head
}
