/**
 * The threads that read objects, and which of them serves the next job.
 *
 * A job stays with its thread. So one that finds all of them at work waits until one is free or, for a quarter of a
 * second at most, until it is known whether they do nothing but wait for the disk (reader-count.ts): if so it gets a thread
 * of its own, else it shares the one with the fewest jobs, as do all that come while this is known.
 */

import { BackupError } from '../../shared/errors.js'
import { WaitingLine } from '../../shared/waiting-line.js'
import { ReaderThread } from './reader-thread.js'
import type { Log } from '../../shared/log.js'
import type { ReaderDecision } from './reader-count.js'
import type { ReaderEvents } from './reader-thread.js'

/** Long enough to tell waiting from working; a small change may have to wait for it. */
const LOOK_EVERY_MS = 250

export interface ReaderThreadsOptions {
  readonly dataDir: string
  /** So many there always are. */
  readonly least: number
  readonly decision: ReaderDecision
  readonly events: ReaderEvents
  readonly log: Log
  readonly lookEveryMs?: number
}

export class ReaderThreads implements AsyncDisposable {
  /** The oldest first; those that are being ended are not among them. */
  readonly #threads: ReaderThread[] = []
  readonly #ending = new Set<Promise<unknown>>()
  readonly #waiting = new WaitingLine<ReaderThread>()
  readonly #timer: NodeJS.Timeout
  readonly #stopped = new AbortController()
  /** All were at work when last looked at, and more would have been of no use. */
  #enough = false

  constructor(private readonly options: ReaderThreadsOptions) {
    for (let i = 0; i < options.least; i++) this.#start()
    this.#timer = setInterval(() => this.#look(), options.lookEveryMs ?? LOOK_EVERY_MS)
  }

  get count(): number {
    return this.#threads.length
  }

  /** A thread for one job, to be given back with `release`. Rejects when `signal` is aborted or all is stopped. */
  take(signal: AbortSignal): Promise<ReaderThread> {
    for (const over of [signal, this.#stopped.signal]) over.throwIfAborted()
    const thread = this.#leastBusy()
    if (thread.jobs === 0 || this.#enough) return Promise.resolve(begun(thread))
    if (this.#waiting.length === 0) this.#lookAfresh()
    return this.#waiting.join(AbortSignal.any([signal, this.#stopped.signal]))
  }

  release(thread: ReaderThread): void {
    thread.done()
    if (thread.jobs === 0 && this.#threads.includes(thread)) this.#giveNext(thread)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer)
    this.#stopped.abort(new BackupError('STOPPING', 'the agent is stopping'))
    await Promise.all([...this.#threads.map(thread => thread.end()), ...this.#ending])
  }

  #giveNext(thread: ReaderThread): void {
    if (this.#waiting.length > 0) this.#waiting.give(begun(thread))
  }

  /** What they did before there was more to do than threads says nothing. */
  #lookAfresh(): void {
    for (const thread of this.#threads) thread.load()
    this.#timer.refresh()
  }

  /** At most twice as many as before, or one less: what that changes is seen at the next look. */
  #look(): void {
    const { decision, log } = this.options
    const loads = this.#threads.map(thread => thread.load())
    const before = this.#threads.length
    const wantsMore = decision.wantsMore(loads) && before < decision.most
    if (wantsMore) this.#startFor(Math.min(before, decision.most - before))
    else while (this.#waiting.length > 0) this.#giveNext(this.#leastBusy())
    this.#enough = !wantsMore && loads.every(({ jobs }) => jobs > 0)
    if (this.#threads.length === before) this.#endSpare(decision.spare(loads))
    if (this.#threads.length !== before) log.debug({ threads: this.#threads.length }, 'reader threads')
  }

  #startFor(jobsMax: number): void {
    for (let n = 0; n < jobsMax && this.#waiting.length > 0; n++) this.#giveNext(this.#start())
  }

  #start(): ReaderThread {
    const thread = new ReaderThread(this.options.dataDir, this.options.events)
    this.#threads.push(thread)
    return thread
  }

  #endSpare(index: number | undefined): void {
    const [thread] = index === undefined ? [] : this.#threads.splice(index, 1)
    if (!thread) return
    const ending = thread.end().finally(() => this.#ending.delete(ending))
    this.#ending.add(ending)
  }

  /** Of those with as few jobs, the oldest: so that the others come to rest when there is less to do. */
  #leastBusy(): ReaderThread {
    const [first, ...others] = this.#threads
    if (!first) throw new Error('assertion failed: no threads')
    return others.reduce((least, thread) => (thread.jobs < least.jobs ? thread : least), first)
  }
}

function begun(thread: ReaderThread): ReaderThread {
  thread.begin()
  return thread
}
