/** Runs at most `max` tasks at once; the rest wait in order of arrival. */
export function limit(max: number): <T>(task: () => Promise<T>) => Promise<T> {
  if (!Number.isInteger(max) || max < 1) throw new RangeError(`limit must be 1 or more, got ${max}`)
  const waiting: Array<() => void> = []
  let running = 0

  return async task => {
    if (running < max) running += 1
    else await new Promise<void>(resolve => waiting.push(resolve))
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
