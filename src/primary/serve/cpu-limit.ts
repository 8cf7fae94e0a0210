/**
 * CPU time of the whole agent while it answers (`max_cpu`): streams wait until what the process has used is earned.
 *
 * What is spent is not guessed but measured, over all threads, so that changes, listings and heartbeats count too. They
 * themselves never wait, nor does the beginning of an answer for long: a small change is small work, however much a large
 * copy has used. What streams have read ahead is bounded by their credits, so that holding them back holds the readers.
 */

import { limit } from '../../shared/limit.js'
import { sleep } from '../../shared/timing.js'

/** Of wall time: what an agent that did nothing may use at once. */
const BUCKET_MS = 200
/** Of wall time: what was used beyond that in one go (a listing of 100,000 libraries) is forgiven. */
const DEBT_MS_MAX = 10_000
/** No piece waits longer, or the backup would give us up where other work alone uses all that is allowed. */
const WAIT_MS_MAX = 10_000
/** The beginning of an answer, which is all there is of a small one, waits for nobody else, and so long at most. */
const BEGINNING_BYTES = 256 * 1024
const BEGINNING_WAIT_MS_MAX = 1_000

export interface CpuClock {
  /** Milliseconds that passed, from any beginning. */
  now(): number
  /** Milliseconds of CPU time that all threads of this process have used, from any beginning. */
  used(): number
  sleep(ms: number, signal: AbortSignal): Promise<void>
}

const PROCESS: CpuClock = {
  now: () => performance.now(),
  used() {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1000
  },
  sleep,
}

export class CpuLimit {
  /** Milliseconds of CPU that may be used now; below 0: debt. */
  #free: number
  #at: number
  #used: number
  readonly #share: number
  readonly #inTurn = limit(1)

  /** `percent` of one core; 0: no limit. */
  constructor(
    percent: number,
    private readonly clock: CpuClock = PROCESS,
  ) {
    this.#share = percent / 100
    this.#free = BUCKET_MS * this.#share
    this.#at = clock.now()
    this.#used = clock.used()
  }

  get isLimited(): boolean {
    return this.#share > 0
  }

  /**
   * Resolves when the next piece of an answer may be sent of which `sentBytes` have gone. Those beyond the beginning are
   * served in the order in which they came. Rejects with `AbortError` when `signal` is aborted, at its turn at the latest.
   */
  async take(sentBytes: number, signal: AbortSignal): Promise<void> {
    if (this.#share === 0) return
    const now = this.clock.now()
    if (sentBytes < BEGINNING_BYTES) await this.#earned(now + BEGINNING_WAIT_MS_MAX, signal)
    else await this.#inTurn(() => this.#earned(now + WAIT_MS_MAX, signal))
  }

  async #earned(until: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted()
      this.#settle()
      const wait = Math.min(-this.#free / this.#share, until - this.#at)
      if (wait <= 0) return
      await this.clock.sleep(Math.ceil(wait), signal)
    }
  }

  #settle(): void {
    const [now, used] = [this.clock.now(), this.clock.used()]
    const free = this.#free + (now - this.#at) * this.#share - (used - this.#used)
    this.#free = Math.max(-DEBT_MS_MAX * this.#share, Math.min(BUCKET_MS * this.#share, free))
    this.#at = now
    this.#used = used
  }
}
