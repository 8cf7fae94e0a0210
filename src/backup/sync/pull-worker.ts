/**
 * The thread in which libraries are pulled: its own connections, its own file work, nothing shared.
 *
 * Rows and state belong to the main thread (pull-pool.ts has the messages). Several
 * pulls take turns in one thread, whenever one of them waits for the network or the disk.
 */

import { join } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import { storeIdOf } from '../../shared/catalog/library-tables.js'
import { asBackupError, isAbort, systemCode } from '../../shared/errors.js'
import { storeError } from '../../shared/store/durable-file.js'
import { DiskObjectStore } from '../../shared/store/disk-object-store.js'
import { BlockIndex } from '../state/block-index.js'
import { threadBounds } from './concurrency.js'
import { LineWait } from './line-wait.js'
import { isHere } from './own-copy.js'
import { PrimaryClient } from './primary-client.js'
import { pullLibrary } from './pull.js'
import { ThreadSyncs } from './thread-syncs.js'
import type { RepoId } from '../../shared/ids.js'
import type { FromPuller, PullerData, ToPuller } from './pull-pool.js'
import type { PullEvents, PullJob } from './pull.js'

const port = parentPort
if (!port) throw new Error('pull-worker.js is a worker thread, not a program')
const { dataDir, stateDir, primary, threads } = workerData as PullerData
const post = (message: FromPuller): void => port.postMessage(message)
const syncs = new ThreadSyncs(post)
const store = new DiskObjectStore(dataDir, syncs)
const blocks = new BlockIndex(join(stateDir, 'blocks.idx'))
const client = new PrimaryClient(primary, threadBounds(threads))
interface Running {
  readonly controller: AbortController
  go: (() => void) | undefined
  /** Of a library there, objects may be stored without asking. */
  mayStore: RepoId | null
}
const running = new Map<number, Running>()

async function run(id: number, job: PullJob): Promise<void> {
  const state: Running = { controller: new AbortController(), go: undefined, mayStore: null }
  running.set(id, state)
  const events: PullEvents = {
    library: frame =>
      new Promise(resolve => {
        state.go = resolve
        post({ type: 'library', id, frame })
        if (state.mayStore === storeIdOf(frame.rows)) resolve()
      }),
    checkpoint: (vouched, holes) => post({ type: 'checkpoint', id, vouched, holes }),
    progress: progress => post({ type: 'progress', id, progress }),
  }
  const wait = new LineWait()
  try {
    const parts = { client: client.source(wait, job.isUrgent), store, blocks, events }
    const result = await pullLibrary(job, parts, state.controller.signal)
    post({ type: 'done', id, result, times: wait.times })
  } catch (error) {
    if (isAbort(error) || state.controller.signal.aborted) return post({ type: 'aborted', id })
    const coded = asBackupError(systemCode(error) ? storeError(`store objects of ${job.repo}`, error) : error)
    const stack = coded.code === 'INTERNAL' && error instanceof Error ? error.stack : undefined
    post({ type: 'failed', id, code: coded.code, message: coded.message, stack })
  } finally {
    running.delete(id)
  }
}

port.on('message', (message: ToPuller) => {
  if (message.type === 'look') {
    const gone = message.copies.flatMap((copy, i) => (isHere(copy, store) ? [] : [i]))
    return post({ type: 'looked', id: message.id, gone })
  }
  if (message.type === 'synced' || message.type === 'syncFailed') return syncs.told(message)
  const state = running.get(message.id)
  switch (message.type) {
    case 'start':
      void run(message.id, message.job)
      return
    case 'go':
      if (message.storeId === null) state?.go?.()
      else if (state) state.mayStore = message.storeId
      return
    case 'abort':
      state?.controller.abort()
      state?.go?.()
  }
})
