/**
 * The verbs `dumps …`. All but `now` read the directory where dumps are kept, with no daemon: on the day they are
 * needed there may be none. Loaded only when asked for.
 */

import { createWriteStream, existsSync, mkdirSync, openSync, renameSync, rmSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { finished } from 'node:stream/promises'
import { removeBeside } from '../../src/shared/catalog/sqlite-file.js'
import { readBackupConfig } from '../../src/shared/config.js'
import { findStateDirOnly } from '../../src/shared/directories.js'
import { duration } from '../../src/shared/duration.js'
import { BackupError } from '../../src/shared/errors.js'
import { targetError } from '../../src/shared/store/durable-file.js'
import { damageOf } from '../../src/backup/dumps/damage.js'
import { bytesOf, rowsOf } from '../../src/backup/dumps/dump-manifest.js'
import { DumpStore } from '../../src/backup/dumps/dump-store.js'
import { unpackPart } from '../../src/backup/dumps/read-dump.js'
import { sortOut } from '../../src/backup/dumps/retention.js'
import { refusal } from './client.js'
import { EXIT } from './exit.js'
import { openCounter } from './progress.js'
import { byteSize, count, plain } from './render.js'
import { columns, time } from './render-lists.js'
import type { DirectoryFlags } from '../../src/shared/directories.js'
import type { DumpOnDisk } from '../../src/backup/dumps/read-dump.js'
import type { KeptDump } from '../../src/backup/dumps/dump-store.js'
import type { ControlClient } from './client.js'
import type { ExitCode } from './exit.js'

interface Json {
  readonly json: boolean
}

const print = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value, null, 2)}\n`)
const say = (line: string): void => void process.stdout.write(`${line}\n`)
const openStore = (flags: DirectoryFlags): DumpStore => new DumpStore(findStateDirOnly(flags, process.env))

/** Newest first. Exit code 1 when one cannot be read, or was found damaged. */
export async function list(flags: DirectoryFlags, { json }: Json): Promise<ExitCode> {
  const { dumps, broken } = openStore(flags).list()
  const shown = dumps.map(({ dump, verdict }) => ({ ...dump, bytes: bytesOf(dump), rows: rowsOf(dump), verdict }))
  if (json) print({ dumps: shown, broken: broken.map(({ message }) => message) })
  else process.stdout.write(columns(HEADER, dumps.map(row)))
  if (!json) for (const { message } of broken) process.stderr.write(`seaf-backup-cmd: ${plain(message)}\n`)
  const damaged = dumps.some(({ verdict }) => verdict?.damage)
  return damaged || broken.length > 0 ? EXIT.failed : EXIT.ok
}

const HEADER = ['ID', 'ASKED FOR', 'SIZE', 'TABLES', 'ROWS', 'TOOK', 'VERIFIED', 'SHA256', 'OF']
/** Enough to compare by eye; `--json` has all of it. */
const SHORT_SUM = 12

const row = ({ dump, verdict }: KeptDump): string[] => [
  dump.id,
  time(dump.askedAt),
  byteSize(bytesOf(dump)),
  String(dump.tables.length),
  String(rowsOf(dump)),
  duration(dump.endedAt - dump.askedAt),
  verdict?.damage ? 'DAMAGED' : time(verdict?.at ?? dump.endedAt),
  dump.parts[0]?.sha256.slice(0, SHORT_SUM) ?? '',
  plain(
    `${dump.server}: ${dump.databases.join(' ')}${dump.absent.length > 0 ? ` (without ${dump.absent.join(' ')})` : ''}`,
  ),
]

/** Takes one, and waits until it is kept. */
export async function now(client: ControlClient, { json }: Json, signal: AbortSignal): Promise<ExitCode> {
  using counter = openCounter(process.stderr)
  for await (const event of client.dump(signal)) {
    if (event.type === 'error') throw refusal(event.error)
    if (event.type === 'progress') counter.show(() => `${byteSize(event.bytes)} so far`)
    else {
      counter.clear()
      const { id, bytes, tables, rows } = event.dump
      if (json) print(event.dump)
      else say(`${id} kept and verified: ${count(tables, 'table')}, ${count(rows, 'row')}, ${byteSize(bytes)}`)
    }
  }
  return EXIT.ok
}

/** Reads them again, all or one; what is found is noted beside each. Exit code 1 on damage, and when there is none. */
export async function verify(
  flags: DirectoryFlags,
  which: string | null,
  { json }: Json,
  signal: AbortSignal,
): Promise<ExitCode> {
  const store = openStore(flags)
  const { dumps, broken } = which === null ? store.list() : { dumps: [{ dump: store.find(which) }], broken: [] }
  const results: { readonly id: string; readonly damage: string | null }[] = []
  for (const { dump } of dumps) {
    const damage = await damageOf(store, dump, signal)
    if (!store.has(dump.id)) continue // let go meanwhile
    await store.judge(dump.id, { at: Date.now(), damage })
    results.push({ id: dump.id, damage })
    if (!json)
      say(`${dump.id} ${damage === null ? `whole, ${count(rowsOf(dump), 'row')}` : `DAMAGED: ${plain(damage)}`}`)
  }
  if (!json && dumps.length + broken.length === 0) process.stderr.write(`there is no dump in ${store.dir}\n`)
  for (const { message } of broken) {
    results.push({ id: message, damage: message })
    if (!json) say(`DAMAGED: ${plain(message)}`)
  }
  if (json) print(results)
  return results.length === 0 || results.some(({ damage }) => damage !== null) ? EXIT.failed : EXIT.ok
}

/**
 * Unpacks one: SQL into a file (`-`: standard output), SQLite databases below a directory, as they lay below Seafile's.
 * What is there is not written over without `force`; what fails leaves nothing.
 */
export async function fetch(
  flags: DirectoryFlags,
  { id, to, force }: { readonly id: string; readonly to: string; readonly force: boolean },
  signal: AbortSignal,
): Promise<ExitCode> {
  const store = openStore(flags)
  const dump = store.onDisk(store.find(id))
  if (to === '-') {
    if (dump.engine !== 'mysql') {
      const nextStep = 'name a directory'
      throw new BackupError('BAD_REQUEST', `write dump ${dump.id} to standard output: it is several files`, {
        nextStep,
      })
    }
    await unpackPart(dump, 0, process.stdout, signal)
    return EXIT.ok
  }
  const target = resolve(to)
  const files = dump.parts.map(({ name }) => (dump.engine === 'mysql' ? target : join(target, name)))
  const there = files.find(file => existsSync(file))
  if (there !== undefined && !force) {
    const nextStep = 'name another place, or say --force to write over it'
    throw new BackupError('TARGET_EXISTS', `write ${there}: it is there already`, { nextStep })
  }
  await unpackTo(files, dump, signal)
  say(`${dump.id}: ${files.join(' ')}`)
  return EXIT.ok
}

/** Under other names until all of them are whole. */
async function unpackTo(files: readonly string[], dump: DumpOnDisk, signal: AbortSignal): Promise<void> {
  const partial = (file: string): string => `${file}.partial-${process.pid}`
  const made: string[] = []
  try {
    for (const [index, file] of files.entries()) {
      const out = createWriteStream('', { fd: create(partial(file)), flush: true })
      made.push(partial(file))
      const closed = finished(out)
      closed.catch(() => {})
      await unpackPart(dump, index, out, signal)
      await closed
    }
    for (const file of files) giveName(partial(file), file)
  } finally {
    for (const path of made) rmSync(path, { force: true })
  }
}

function create(path: string): number {
  try {
    mkdirSync(dirname(path), { recursive: true })
    return openSync(path, 'w', 0o600)
  } catch (error) {
    throw targetError(`make ${path}`, error)
  }
}

function giveName(partial: string, path: string): void {
  try {
    removeBeside(path)
    renameSync(partial, path)
  } catch (error) {
    throw targetError(`write ${path}`, error)
  }
}

/** What the daemon does by itself after each dump, now; or only said. */
export async function prune(
  flags: DirectoryFlags,
  { dryRun, json }: Json & { readonly dryRun: boolean },
): Promise<ExitCode> {
  const config = readBackupConfig(flags)
  const store = new DumpStore(config.stateDir)
  const { kept, removed } = sortOut(store.list().dumps, config.keepDumps, config.dumpSchedule?.timeZone ?? null)
  if (!dryRun) for (const { dump } of removed) store.remove(dump.id)
  if (json) {
    const held = kept.map(({ dump, why }) => ({ id: dump.dump.id, why }))
    print({ dryRun, kept: held, removed: removed.map(({ dump }) => dump.id) })
    return EXIT.ok
  }
  for (const { dump, why } of kept) say(`keep    ${dump.dump.id}  ${why.join(', ')}`)
  for (const { dump } of removed) say(`${dryRun ? 'would remove' : 'removed'} ${dump.id}  ${byteSize(bytesOf(dump))}`)
  return EXIT.ok
}
