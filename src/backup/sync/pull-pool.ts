/**
 * Pulls, run in threads. Rows and state stay here: a thread asks before it stores its first object.
 */

import { Worker } from 'node:worker_threads'
import { BackupError } from '../../shared/errors.js'
import { processSyncs } from '../../shared/store/filesystem-sync.js'
import { PullPlaces, isHeavy } from './concurrency.js'
import { syncFor } from './thread-syncs.js'
import type { ErrorCode } from '../../shared/errors.js'
import type { RepoId } from '../../shared/ids.js'
import type { SyncProgress } from '../../shared/wire/control-messages.js'
import type { LibraryFrame } from '../../shared/wire/sync-messages.js'
import type { PullTimes } from './concurrency.js'
import type { Hole } from './damage.js'
import type { PrimaryAddress } from './primary-client.js'
import type { OwnCopy } from './own-copy.js'
import type { PullEvents, PullJob, PullResult, Vouched } from './pull.js'
import type { AskSync, SyncAnswer } from './thread-syncs.js'

export interface PullerData {
  readonly dataDir: string
  readonly stateDir: string
  readonly primary: PrimaryAddress
  readonly threads: number
}

export type ToPuller =
  | { readonly type: 'start'; readonly id: number; readonly job: PullJob }
  /** Objects may be stored; with a store id, for a library that uses that one, whether it has asked yet or not. */
  | { readonly type: 'go'; readonly id: number; readonly storeId: RepoId | null }
  | { readonly type: 'abort'; readonly id: number }
  | { readonly type: 'look'; readonly id: number; readonly copies: readonly OwnCopy[] }
  | SyncAnswer

export type FromPuller =
  | AskSync
  | { readonly type: 'library'; readonly id: number; readonly frame: LibraryFrame }
  | { readonly type: 'checkpoint'; readonly id: number; readonly vouched: Vouched; readonly holes: readonly Hole[] }
  | { readonly type: 'progress'; readonly id: number; readonly progress: SyncProgress }
  | { readonly type: 'done'; readonly id: number; readonly result: PullResult; readonly times: PullTimes }
  | { readonly type: 'aborted'; readonly id: number }
  /** Indices of the copies that are not here. */
  | { readonly type: 'looked'; readonly id: number; readonly gone: readonly number[] }
  | {
      readonly type: 'failed'
      readonly id: number
      readonly code: ErrorCode
      readonly message: string
      readonly stack: string | undefined
    }

export interface PoolEvents extends PullEvents {
  /** Where objects may be stored without asking, once that is known; null: nowhere. What it rejects with, `library` does too. */
  readonly mayStore: Promise<RepoId | null>
}

interface Running {
  readonly events: PullEvents
  readonly worker: Worker
  isHeavy: boolean
  /** Why the main thread ended it. */
  refusal?: unknown
  resolve(result: PullResult): void
  reject(error: unknown): void
}

export class PullPool implements AsyncDisposable {
  readonly #workers = new Map<Worker, number>()
  readonly #running = new Map<number, Running>()
  readonly #looking = new Map<number, { resolve: (gone: readonly number[]) => void; reject: (error: Error) => void }>()
  /** How many pulls at once, as those before have shown. */
  readonly places: PullPlaces
  #nextId = 1
  #stopping = false

  constructor(options: PullerData & { onDeath: (error: unknown) => void }) {
    const { onDeath, ...data } = options
    this.places = new PullPlaces(data.threads, () => [...this.#running.values()].filter(pull => pull.isHeavy).length)
    for (let i = 0; i < data.threads; i++) {
      const worker = new Worker(new URL('./pull-worker.js', import.meta.url), { workerData: data })
      worker.on('message', (message: FromPuller) => this.#receive(message, worker))
      worker.on('error', onDeath)
      worker.on('exit', () => {
        if (!this.#stopping) onDeath(new Error('a puller thread ended'))
      })
      this.#workers.set(worker, 0)
    }
  }

  /** Rejects with what went wrong, or with AbortError; nothing of the pull runs on then. */
  async pull(job: PullJob, events: PoolEvents, signal: AbortSignal): Promise<PullResult> {
    signal.throwIfAborted()
    const id = this.#nextId++
    const worker = this.#leastBusy()
    this.#workers.set(worker, (this.#workers.get(worker) ?? 0) + 1)
    const say = (message: ToPuller) => worker.postMessage(message)
    const abort = () => say({ type: 'abort', id })
    signal.addEventListener('abort', abort, { once: true })
    try {
      return await new Promise<PullResult>((resolve, reject) => {
        this.#running.set(id, { events, worker, isHeavy: false, resolve, reject })
        say({ type: 'start', id, job })
        const go = (storeId: RepoId | null) => storeId !== null && say({ type: 'go', id, storeId })
        void events.mayStore.then(go, () => {})
      })
    } finally {
      signal.removeEventListener('abort', abort)
      this.#running.delete(id)
      this.#workers.set(worker, (this.#workers.get(worker) ?? 1) - 1)
    }
  }

  /** Indices of the copies that are not here (own-copy.ts). */
  look(copies: readonly OwnCopy[]): Promise<readonly number[]> {
    const id = this.#nextId++
    const worker = this.#leastBusy()
    return new Promise<readonly number[]>((resolve, reject) => {
      this.#looking.set(id, { resolve, reject })
      worker.postMessage({ type: 'look', id, copies } satisfies ToPuller)
    }).finally(() => this.#looking.delete(id))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true
    await Promise.all([...this.#workers.keys()].map(worker => worker.terminate()))
    const stopping = new BackupError('STOPPING', 'the daemon is stopping')
    for (const { reject } of [...this.#running.values(), ...this.#looking.values()]) reject(stopping)
  }

  #leastBusy(): Worker {
    const [first] = [...this.#workers].sort((a, b) => a[1] - b[1])
    if (!first) throw new Error('assertion failed: a pool without threads')
    return first[0]
  }

  #receive(message: FromPuller, worker: Worker): void {
    if (message.type === 'sync')
      return void syncFor(worker, message, { syncs: processSyncs, all: this.#workers.keys() })
    if (message.type === 'looked') return this.#looking.get(message.id)?.resolve(message.gone)
    const running = this.#running.get(message.id)
    if (!running) return
    switch (message.type) {
      case 'library': {
        const go = () => running.worker.postMessage({ type: 'go', id: message.id, storeId: null } satisfies ToPuller)
        void running.events.library(message.frame).then(go, (error: unknown) => refuse(message.id, running, error))
        return
      }
      case 'checkpoint':
        try {
          running.events.checkpoint(message.vouched, message.holes)
        } catch (error) {
          refuse(message.id, running, error) // a state that cannot be written ends this pull, not the daemon
        }
        return
      case 'progress':
        running.isHeavy = isHeavy(message.progress)
        return running.events.progress(message.progress)
      case 'done':
        // one that came with its event asked nobody, and tells nothing of how long an answer takes
        if (message.times.waitedMs > 0) this.places.pulled(message.times)
        return running.resolve(message.result)
      case 'aborted':
        return running.reject(running.refusal ?? new DOMException('the pull was aborted', 'AbortError'))
      case 'failed': {
        const error = new BackupError(message.code, message.message)
        if (message.stack) error.stack = message.stack
        running.reject(error)
      }
    }
  }
}

/** Told to who asked once the thread has let go. */
function refuse(id: number, running: Running, error: unknown): void {
  running.refusal ??= error
  running.worker.postMessage({ type: 'abort', id } satisfies ToPuller)
}
