/**
 * Takes a dump in a thread of its own: a gigabyte of SQL is seconds of work that nobody else should wait for, and what
 * passes through leaves no buffers in the heap of a daemon that lives for months.
 */

import { Worker } from 'node:worker_threads'
import { BackupError } from '../../shared/errors.js'
import { DumpStore } from './dump-store.js'
import type { ErrorCode } from '../../shared/errors.js'
import type { PrimaryAddress } from '../sync/primary-client.js'
import type { Dump } from './dump-manifest.js'

/** Takes one dump, and keeps it. `onBytes`: compressed, so far. @throws as `takeDump` */
export type TakeDump = (cause: Dump['cause'], onBytes: (bytes: number) => void, signal: AbortSignal) => Promise<Dump>

export interface TakingOrder {
  readonly primary: PrimaryAddress
  readonly stateDir: string
  readonly cause: Dump['cause']
}

/** What the thread says; it is told one thing, `abort`. */
export type TakingAnswer =
  | { readonly bytes: number }
  | { readonly dump: Dump }
  | { readonly aborted: true }
  | { readonly code: ErrorCode; readonly message: string }

export const ABORT = 'abort'
/** Buffers outside of V8's heap go when its young generation is collected: with the usual size, when they are 64 MB. */
const YOUNG_MB_MAX = 1
/** A thread that was told to stop removes what it has written; one that does not in that time is ended. */
const STOP_MS_MAX = 5_000

/** Of dumps that the agent at `primary` gives, kept in the state directory. When one settles, its thread has ended. */
export const takeApart =
  (primary: PrimaryAddress, stateDir: string): TakeDump =>
  async (cause, onBytes, signal) => {
    signal.throwIfAborted()
    const worker = new Worker(new URL('./taking-thread.js', import.meta.url), {
      workerData: { primary, stateDir, cause } satisfies TakingOrder,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB_MAX },
    })
    let late: NodeJS.Timeout | undefined
    let wasEnded = false
    const abort = () => {
      worker.postMessage(ABORT)
      late = setTimeout(() => {
        wasEnded = true
        void worker.terminate()
      }, STOP_MS_MAX)
    }
    signal.addEventListener('abort', abort, { once: true })
    try {
      return await answerOf(worker, onBytes)
    } catch (error) {
      throw signal.aborted ? signal.reason : error
    } finally {
      signal.removeEventListener('abort', abort)
      clearTimeout(late)
      await worker.terminate()
      if (wasEnded) new DumpStore(stateDir).prepare() // it could remove nothing itself
    }
  }

function answerOf(worker: Worker, onBytes: (bytes: number) => void): Promise<Dump> {
  return new Promise((resolve, reject) => {
    worker.on('message', (answer: TakingAnswer) => {
      if ('bytes' in answer) onBytes(answer.bytes)
      else if ('dump' in answer) resolve(answer.dump)
      else if ('aborted' in answer) reject(new DOMException('the dump was aborted', 'AbortError'))
      else reject(new BackupError(answer.code, answer.message))
    })
    worker.once('error', reject)
    worker.once('exit', () => reject(new Error('the thread that takes a dump ended')))
  })
}
