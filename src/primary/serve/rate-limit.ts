/** Bytes a second, over all answers together (`max_rate`). A bucket of a tenth of a second: short bursts, exact in the long run. */

import { sleep } from '../../shared/timing.js'

const BUCKET_SECONDS = 0.1

export class RateLimit {
  #free: number
  #at: number

  /** 0: no limit. */
  constructor(
    private readonly bytesPerSecond: number,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.#free = bytesPerSecond * BUCKET_SECONDS
    this.#at = now()
  }

  /** Resolves when `bytes` may be sent. Debt is allowed, so that one chunk larger than the bucket passes; the next one pays. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    if (this.bytesPerSecond === 0) return
    const now = this.now()
    const earned = ((now - this.#at) / 1000) * this.bytesPerSecond
    this.#free = Math.min(this.bytesPerSecond * BUCKET_SECONDS, this.#free + earned) - bytes
    this.#at = now
    if (this.#free < 0) await sleep((-this.#free / this.bytesPerSecond) * 1000, signal)
  }
}
