/**
 * A dump as the answer to the backup: compressed here, so that neither line nor disk has more of it than needed, and
 * never stored. The backup hears of us while the database is silent; of a dump that fails it hears why.
 */

import { constants, createZstdCompress } from 'node:zlib'
import { asBackupError, isAbort } from '../../shared/errors.js'
import { limit } from '../../shared/limit.js'
import { FRAME } from '../../shared/wire/frames.js'
import { DUMPED_BYTES_MAX } from '../../shared/wire/dump-messages.js'
import { FrameWriter } from './frame-writer.js'
import type { DumpHeader } from '../../shared/wire/dump-messages.js'
import type { StreamSeal } from '../../shared/wire/stream-seal.js'
import type { DumpSink, TakeDump } from '../dump/dump-source.js'

/**
 * Level 1 takes half of the CPU that level 3 does, of rows of Seahub's it made even less, and what is short here is the
 * primary's CPU. What is packed waits in half a megabyte for the line; with `nbWorkers` Node's stream breaks.
 */
const PACKING = {
  params: { [constants.ZSTD_c_compressionLevel]: 1 },
  chunkSize: 128 * 1024,
  highWaterMark: 512 * 1024,
}
/** A dump tool writes 4 KiB at a time: gathered, zstd is called a hundredth as often, and the tool goes on meanwhile. */
const BLOCK_BYTES = 256 * 1024
const BLOCKS = 4
/** Often enough for a peer that waits for a minute. */
const ALIVE_EVERY_MS = 5_000

export type SendDump = (
  seal: StreamSeal,
  write: (bytes: Uint8Array) => Promise<void>,
  signal: AbortSignal,
) => Promise<void>

/** One at a time: a second one would only slow both, and the database. */
export function dumpSender(take: TakeDump): SendDump {
  const inTurn = limit(1)
  return (seal, write, signal) =>
    inTurn(async () => {
      await using frames = new DumpFrames(seal, write)
      try {
        await take(frames, signal)
        await frames.endPart()
      } catch (error) {
        if (signal.aborted || isAbort(error)) throw error
        const { code, message } = asBackupError(error, 'DUMP_FAILED')
        await frames.failed({ code, message })
      }
      await frames.end()
    }, signal)
}

/** The frames of one dump, in their order, whoever writes them. */
class DumpFrames implements DumpSink, AsyncDisposable {
  readonly #frames: FrameWriter
  readonly #alive: NodeJS.Timeout
  #packing: Packing | undefined
  /** What is being written. */
  #last: Promise<void> = Promise.resolve()

  constructor(seal: StreamSeal, write: (bytes: Uint8Array) => Promise<void>) {
    this.#frames = new FrameWriter(seal, write)
    this.#alive = setInterval(() => {
      // what it rejects with, the next write does too
      this.#inOrder(() => this.#frames.alive()).catch(() => {})
    }, ALIVE_EVERY_MS)
  }

  async header(header: DumpHeader): Promise<void> {
    await this.#inOrder(() => this.#frames.json(FRAME.dump, header))
    await this.#inOrder(() => this.#frames.flush()) // it says when the snapshot was about to be taken
  }

  async part(name: string): Promise<void> {
    await this.endPart()
    await this.#inOrder(() => this.#frames.json(FRAME.part, { name }))
    this.#packing = new Packing(bytes => this.#inOrder(() => this.#frames.bytes(FRAME.dumped, bytes)))
  }

  async bytes(chunk: Buffer): Promise<void> {
    if (!this.#packing) throw new Error('assertion failed: bytes of no part')
    await this.#packing.write(chunk)
  }

  async endPart(): Promise<void> {
    const packing = this.#packing
    this.#packing = undefined
    await packing?.end()
  }

  failed(error: { readonly code: string; readonly message: string }): Promise<void> {
    this.#packing?.drop()
    this.#packing = undefined
    return this.#inOrder(() => this.#frames.json(FRAME.failed, error))
  }

  async end(): Promise<void> {
    clearInterval(this.#alive)
    await this.#inOrder(() => this.#frames.end(false))
    await this.#inOrder(() => this.#frames.flush())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#alive)
    this.#packing?.drop()
    await this.#last.catch(() => {})
  }

  /** A writer of frames serves one at a time. */
  #inOrder(write: () => void | Promise<void>): Promise<void> {
    return (this.#last = this.#last.then(write))
  }
}

/** One part on its way through zstd, in blocks that are used again when it has read them. */
class Packing {
  readonly #zstd = createZstdCompress(PACKING)
  readonly #drained: Promise<void>
  readonly #free = Array.from({ length: BLOCKS }, () => Buffer.allocUnsafeSlow(BLOCK_BYTES))
  #block: Buffer<ArrayBuffer> | undefined
  #filled = 0
  #wake: (() => void) | undefined

  constructor(private readonly packed: (bytes: Buffer) => Promise<void>) {
    this.#drained = this.#drain()
    this.#drained.catch(error => this.#zstd.destroy(error as Error))
    this.#zstd.once('close', () => this.#wake?.())
  }

  /** Resolves when `chunk` may be used again. */
  async write(chunk: Buffer): Promise<void> {
    for (let at = 0; at < chunk.byteLength;) {
      this.#block ??= await this.#freeBlock()
      const copied = chunk.copy(this.#block, this.#filled, at)
      at += copied
      this.#filled += copied
      if (this.#filled === BLOCK_BYTES) this.#pass()
    }
  }

  async end(): Promise<void> {
    this.#pass()
    this.#zstd.end()
    await this.#drained
  }

  drop(): void {
    this.#zstd.destroy()
    this.#drained.catch(() => {})
  }

  async #freeBlock(): Promise<Buffer<ArrayBuffer>> {
    for (;;) {
      if (this.#zstd.destroyed) await this.#drained
      if (this.#zstd.destroyed) throw new Error('the part is not wanted any more')
      const block = this.#free.pop()
      if (block) return block
      await new Promise<void>(resolve => (this.#wake = resolve))
    }
  }

  /** zstd reads it on another thread: it is free again when that has. */
  #pass(): void {
    const block = this.#block
    if (!block) return
    this.#zstd.write(block.subarray(0, this.#filled), () => {
      this.#free.push(block)
      this.#wake?.()
    })
    this.#block = undefined
    this.#filled = 0
  }

  async #drain(): Promise<void> {
    for await (const chunk of this.#zstd as AsyncIterable<Buffer>) {
      for (let at = 0; at < chunk.byteLength; at += DUMPED_BYTES_MAX) {
        await this.packed(chunk.subarray(at, at + DUMPED_BYTES_MAX))
      }
    }
  }
}
