/** The verbs `ls`, `cat`, `get` and `diff`: single files of any recorded state. Need no daemon; loaded only when asked for. */

import { contentsOf, keyOf } from '../../src/backup/files/contents.js'
import { asText, changesBetween, lineChanges } from '../../src/backup/files/diff.js'
import { get as getFiles } from '../../src/backup/files/get.js'
import { openLibraryAt } from '../../src/backup/files/library-at.js'
import { below, entriesOf, entryAt } from '../../src/backup/files/tree.js'
import { BackupError } from '../../src/shared/errors.js'
import { EXIT } from './exit.js'
import { openCounter } from './progress.js'
import { ask } from './prompt.js'
import { byteSize, count, plain } from './render.js'
import { columns, time } from './render-lists.js'
import type { Change, LineChange } from '../../src/backup/files/diff.js'
import type { LibraryAt } from '../../src/backup/files/library-at.js'
import type { Entry } from '../../src/backup/files/tree.js'
import type { FileKey } from '../../src/shared/seafile/write/encrypt.js'
import type { DirectoryFlags } from '../../src/shared/directories.js'
import type { ExitCode } from './exit.js'

export interface WhereInLibrary {
  readonly library: string
  readonly path: string
  readonly at: string
}

/** Larger text files are only said to differ. */
const TEXT_BYTES_MAX = 4 * 1024 * 1024

const ENTRIES_PER_TURN = 200

/** An interrupt, and a reader that has gone, are heard between two turns. */
async function turn(signal: AbortSignal): Promise<void> {
  await new Promise<void>(resolve => setImmediate(resolve))
  signal.throwIfAborted()
  if (process.stdout.errored) throw process.stdout.errored
}

async function* heard<T>(all: Iterable<T>, signal: AbortSignal): AsyncGenerator<T, void, undefined> {
  let count = 0
  for (const one of all) {
    if (count++ % ENTRIES_PER_TURN === 0) await turn(signal)
    yield one
  }
}

const line = (text: string): void => void process.stdout.write(`${text}\n`)

export async function ls(
  flags: DirectoryFlags,
  { library, path, at }: WhereInLibrary,
  { recursive, json }: { readonly recursive: boolean; readonly json: boolean },
  signal: AbortSignal,
): Promise<ExitCode> {
  const opened = await openOne(flags, library, at, signal)
  const entry = entryAt(opened, path)
  if (json) {
    for await (const found of heard(listed(opened, entry, recursive), signal)) line(JSON.stringify(found))
    return EXIT.ok
  }
  const found = await Array.fromAsync(heard(listed(opened, entry, recursive), signal))
  const rows = found.map(found => [
    found.kind === 'dir' ? 'dir' : found.size === null ? 'unknown' : byteSize(found.size),
    time(found.mtime === null ? null : found.mtime * 1000),
    plain(recursive ? found.path : found.name) + (found.kind === 'dir' ? '/' : ''),
  ])
  process.stdout.write(columns(['SIZE', 'CHANGED', 'NAME'], rows))
  return EXIT.ok
}

function listed(library: LibraryAt, entry: Entry, recursive: boolean): Iterable<Entry> {
  if (entry.kind === 'file') return [entry]
  return recursive ? below(library, entry) : entriesOf(library, entry)
}

async function openOne(flags: DirectoryFlags, library: string, at: string, signal: AbortSignal): Promise<LibraryAt> {
  const [opened] = await openLibraryAt(flags, library, [at], signal)
  return opened as LibraryAt
}

/** Of a file that breaks off in the middle the beginning has been written: the exit code says so. */
export async function cat(flags: DirectoryFlags, where: WhereInLibrary, signal: AbortSignal): Promise<ExitCode> {
  const library = await openOne(flags, where.library, where.at, signal)
  const entry = entryAt(library, where.path)
  if (entry.kind === 'dir') {
    const nextStep = `seaf-backup-cmd ls, or get for all of it`
    throw new BackupError('BAD_REQUEST', `show ${entry.path}: it is a directory`, { nextStep })
  }
  const key = await keyOf(library, askPassword)
  for (const bytes of contentsOf(library, entry, key)) {
    await turn(signal)
    await new Promise<void>((resolve, reject) =>
      process.stdout.write(bytes, error => (error ? reject(error) : resolve())),
    )
  }
  return EXIT.ok
}

export async function get(
  flags: DirectoryFlags,
  where: WhereInLibrary,
  { to, force, json }: { readonly to: string; readonly force: boolean; readonly json: boolean },
  signal: AbortSignal,
): Promise<ExitCode> {
  const library = await openOne(flags, where.library, where.at, signal)
  const entry = entryAt(library, where.path)
  const key = await keyOf(library, askPassword)
  using counter = openCounter(process.stderr)
  const got = await getFiles(
    library,
    entry,
    to,
    { key, force },
    ({ path }, { files, bytes }) => counter.show(() => `${count(files, 'file')}, ${byteSize(bytes)}; ${plain(path)}`),
    signal,
  )
  counter.clear()
  if (json) line(JSON.stringify(got))
  else {
    for (const { path, why } of got.skipped) process.stderr.write(`skipped ${plain(path)}: ${plain(why)}\n`)
    line(`${count(got.files, 'file')}, ${byteSize(got.bytes)} written to ${to}${asOf(library)}`)
  }
  return got.skipped.length === 0 ? EXIT.ok : EXIT.failed
}

const asOf = ({ since, commit }: LibraryAt): string =>
  `, as of commit ${commit.id.slice(0, 10)} of ${time(since ?? commit.ctime * 1000)}`

export interface DiffOptions {
  readonly from: string
  readonly to: string
  readonly text: boolean
  readonly json: boolean
}

export async function diff(
  flags: DirectoryFlags,
  { library, path }: Omit<WhereInLibrary, 'at'>,
  { from, to, text, json }: DiffOptions,
  signal: AbortSignal,
): Promise<ExitCode> {
  const [before, after] = (await openLibraryAt(flags, library, [from, to], signal)) as [LibraryAt, LibraryAt]
  const sides = [before, after].map(state => ({ library: state, entry: entryOrNull(state, path) }))
  const [old, now] = sides as [(typeof sides)[0], (typeof sides)[0]]
  if (!old.entry && !now.entry) entryAt(after, path) // says what is not there
  let key: FileKey | null | undefined
  for await (const change of heard(changesBetween(old, now), signal)) {
    const wantsText = text && change.kind === 'file'
    if (wantsText && key === undefined) key = await keyOf(after, askPassword)
    const lines = wantsText ? linesOf(change, before, after, key ?? null) : undefined
    if (json) line(JSON.stringify({ ...change, ...(lines !== undefined && { lines }) }))
    else printChange(change, lines)
  }
  return EXIT.ok
}

function entryOrNull(library: LibraryAt, path: string): Entry | null {
  try {
    return entryAt(library, path)
  } catch (error) {
    if (error instanceof BackupError && error.code === 'PATH_UNKNOWN') return null
    throw error
  }
}

/** Null: not text, or too much of it. */
function linesOf(change: Change, before: LibraryAt, after: LibraryAt, key: FileKey | null): LineChange[] | null {
  const [old, now] = [textOf(before, change.before, key), textOf(after, change.after, key)]
  return old === null || now === null ? null : lineChanges(old, now)
}

function textOf(library: LibraryAt, entry: Entry | null, key: FileKey | null): string | null {
  if (entry === null) return ''
  const parts: Buffer[] = []
  let bytes = 0
  for (const part of contentsOf(library, entry, key)) {
    bytes += part.byteLength
    if (bytes > TEXT_BYTES_MAX) return null
    parts.push(part)
  }
  return asText(Buffer.concat(parts))
}

const SIGN = { added: '+', removed: '-', changed: '~' } as const

function printChange({ what, kind, path, before, after }: Change, lines: LineChange[] | null | undefined): void {
  const size = (entry: Entry | null) => (entry?.size === null || !entry ? 'unknown' : byteSize(entry.size))
  const sizes = what === 'changed' ? `${size(before)} -> ${size(after)}` : size(after ?? before)
  line(`${SIGN[what]} ${plain(path)}${kind === 'dir' ? '/' : `  ${sizes}`}`)
  if (lines === null) line('    not text, or too much of it')
  for (const changed of lines ?? []) if (changed.sign !== ' ') line(`    ${changed.sign} ${plain(changed.line)}`)
}

const askPassword = (): Promise<string> =>
  ask({ text: 'Password of the library: ', secret: true, what: 'the password' })
