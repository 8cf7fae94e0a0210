/** Runs at most `max` tasks at once; the rest wait in order of arrival. Whoever waits and is aborted stops waiting at once. */
export function limit(max: number): <T>(task: () => Promise<T>, signal?: AbortSignal) => Promise<T> {
  if (!Number.isInteger(max) || max < 1) throw new RangeError(`limit must be 1 or more, got ${max}`)
  const waiting: Array<() => void> = []
  let running = 0

  const turn = (signal: AbortSignal | undefined): Promise<void> =>
    new Promise((resolve, reject) => {
      const begin = () => {
        signal?.removeEventListener('abort', stop)
        resolve()
      }
      const stop = () => {
        waiting.splice(waiting.indexOf(begin), 1)
        reject(signal?.reason as Error)
      }
      waiting.push(begin)
      signal?.addEventListener('abort', stop, { once: true })
    })

  return async (task, signal) => {
    signal?.throwIfAborted()
    if (running < max) running += 1
    else await turn(signal)
    try {
      return await task()
    } finally {
      const next = waiting.shift()
      if (next)
        next() // hands its place over, so `running` stays as it is
      else running -= 1
    }
  }
}
