/** One thread that reads objects, and what it has been doing: measured from outside, also while it waits in a read. */

import { Worker } from 'node:worker_threads'
import { threadTimes } from './thread-times.js'
import type { EventLoopUtilization } from 'node:perf_hooks'
import type { FromWorker, ToWorker } from './delta-pool.js'
import type { ThreadLoad, ThreadTimes } from './reader-count.js'

export interface ReaderEvents {
  message(message: Exclude<FromWorker, { type: 'thread' }>, thread: ReaderThread): void
  /** It ended without having been told to, or threw. */
  death(error: unknown): void
}

export class ReaderThread {
  readonly #worker: Worker
  #ended: Promise<unknown> | undefined
  #jobs = 0
  #idleSince = performance.now()
  /** The kernel's; the thread says it first of all. */
  #id: number | undefined
  #seen: { readonly at: number; readonly loop: EventLoopUtilization; readonly times: ThreadTimes | undefined }

  constructor(dataDir: string, events: ReaderEvents) {
    this.#worker = new Worker(new URL('./delta-worker.js', import.meta.url), { workerData: { dataDir } })
    this.#seen = this.#look()
    this.#worker.on('message', (message: FromWorker) => {
      if (message.type === 'thread') this.#id = message.id
      else events.message(message, this)
    })
    this.#worker.on('error', error => events.death(error))
    this.#worker.on('exit', () => {
      if (!this.#ended) events.death(new Error('a reader thread ended'))
    })
  }

  get jobs(): number {
    return this.#jobs
  }

  say(message: ToWorker, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer)
  }

  begin(): void {
    this.#jobs += 1
  }

  done(): void {
    this.#jobs -= 1
    this.#idleSince = performance.now()
  }

  /** Since the last call. */
  load(): ThreadLoad {
    const [before, now] = [this.#seen, this.#look()]
    this.#seen = now
    const [first, last] = [before.times, now.times]
    return {
      jobs: this.#jobs,
      idleMs: this.#jobs > 0 ? 0 : now.at - this.#idleSince,
      wallMs: now.at - before.at,
      busyMs: now.loop.active - before.loop.active,
      times: first &&
        last && {
          cpuMs: last.cpuMs - first.cpuMs,
          queuedMs: last.queuedMs - first.queuedMs,
          turns: last.turns - first.turns,
        },
    }
  }

  /** Resolves when it has ended, whatever it was doing. */
  end(): Promise<unknown> {
    return (this.#ended ??= this.#worker.terminate())
  }

  #look() {
    return {
      at: performance.now(),
      loop: this.#worker.performance.eventLoopUtilization(),
      times: this.#id === undefined ? undefined : threadTimes(this.#id),
    }
  }
}
