/**
 * Streams of frames, made in worker threads and read here chunk by chunk.
 *
 * A reader that is slow holds its job back (credits), a reader that goes away
 * ends it. The number of jobs at once is bounded; more of them wait.
 */

import { Worker } from 'node:worker_threads'
import { BackupError } from '../../shared/errors.js'
import { limit } from '../../shared/limit.js'
import type { ProvenRequest } from '../../shared/wire/auth.js'
import type { LibraryFrame } from '../../shared/wire/sync-messages.js'
import type { DeltaJob, ObjectsJob } from './delta.js'

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
  | { readonly type: 'chunk'; readonly job: number; readonly chunk: Uint8Array }
  | { readonly type: 'changed?'; readonly job: number }
  | { readonly type: 'done'; readonly job: number }
  | { readonly type: 'failed'; readonly job: number; readonly message: string }

/** A backup's workers each hold a few streams; anything beyond waits its turn. */
const JOBS_MAX = 64

interface Listener {
  chunk(chunk: Uint8Array): void
  end(error?: Error): void
  changed(): Promise<boolean>
}

export class DeltaPool implements AsyncDisposable {
  readonly #workers: Worker[] = []
  readonly #listeners = new Map<number, Listener>()
  readonly #turn = limit(JOBS_MAX)
  #nextJob = 1
  #stopping = false

  constructor(options: { dataDir: string; threads: number; onDeath: (error: unknown) => void }) {
    for (let i = 0; i < options.threads; i++) {
      const worker = new Worker(new URL('./delta-worker.js', import.meta.url), {
        workerData: { dataDir: options.dataDir },
      })
      worker.on('message', (message: FromWorker) => this.#receive(message, worker))
      worker.on('error', options.onDeath)
      worker.on('exit', () => {
        if (!this.#stopping) options.onDeath(new Error('a reader thread ended'))
      })
      this.#workers.push(worker)
    }
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
    this.#stopping = true
    await Promise.all(this.#workers.map(worker => worker.terminate()))
    for (const listener of this.#listeners.values()) listener.end(new BackupError('STOPPING', 'the agent is stopping'))
  }

  async #run(
    work: WorkerJob,
    write: (chunk: Uint8Array) => Promise<void>,
    changed: () => Promise<boolean>,
    signal: AbortSignal,
  ): Promise<void> {
    signal.throwIfAborted()
    const job = this.#nextJob++
    const worker = this.#workers[job % this.#workers.length] as Worker
    const say = (message: ToWorker) => worker.postMessage(message)
    const abort = () => say({ type: 'abort', job })
    signal.addEventListener('abort', abort, { once: true })
    let writing = Promise.resolve()
    try {
      await new Promise<void>((resolve, reject) => {
        const fail = (error: unknown) => {
          abort()
          reject(error instanceof Error ? error : new Error(String(error)))
        }
        this.#listeners.set(job, {
          chunk: chunk => {
            const bytes = chunk.byteLength
            const memory = chunk.buffer as ArrayBuffer
            const give = () => worker.postMessage({ type: 'credit', job, bytes, memory } satisfies ToWorker, [memory])
            writing = writing.then(() => write(chunk)).then(give)
            writing.catch(fail)
          },
          end: error => void writing.then(() => (error ? reject(error) : resolve()), reject),
          changed,
        })
        say({ type: 'start', job, work })
      })
      signal.throwIfAborted()
    } finally {
      signal.removeEventListener('abort', abort)
      this.#listeners.delete(job)
    }
  }

  #receive(message: FromWorker, worker: Worker): void {
    const listener = this.#listeners.get(message.job)
    switch (message.type) {
      case 'chunk':
        return listener?.chunk(message.chunk)
      case 'done':
        return listener?.end()
      case 'failed':
        return listener?.end(new BackupError('INTERNAL', `read objects: ${message.message}`))
      case 'changed?': {
        const answer = (yes: boolean) =>
          worker.postMessage({ type: 'changed', job: message.job, changed: yes } satisfies ToWorker)
        // not known is "changed": the backup asks again instead of calling it damage
        void (listener?.changed() ?? Promise.resolve(true)).then(answer, () => answer(true))
      }
    }
  }
}
