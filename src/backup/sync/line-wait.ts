/**
 * How long one pull waited for the beginnings of the primary's answers, apart from its turn in a busy thread.
 *
 * An answer that is here and not read yet, because other pulls have the thread,
 * looks like one that is late. So the thread's idle time is looked at: if it
 * was idle for a small part of a wait there was room for more, and all of the
 * wait counts; if it never was, more pulls would only wait longer, and none of it does.
 */

import { performance } from 'node:perf_hooks'
import type { PullTimes } from './concurrency.js'

/** A thread that was idle for less than this part of a wait is busy enough. */
const IDLE_PART = 1 / 10

/** Milliseconds: time, and for how much of it this thread had nothing to do. */
export interface Clock {
  now(): number
  idle(): number
}

const THREAD: Clock = {
  now: () => performance.now(),
  idle: () => performance.eventLoopUtilization().idle,
}

export class LineWait {
  readonly #startedAt: number
  /** Answers of which the beginning has not come. */
  #open = 0
  #since = { now: 0, idle: 0 }
  #waitedMs = 0
  #idleMs = 0

  constructor(private readonly clock: Clock = THREAD) {
    this.#startedAt = clock.now()
  }

  /** One wait, until what is returned is disposed. Of waits at the same time each millisecond counts once. */
  begin(): Disposable {
    if (this.#open++ === 0) this.#since = { now: this.clock.now(), idle: this.clock.idle() }
    return { [Symbol.dispose]: () => this.#end() }
  }

  /** Until now. */
  get times(): PullTimes {
    const waitedMs = Math.min(this.#waitedMs, this.#idleMs / IDLE_PART)
    return { waitedMs, workedMs: this.clock.now() - this.#startedAt - this.#waitedMs }
  }

  #end(): void {
    if (--this.#open > 0) return
    this.#waitedMs += this.clock.now() - this.#since.now
    this.#idleMs += this.clock.idle() - this.#since.idle
  }
}
