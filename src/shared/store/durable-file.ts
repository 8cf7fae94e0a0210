/**
 * Writing so that a power cut finds all of a file or none of it.
 *
 * The steps are always the same: a temp file on the same filesystem, its bytes
 * made durable, a rename, the directory made durable. For many files at once
 * one `sync -f` of the filesystem replaces the single fsyncs (docs/ARCHITECTURE.md
 * has the figures). A failed fsync is an error of the whole step: the kernel may
 * have dropped the dirty pages, so asking again would answer "done" falsely.
 */

import { spawn } from 'node:child_process'
import { closeSync, existsSync, fsync, openSync } from 'node:fs'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { asItsDirectory } from '../owner.js'
import { NextRun } from '../next-run.js'
import { BackupError, systemCode } from '../errors.js'
import type { ErrorCode } from '../errors.js'

/** Which of our codes a failing disk has. */
export function storeErrorCode(error: unknown): ErrorCode {
  switch (systemCode(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return 'STORE_FULL'
    case 'EROFS':
      return 'STORE_READ_ONLY'
    default:
      return 'STORE_IO'
  }
}

export function storeError(operation: string, error: unknown): BackupError {
  if (error instanceof BackupError) return error
  const text = error instanceof Error ? error.message : String(error)
  return new BackupError(storeErrorCode(error), `${operation}: ${text}`, {}, { cause: error })
}

/**
 * `tempDir` must be on the filesystem of `path`. When it resolves, `path` holds `bytes` also after a power cut. One
 * call at a time for a path: its temp file has always the same name, so that killed processes leave one at most.
 */
export async function writeDurably(path: string, bytes: Uint8Array, tempDir = dirname(path)): Promise<void> {
  const temp = `${tempDir}/.${basename(path)}.tmp`
  try {
    await mkdir(dirname(path), { recursive: true })
    await using file = await open(temp, 'w', 0o600)
    await file.writeFile(bytes)
    asItsDirectory(temp)
    await file.sync()
    await rename(temp, path)
    await syncPath(dirname(path)) // the rename itself must survive
  } catch (error) {
    await rm(temp, { force: true })
    throw error
  }
}

/** fsync of a file or a directory by its path. */
export async function syncPath(path: string): Promise<void> {
  const fd = openSync(path, 'r')
  try {
    await syncFd(fd)
  } finally {
    closeSync(fd)
  }
}

/** On libuv's threads: several at once share one commit of the filesystem's journal. */
export const syncFd = (fd: number): Promise<void> =>
  new Promise((resolve, reject) => fsync(fd, error => (error ? reject(error) : resolve())))

/** How long one `sync -f` may take before the disk is called failing: a slow disk with gigabytes of dirty pages needs minutes. */
const SYNC_MS_MAX = 15 * 60_000

/** By its path: a name would be looked for in one place after the other, each time anew. */
const SYNC = ['/usr/bin/sync', '/bin/sync'].find(path => existsSync(path)) ?? 'sync'

/** By the path that was asked for. */
const syncs = new Map<string, NextRun>()
let syncFailures = 0

/**
 * How many syncs of a filesystem have failed in this thread. The kernel says once that it lost something, to whoever syncs
 * first: what was written before that, by anybody, cannot be called durable by a later sync.
 */
export const failedSyncs = (): number => syncFailures

/**
 * Everything written so far to the filesystem that holds `path` is durable when it resolves (syncfs(2) by coreutils). Who
 * asks while one runs, of one thread, shares the next: twenty libraries that end their batches at once need one, and each
 * writes all that others have left to be written too.
 */
export function syncFilesystem(path: string): Promise<void> {
  let sync = syncs.get(path)
  if (!sync) syncs.set(path, (sync = new NextRun(() => runSync(path))))
  return sync.ask()
}

function runSync(path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(SYNC, ['-f', path], { stdio: ['ignore', 'ignore', 'pipe'], timeout: SYNC_MS_MAX })
    let stderr = ''
    child.stderr.on('data', (chunk: Buffer) => (stderr = (stderr + chunk.toString()).slice(-500)))
    child.on('error', error => {
      syncFailures += 1
      reject(new BackupError('STORE_IO', `run sync -f: ${error.message}`, {}, { cause: error }))
    })
    child.on('close', (code, signal) => {
      if (code === 0) return resolve()
      syncFailures += 1
      const full = /No space left/.test(stderr)
      reject(new BackupError(full ? 'STORE_FULL' : 'STORE_IO', `sync -f ${path}: ${stderr.trim() || signal || code}`))
    })
  })
}
