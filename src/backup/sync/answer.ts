/** How an answer of the primary is read: its bytes as they come, its frames, and whether it comes fast enough to be waited for. */

import { BackupError, isAbort, reason } from '../../shared/errors.js'
import { ChunkReader } from '../../shared/wire/chunks.js'
import { FrameReader } from '../../shared/wire/frames.js'
import type { Dispatcher } from 'undici'
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
  const [chunks, frames] = [new ChunkReader(), new FrameReader(true)]
  return function* (received) {
    for (const part of chunks.push(received)) {
      if (chunks.arePacked) frames.keepMemory() // of what was received something may wait here to be unpacked
      yield* frames.push(part)
    }
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

/** Received and not taken yet, before the socket is left alone. */
const UNTAKEN_BYTES_MAX = 128 * 1024

export interface AnswerHead {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

/**
 * One answer, as the connection gives it: its head, then its bytes in the memory that the socket was read into. Streams
 * of Node would join what came meanwhile, which copied half of all bytes once more.
 */
export class Answer implements Dispatcher.DispatchHandler {
  #controller: Dispatcher.DispatchController | undefined
  readonly #head = Promise.withResolvers<AnswerHead>()
  readonly #signal: AbortSignal
  readonly #abort = (): void => {
    const why = this.#signal.reason as Error
    this.#controller?.abort(why)
    this.onResponseError(undefined, why) // one that has no connection yet is not told of it
  }
  #received: Buffer[] = []
  #untaken = 0
  #over: { readonly error: unknown } | undefined
  #wake: (() => void) | undefined

  constructor(
    private readonly node: Node,
    signal: AbortSignal,
  ) {
    this.#signal = signal
    this.#head.promise.catch(() => {}) // who asks for it hears of it
    signal.addEventListener('abort', this.#abort, { once: true })
    if (signal.aborted) this.#abort()
  }

  /** @throws BackupError PRIMARY_UNREACHABLE; what the signal was aborted with */
  async head(): Promise<AnswerHead> {
    try {
      return await this.#head.promise
    } catch (error) {
      throw unreachable(this.node, error, this.#signal)
    }
  }

  /** Bytes as they came; each part is good until the next one is asked for. @throws as `head` */
  async *parts(pace: Pace): AsyncGenerator<Buffer> {
    try {
      for (;;) {
        const from = performance.now()
        if (this.#received.length === 0 && !this.#over) {
          using _waiting = pace.begin()
          await new Promise<void>(resolve => (this.#wake = resolve))
        }
        if (this.#signal.aborted) throw this.#signal.reason
        const part = this.#received.shift()
        if (!part) {
          if (this.#over?.error !== undefined) throw unreachable(this.node, this.#over.error, this.#signal)
          return
        }
        this.#untaken -= part.byteLength
        pace.waited(performance.now() - from, part.byteLength)
        yield part
        if (this.#received.length === 0) this.#controller?.resume()
      }
    } finally {
      this.hangUp() // whoever stops early hangs up: the primary stops reading for us
    }
  }

  hangUp(): void {
    this.#signal.removeEventListener('abort', this.#abort)
    if (!this.#over) this.#controller?.abort(new Error('nobody listens any more'))
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#signal.aborted) this.#abort()
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: AnswerHead['headers']): void {
    if (status >= 200) this.#head.resolve({ status, headers })
  }

  onResponseData(controller: Dispatcher.DispatchController, part: Buffer): void {
    this.#received.push(part)
    this.#untaken += part.byteLength
    if (this.#untaken >= UNTAKEN_BYTES_MAX) controller.pause()
    this.#wake?.()
  }

  onResponseEnd(): void {
    this.#end(undefined)
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    this.#head.reject(error)
    this.#end(error)
  }

  #end(error: unknown): void {
    this.#signal.removeEventListener('abort', this.#abort)
    this.#over ??= { error }
    this.#wake?.()
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
