/**
 * Streams of frames, made in worker threads and read here chunk by chunk.
 *
 * A reader that is slow holds its job back (credits), a reader that goes away
 * ends it. The number of jobs at once is bounded; more of them wait. Which thread
 * serves a job, and how many there are: reader-threads.ts.
 */

import { BackupError } from '../../shared/errors.js'
import { limit } from '../../shared/limit.js'
import { ReaderCount } from './reader-count.js'
import { ReaderThreads } from './reader-threads.js'
import type { Log } from '../../shared/log.js'
import type { ProvenRequest } from '../../shared/wire/auth.js'
import type { LibraryFrame } from '../../shared/wire/sync-messages.js'
import type { DeltaJob, ObjectsJob } from './delta.js'
import type { ReaderDecision } from './reader-count.js'
import type { ReaderThread } from './reader-thread.js'

/** What one answer is made of, in this order. */
export interface WorkerJob {
  /** Of the request: what the stream's MAC is made with. */
  readonly proof: Pick<ProvenRequest, 'key' | 'nonce'>
  /** Chunks may be packed where that pays (packing.ts). */
  readonly mayPack: boolean
  readonly library?: LibraryFrame
  readonly delta?: DeltaJob
  readonly objects?: ObjectsJob
}

export type ToWorker =
  | { readonly type: 'start'; readonly job: number; readonly work: WorkerJob }
  | { readonly type: 'credit'; readonly job: number; readonly bytes: number; readonly memory: ArrayBuffer }
  | { readonly type: 'abort'; readonly job: number }
  | { readonly type: 'changed'; readonly job: number; readonly changed: boolean }

export type FromWorker =
  | { readonly type: 'thread'; readonly id: number | undefined }
  | { readonly type: 'chunk'; readonly job: number; readonly chunk: Uint8Array }
  | { readonly type: 'changed?'; readonly job: number }
  | { readonly type: 'done'; readonly job: number }
  | { readonly type: 'failed'; readonly job: number; readonly message: string }

type FromReader = Exclude<FromWorker, { type: 'thread' }>

/** A backup's workers each hold a few streams; anything beyond waits its turn. */
const JOBS_MAX = 64

interface Listener {
  chunk(chunk: Uint8Array): void
  end(error?: Error): void
  changed(): Promise<boolean>
}

export interface DeltaPoolOptions {
  readonly dataDir: string
  /** As were set: so many there always are. */
  readonly threads: number
  readonly log: Log
  /** A thread threw, or ended of itself: the pool is of no use any more. */
  readonly onDeath: (error: unknown) => void
  /** Default: a `ReaderCount`. */
  readonly decision?: ReaderDecision
  readonly lookEveryMs?: number
}

export class DeltaPool implements AsyncDisposable {
  readonly #readers: ReaderThreads
  readonly #listeners = new Map<number, Listener>()
  readonly #turn = limit(JOBS_MAX)
  #nextJob = 1

  constructor({ threads, onDeath, ...options }: DeltaPoolOptions) {
    this.#readers = new ReaderThreads({
      decision: new ReaderCount(threads),
      ...options,
      least: threads,
      events: { message: (message, thread) => this.#receive(message, thread), death: onDeath },
    })
  }

  /** As many as there are now. */
  get threads(): number {
    return this.#readers.count
  }

  /**
   * Runs one job to its end. `write` takes each chunk and resolves when it has left,
   * so that its memory can be used again. `changed` is asked when something was absent. Rejects when the
   * job failed, `write` rejected or `signal` was aborted; nothing runs on then.
   */
  stream(
    work: WorkerJob,
    write: (chunk: Uint8Array) => Promise<void>,
    changed: () => Promise<boolean>,
    signal: AbortSignal,
  ): Promise<void> {
    return this.#turn(() => this.#run(work, write, changed, signal))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#readers[Symbol.asyncDispose]()
    for (const listener of this.#listeners.values()) listener.end(new BackupError('STOPPING', 'the agent is stopping'))
  }

  async #run(
    work: WorkerJob,
    write: (chunk: Uint8Array) => Promise<void>,
    changed: () => Promise<boolean>,
    signal: AbortSignal,
  ): Promise<void> {
    const thread = await this.#readers.take(signal)
    const job = this.#nextJob++
    const abort = () => thread.say({ type: 'abort', job })
    signal.addEventListener('abort', abort, { once: true })
    let writing = Promise.resolve()
    try {
      signal.throwIfAborted()
      await new Promise<void>((resolve, reject) => {
        const fail = (error: unknown) => {
          abort()
          reject(error instanceof Error ? error : new Error(String(error)))
        }
        this.#listeners.set(job, {
          chunk: chunk => {
            const bytes = chunk.byteLength
            const memory = chunk.buffer as ArrayBuffer
            const give = () => thread.say({ type: 'credit', job, bytes, memory }, [memory])
            writing = writing.then(() => write(chunk)).then(give)
            writing.catch(fail)
          },
          end: error => void writing.then(() => (error ? reject(error) : resolve()), reject),
          changed,
        })
        thread.say({ type: 'start', job, work })
      })
      signal.throwIfAborted()
    } finally {
      signal.removeEventListener('abort', abort)
      this.#listeners.delete(job)
      this.#readers.release(thread)
    }
  }

  #receive(message: FromReader, thread: ReaderThread): void {
    const listener = this.#listeners.get(message.job)
    switch (message.type) {
      case 'chunk':
        return listener?.chunk(message.chunk)
      case 'done':
        return listener?.end()
      case 'failed':
        return listener?.end(new BackupError('INTERNAL', `read objects: ${message.message}`))
      case 'changed?': {
        const answer = (yes: boolean) => thread.say({ type: 'changed', job: message.job, changed: yes })
        // not known is "changed": the backup asks again instead of calling it damage
        void (listener?.changed() ?? Promise.resolve(true)).then(answer, () => answer(true))
      }
    }
  }
}
