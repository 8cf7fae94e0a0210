/** The thread in which one dump is taken (take-apart.ts): its own connection, its own file work, nothing shared. */

import { parentPort, workerData } from 'node:worker_threads'
import { asBackupError, isAbort } from '../../shared/errors.js'
import { PrimaryClient } from '../sync/primary-client.js'
import { DumpStore } from './dump-store.js'
import { ABORT } from './take-apart.js'
import { takeDump } from './take-dump.js'
import type { TakingAnswer, TakingOrder } from './take-apart.js'

const port = parentPort
if (!port) throw new Error('taking-thread.js is a worker thread, not a program')
const { primary, stateDir, cause } = workerData as TakingOrder
const say = (answer: TakingAnswer): void => port.postMessage(answer)
const stopping = new AbortController()
port.on('message', message => message === ABORT && stopping.abort())

try {
  await using source = new PrimaryClient(primary)
  const taking = { source, store: new DumpStore(stateDir), now: Date.now }
  say({ dump: await takeDump(taking, cause, bytes => say({ bytes }), stopping.signal) })
} catch (error) {
  const { code, message } = asBackupError(error)
  say(isAbort(error) ? { aborted: true } : { code, message })
}
