/**
 * Syncs of the filesystem that pull threads need, done by the main thread: what one of them was told of a failing disk
 * counts for what the others have written (shared/store/filesystem-sync.ts).
 */

import { BackupError, asBackupError } from '../../shared/errors.js'
import type { ErrorCode } from '../../shared/errors.js'
import type { FilesystemSyncs } from '../../shared/store/filesystem-sync.js'

export interface AskSync {
  readonly type: 'sync'
  readonly id: number
  readonly path: string
}

export type SyncAnswer =
  /** To who asked. `failed`: all that failed until then, in whichever thread. */
  | {
      readonly type: 'synced'
      readonly id: number
      readonly failed: number
      readonly problem: { readonly code: ErrorCode; readonly message: string } | null
    }
  /** To all threads, so that what is written from now on is not taken for lost. */
  | { readonly type: 'syncFailed'; readonly failed: number }

/** In a pull thread. */
export class ThreadSyncs implements FilesystemSyncs {
  #failed = 0
  #nextId = 1
  readonly #asked = new Map<number, PromiseWithResolvers<void>>()

  constructor(private readonly post: (message: AskSync) => void) {}

  get failed(): number {
    return this.#failed
  }

  sync(path: string): Promise<void> {
    const id = this.#nextId++
    const asked = Promise.withResolvers<void>()
    this.#asked.set(id, asked)
    this.post({ type: 'sync', id, path })
    return asked.promise
  }

  /** The count is known before anybody hears of a success. */
  told(answer: SyncAnswer): void {
    this.#failed = answer.failed
    if (answer.type === 'syncFailed') return
    const asked = this.#asked.get(answer.id)
    this.#asked.delete(answer.id)
    const { problem } = answer
    if (problem) asked?.reject(new BackupError(problem.code, problem.message))
    else asked?.resolve()
  }
}

export interface SyncAsker {
  postMessage(answer: SyncAnswer): void
}

/** In the main thread; `all`: each thread that may have written. Never rejects. */
export async function syncFor(
  asker: SyncAsker,
  { id, path }: AskSync,
  { syncs, all }: { syncs: FilesystemSyncs; all: Iterable<SyncAsker> },
): Promise<void> {
  let problem = null
  try {
    await syncs.sync(path)
  } catch (error) {
    const { code, message } = asBackupError(error, 'STORE_IO')
    problem = { code, message }
    for (const thread of all) thread.postMessage({ type: 'syncFailed', failed: syncs.failed })
  }
  asker.postMessage({ type: 'synced', id, failed: syncs.failed, problem })
}
