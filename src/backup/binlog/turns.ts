/** Reading gigabytes without a pause would hold up everything else: a turn for others now and then. */

import { setImmediate } from 'node:timers/promises'

/** Often enough to be stopped, seldom enough not to count. */
const TURN_BYTES = 8 * 1024 * 1024

export class Turns {
  #bytes = 0

  /** After each piece of so many bytes. Throws what `signal` says. */
  async after(bytes: number, signal: AbortSignal): Promise<void> {
    this.#bytes += bytes
    if (this.#bytes <= TURN_BYTES) return
    this.#bytes = 0
    await setImmediate()
    signal.throwIfAborted()
  }
}
