/**
 * Writing so that a power cut finds all of a file or none of it.
 *
 * The steps are always the same: a temp file on the same filesystem, its bytes
 * made durable, a rename, the directory made durable. For many files at once
 * one `sync -f` of the filesystem replaces the single fsyncs (filesystem-sync.ts). A failed fsync is an error of the whole step: the kernel may
 * have dropped the dirty pages, so asking again would answer "done" falsely.
 */

import { closeSync, fsync, lstatSync, openSync } from 'node:fs'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { asItsDirectory } from '../owner.js'
import { BackupError, reason, systemCode } from '../errors.js'
import type { Stats } from 'node:fs'
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

const DISK: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EROFS', 'EIO'])

/**
 * For what is written where somebody has asked for it: what the disk says of itself counts for all files, what it says of
 * a name for that one.
 */
export function targetError(operation: string, error: unknown): BackupError {
  const code = systemCode(error)
  if (error instanceof BackupError || (code !== undefined && DISK.has(code))) return storeError(operation, error)
  if (code === 'EEXIST') return new BackupError('TARGET_EXISTS', `${operation}: something is there already`)
  return new BackupError('DIRECTORY_UNUSABLE', `${operation}: ${reason(error)}`, {}, { cause: error })
}

/** What lies there, of a link the link itself; undefined: nothing. @throws BackupError as `targetError` */
export function targetAt(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false })
  } catch (error) {
    throw targetError(`look at ${path}`, error)
  }
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
