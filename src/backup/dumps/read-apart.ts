/** Starts the thread that reads a dump, and waits for what it has found. */

import { Worker } from 'node:worker_threads'
import { BackupError } from '../../shared/errors.js'
import type { ErrorCode } from '../../shared/errors.js'
import type { DumpContents } from './dump-manifest.js'
import type { DumpOnDisk } from './read-dump.js'

export interface ReadingOrder {
  readonly dump: DumpOnDisk
  readonly scratch: string
}

export type ReadingAnswer = { readonly contents: DumpContents } | { readonly code: ErrorCode; readonly message: string }

/** As `readDump`. When it settles, the thread has ended. */
export async function readApart(order: ReadingOrder, signal: AbortSignal): Promise<DumpContents> {
  signal.throwIfAborted()
  const settle: { abort?: () => void } = {}
  const worker = new Worker(new URL('./reading-thread.js', import.meta.url), { workerData: order })
  try {
    const answer = await new Promise<ReadingAnswer>((resolve, reject) => {
      settle.abort = () => reject(signal.reason as Error)
      signal.addEventListener('abort', settle.abort, { once: true })
      worker.once('message', resolve)
      worker.once('error', reject)
      worker.once('exit', () => reject(new Error('the thread that reads a dump ended')))
    })
    if ('contents' in answer) return answer.contents
    throw new BackupError(answer.code, answer.message)
  } finally {
    if (settle.abort) signal.removeEventListener('abort', settle.abort)
    await worker.terminate()
  }
}
