/** How an answer of the primary is read: its bytes as they come, its frames, and whether it comes fast enough to be waited for. */

import { BackupError, isAbort, reason } from '../../shared/errors.js'
import { ChunkReader } from '../../shared/wire/chunks.js'
import { FrameReader } from '../../shared/wire/frames.js'
import type { Readable } from 'node:stream'
import type { Frame } from '../../shared/wire/frames.js'
import type { LineWait } from './line-wait.js'

/** Without a byte for so long the primary is gone. */
export const SILENCE_MS_MAX = 60_000
/** So much, or a whole frame, must come of an answer in that time: less is as good as silence, and would take for ever. */
const PACE_BYTES_MIN = 64 * 1024
/** Of an answer: as long as no more has come, waiting for the rest is waiting for the primary's disk and the line's length. */
const BEGINNING_BYTES = 64 * 1024

export interface Node {
  readonly origin: string
  /** Path prefix of the URL, for a reverse proxy; without a slash at the end. */
  readonly prefix: string
}

/** Of one answer: the frames that are whole with what was received last. */
export function frameReader(): (received: Buffer) => Iterable<Frame> {
  const [chunks, frames] = [new ChunkReader(), new FrameReader()]
  return function* (received) {
    for (const part of chunks.push(received)) yield* frames.push(part)
  }
}

/** How an answer comes on. Counted is the time that we wait for it, not what we need to work on what came. */
export class Pace {
  #waitedMs = 0
  #bytes = 0
  #bytesOfAll = 0
  /** performance.now() when the first bytes came. */
  firstAt = 0

  constructor(
    private readonly node: Node,
    private readonly wait?: LineWait,
  ) {}

  /** Before the next bytes are waited for. */
  begin(): Disposable | undefined {
    return this.#bytesOfAll < BEGINNING_BYTES ? this.wait?.begin() : undefined
  }

  /** Throws PRIMARY_UNREACHABLE for an answer that comes too slowly to be worth waiting for. */
  waited(ms: number, bytes: number): void {
    if (this.#bytesOfAll === 0) this.firstAt = performance.now()
    this.#bytesOfAll += bytes
    this.#waitedMs += ms
    this.#bytes += bytes
    if (this.#bytes >= PACE_BYTES_MIN) return this.progressed()
    if (this.#waitedMs < SILENCE_MS_MAX) return
    throw new BackupError(
      'PRIMARY_UNREACHABLE',
      `ask ${this.node.origin} (primary_url): it answers too slowly, ${this.#bytes} bytes in ${Math.round(this.#waitedMs / 1000)} s`,
    )
  }

  progressed(): void {
    this.#waitedMs = 0
    this.#bytes = 0
  }
}

export async function* chunksOf(
  node: Node,
  answer: Readable,
  pace: Pace,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  const body = answer[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  try {
    for (;;) {
      let next: IteratorResult<Buffer>
      const from = performance.now()
      try {
        using _waiting = pace.begin()
        next = await body.next()
      } catch (error) {
        throw unreachable(node, error, signal)
      }
      if (next.done) return
      pace.waited(performance.now() - from, next.value.byteLength)
      yield next.value
    }
  } finally {
    answer.destroy() // whoever stops early hangs up: the primary stops reading for us
  }
}

export function unreachable(node: Node, error: unknown, signal: AbortSignal | undefined): Error {
  if (signal?.aborted) return signal.reason as Error
  if (isAbort(error)) return error as Error
  return new BackupError(
    'PRIMARY_UNREACHABLE',
    `ask ${node.origin} (primary_url): ${reason(error)}`,
    {},
    { cause: error },
  )
}
