/**
 * `sync -f`: everything that was written to a filesystem is durable by one call.
 *
 * The kernel says once that it lost something, to whoever syncs first, whoever
 * had written it. So all threads of a process sync through one place, which
 * counts what failed: what was written before a failure cannot be called durable
 * by a later success, in whichever thread. Between processes that is not known:
 * a restore beside the daemon, or anybody's sync(1), may be told in our place.
 */

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { BackupError } from '../errors.js'
import { NextRun } from '../next-run.js'
import type { ChildProcess } from 'node:child_process'

export interface FilesystemSyncs {
  /** How many syncs have failed in this process, as far as this thread has heard. It never shrinks. */
  readonly failed: number
  /**
   * Everything written so far to the filesystem that holds `path` is durable when it resolves, unless `failed` has grown
   * since it was written. Rejects with STORE_FULL or STORE_IO.
   */
  sync(path: string): Promise<void>
}

/**
 * Who asks while one runs shares the next: twenty libraries that end their batches at once need one, and each writes all
 * that others have left to be written too.
 */
export class ProcessSyncs implements FilesystemSyncs {
  /** By the path that was asked for. */
  readonly #runs = new Map<string, NextRun>()
  #failed = 0

  constructor(private readonly run: (path: string) => Promise<void>) {}

  get failed(): number {
    return this.#failed
  }

  sync(path: string): Promise<void> {
    let run = this.#runs.get(path)
    if (!run) this.#runs.set(path, (run = new NextRun(() => this.#counted(path))))
    return run.ask()
  }

  async #counted(path: string): Promise<void> {
    try {
      await this.run(path)
    } catch (error) {
      this.#failed += 1
      throw error
    }
  }
}

/** How long one `sync -f` may take before the disk is called failing: a slow disk with gigabytes of dirty pages needs minutes. */
const SYNC_MS_MAX = 15 * 60_000

/** By its path: a name would be looked for in one place after the other, each time anew. */
const SYNC = ['/usr/bin/sync', '/bin/sync'].find(path => existsSync(path)) ?? 'sync'

/** syncfs(2) by coreutils. */
function runSync(path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child: ChildProcess = spawn(SYNC, ['-f', path], { stdio: ['ignore', 'ignore', 'pipe'] })
    const timer = setTimeout(() => child.kill(), SYNC_MS_MAX) // spawn's own goes on where nothing was started
    let stderr = ''
    child.on('error', error => {
      reject(new BackupError('STORE_IO', `run sync -f: ${error.message}`, {}, { cause: error }))
    })
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      if (code === 0) return resolve()
      const full = /No space left/.test(stderr)
      reject(new BackupError(full ? 'STORE_FULL' : 'STORE_IO', `sync -f ${path}: ${stderr.trim() || signal || code}`))
    })
    // without descriptors there is no pipe either: the error comes a moment later
    child.stderr?.on('data', (chunk: Buffer) => (stderr = (stderr + chunk.toString()).slice(-500)))
  })
}

/** Of the main thread: other threads have theirs done by it. */
export const processSyncs = new ProcessSyncs(runSync)
