/**
 * Starting and stopping: one shape for everything that runs.
 *
 * A loop that dies by itself takes the daemon down (`onDeath`): silent
 * half-death is the one failure that no lag figure shows. Disposal aborts,
 * then waits: when it resolves, nothing of the loop is running.
 */

import { isAbort } from './errors.js'

export function startLoop(
  body: (signal: AbortSignal) => Promise<void>,
  onDeath: (error: unknown) => void,
): AsyncDisposable {
  const controller = new AbortController()
  const done = body(controller.signal).catch((error: unknown) => {
    if (!isAbort(error) && !controller.signal.aborted) onDeath(error)
  })
  return {
    async [Symbol.asyncDispose]() {
      controller.abort()
      await done
    },
  }
}

/** For `using`: closed at the end of the block. */
export function closing<T extends { close(): unknown }>(value: T): Disposable & { readonly value: T } {
  return { value, [Symbol.dispose]: () => void value.close() }
}

/** Resolves when `signal` is aborted; never rejects. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise(resolve => signal.addEventListener('abort', () => resolve(), { once: true }))
}
