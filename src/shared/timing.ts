/**
 * Waiting: for a time, for a wake-up, for the next attempt.
 *
 * Every wait takes a signal and rejects with `AbortError` once it is aborted.
 * Randomness is handed in, so that tests need none.
 */

import { setTimeout as delay } from 'node:timers/promises'

export const sleep = (ms: number, signal: AbortSignal): Promise<void> => delay(ms, undefined, { signal })

/** Doubles from `first` up to `max`, then takes a random half off, so that peers do not come back in step. */
export function backoffMs(
  attempt: number,
  { first, max }: { first: number; max: number },
  random = Math.random,
): number {
  const full = Math.min(max, first * 2 ** Math.min(attempt, 30))
  return Math.round(full / 2 + (full / 2) * random())
}

/** A wake-up that is not lost when nobody waits yet: rings are remembered until the next wait. */
export class Bell {
  #rung = false
  #wake: (() => void) | undefined

  ring(): void {
    this.#rung = true
    this.#wake?.()
  }

  /** Resolves to true when rung, false after `ms`. One waiter at a time. */
  async wait(ms: number, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted()
    if (!this.#rung) await this.#rest(Math.min(ms, TIMER_MS_MAX), signal)
    const rung = this.#rung
    this.#rung = false
    return rung
  }

  #rest(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', stop)
        this.#wake = undefined
      }
      const wake = () => (end(), resolve())
      const stop = () => (end(), reject(new DOMException('the wait was aborted', 'AbortError')))
      const timer = setTimeout(wake, ms)
      signal.addEventListener('abort', stop, { once: true })
      this.#wake = wake
    })
  }
}

/** What setTimeout can count: longer waits would fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1
