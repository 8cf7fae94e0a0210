/**
 * Files and folders out of a library, into a directory of this host.
 *
 * Names come from people, and through a primary that may be hostile: one that
 * is no plain name of a file here is skipped and said, no symbolic link is
 * followed, and nothing is written over unless that was asked for. A file gets
 * its name when all of it is there.
 */

import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, utimesSync, writeSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { BackupError, asBackupError } from '../../shared/errors.js'
import { targetAt, targetError } from '../../shared/store/durable-file.js'
import { contentsOf } from './contents.js'
import { entriesOf } from './tree.js'
import type { FileKey } from '../../shared/seafile/write/encrypt.js'
import type { Entry } from './tree.js'
import type { LibraryAt } from './library-at.js'

export interface GetOptions {
  readonly key: FileKey | null
  /** Write over files that are there, and into directories that are there. */
  readonly force: boolean
}

export interface Got {
  files: number
  dirs: number
  bytes: number
  /** What could not be had, or not be written, with why. */
  readonly skipped: { readonly path: string; readonly why: string }[]
}

/** A disk that fails or is full fails for all: it is not tried with each file. */
const OF_ALL = new Set(['STORE_FULL', 'STORE_READ_ONLY', 'STORE_IO'])

/**
 * A file becomes `to`, or a file in it where `to` is a directory; a folder becomes the directory `to`.
 * @throws BackupError TARGET_EXISTS before anything was written; STORE_… of the target
 */
export async function get(
  library: LibraryAt,
  entry: Entry,
  to: string,
  options: GetOptions,
  onEntry: (entry: Entry, got: Got) => void,
  signal: AbortSignal,
): Promise<Got> {
  const got: Got = { files: 0, dirs: 0, bytes: 0, skipped: [] }
  const target = targetOf(entry, resolve(to))
  expectFree(target, options.force)
  const todo: { readonly entry: Entry; readonly target: string }[] = [{ entry, target }]
  for (let next = todo.pop(); next; next = todo.pop()) {
    signal.throwIfAborted()
    await new Promise<void>(done => setImmediate(done)) // an interrupt is heard between two files
    onEntry(next.entry, got)
    try {
      if (next.entry.kind === 'file') writeFile(library, next.entry, next.target, options, got)
      else for (const child of makeDirectory(library, next.entry, next.target, options, got)) todo.push(child)
    } catch (error) {
      const problem = asBackupError(error)
      if (OF_ALL.has(problem.code) || next.entry === entry) throw problem
      got.skipped.push({ path: next.entry.path, why: problem.message })
    }
  }
  return got
}

function targetOf(entry: Entry, to: string): string {
  if (entry.kind === 'dir' || !isDirectory(to)) return to
  if (isPlainName(entry.name)) return join(to, entry.name)
  throw new BackupError('BAD_REQUEST', `write ${entry.path}: its name is none here`, {
    nextStep: 'name the file to write',
  })
}

function expectFree(target: string, force: boolean): void {
  if (force || !isThere(target)) return
  const nextStep = 'name another place, or say --force to write over it'
  throw new BackupError('TARGET_EXISTS', `write ${target}: it is there already`, { nextStep })
}

/** A link that leads nowhere is something too. */
const isThere = (path: string): boolean => targetAt(path) !== undefined
const isDirectory = (path: string): boolean => targetAt(path)?.isDirectory() === true

/** What a directory entry of Linux can be, and leads nowhere else. */
const isPlainName = (name: string): boolean => name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name)

/** What is in it is still to be done. */
function makeDirectory(library: LibraryAt, entry: Entry, target: string, { force }: GetOptions, got: Got) {
  const entries = entriesOf(library, entry)
  if (!(force && isDirectory(target))) {
    try {
      if (got.dirs === 0) mkdirSync(dirname(target), { recursive: true })
      mkdirSync(target)
    } catch (error) {
      throw targetError(`make ${target}`, error)
    }
  }
  got.dirs += 1
  const strange = entries.filter(({ name }) => !isPlainName(name))
  for (const { path } of strange) got.skipped.push({ path, why: 'its name is none here' })
  return entries
    .filter(({ name }) => isPlainName(name))
    .map(child => ({ entry: child, target: join(target, child.name) }))
    .reverse()
}

function writeFile(library: LibraryAt, entry: Entry, target: string, { key, force }: GetOptions, got: Got): void {
  if (!force && isThere(target)) throw new BackupError('TARGET_EXISTS', `write ${target}: it is there already`)
  const partial = join(dirname(target), `.seaf-backup-partial-${process.pid}`) // one file at a time
  try {
    const fd = create(partial, entry.isExecutable ? 0o755 : 0o644)
    try {
      for (const bytes of contentsOf(library, entry, key)) {
        writeAll(fd, bytes, target)
        got.bytes += bytes.byteLength
      }
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    name(partial, target, entry)
    got.files += 1
  } finally {
    rmSync(partial, { force: true })
  }
}

function create(path: string, mode: number): number {
  try {
    return openSync(path, 'wx', mode)
  } catch (error) {
    throw targetError(`make ${path}`, error)
  }
}

function writeAll(fd: number, bytes: Buffer, target: string): void {
  try {
    for (let done = 0; done < bytes.byteLength;) done += writeSync(fd, bytes, done)
  } catch (error) {
    throw targetError(`write ${target}`, error)
  }
}

function name(partial: string, target: string, { mtime }: Entry): void {
  try {
    if (mtime !== null) utimesSync(partial, mtime, mtime)
    renameSync(partial, target)
  } catch (error) {
    throw targetError(`write ${target}`, error)
  }
}
