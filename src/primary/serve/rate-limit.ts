/** Bytes a second, over all answers together (`max_rate`). A bucket of a tenth of a second: short bursts, exact in the long run. */

import { sleep } from '../../shared/timing.js'

const BUCKET_SECONDS = 0.1
const PIECE_BYTES = 16 * 1024

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

  /**
   * What is paid for at once. A large block is paid for in parts, or whoever waits for it, and for those before it,
   * would hear nothing for so long that it gives us up.
   */
  *pieces(chunk: Uint8Array): Iterable<Uint8Array> {
    const most = this.bytesPerSecond === 0 ? chunk.byteLength : PIECE_BYTES
    for (let at = 0; at < chunk.byteLength; at += most) yield chunk.subarray(at, at + most)
  }

  /** Whether something may be sent without waiting. */
  get isOpen(): boolean {
    if (this.bytesPerSecond === 0) return true
    this.#charge(0)
    return this.#free > 0
  }

  /** What was sent without waiting: others wait for it. */
  spend(bytes: number): void {
    if (this.bytesPerSecond > 0) this.#charge(bytes)
  }

  /** Resolves when `bytes` may be sent. Debt is allowed, so that one chunk larger than the bucket passes; the next one pays. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    if (this.bytesPerSecond === 0) return
    this.#charge(bytes)
    if (this.#free < 0) await sleep((-this.#free / this.bytesPerSecond) * 1000, signal)
  }

  #charge(bytes: number): void {
    const now = this.now()
    const earned = ((now - this.#at) / 1000) * this.bytesPerSecond
    this.#free = Math.min(this.bytesPerSecond * BUCKET_SECONDS, this.#free + earned) - bytes
    this.#at = now
  }
}
