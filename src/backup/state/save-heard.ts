/** Writes what was heard of the primary's heads, now and then and at the end. */

import { asBackupError } from '../../shared/errors.js'
import { startLoop } from '../../shared/lifecycle.js'
import { sleep } from '../../shared/timing.js'
import type { Log } from '../../shared/log.js'
import type { LibraryStates } from './library-state.js'

const EVERY_MS = 1_000

/** Disposed of, all is written. A disk that fails is said once, and tried again. */
export function startSavingHeard(states: LibraryStates, log: Log, onDeath: (error: unknown) => void): AsyncDisposable {
  let said = ''
  const save = () => {
    try {
      states.saveHeard()
      said = ''
    } catch (error) {
      const { code, message } = asBackupError(error)
      if (message !== said) log.warn({ code, reason: message }, 'what the primary has could not be noted')
      said = message
    }
  }
  const loop = startLoop(async signal => {
    for (;;) {
      await sleep(EVERY_MS, signal)
      save()
    }
  }, onDeath)
  return {
    async [Symbol.asyncDispose]() {
      await loop[Symbol.asyncDispose]()
      save()
    },
  }
}
