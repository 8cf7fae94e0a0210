import { WaitingLine } from './waiting-line.js'

/** Runs at most `max` tasks at once; the rest wait in order of arrival. Whoever waits and is aborted stops waiting at once. */
export function limit(max: number): <T>(task: () => Promise<T>, signal?: AbortSignal) => Promise<T> {
  if (!Number.isInteger(max) || max < 1) throw new RangeError(`limit must be 1 or more, got ${max}`)
  const waiting = new WaitingLine<void>()
  let running = 0

  return async (task, signal) => {
    signal?.throwIfAborted()
    if (running < max) running += 1
    else await waiting.join(signal)
    try {
      return await task()
    } finally {
      if (!waiting.give()) running -= 1 // else the place is handed over
    }
  }
}
