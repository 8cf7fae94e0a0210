/**
 * The archive for its only writer: where it goes on, and one answer of the primary after the other appended to it.
 *
 * What an answer brings is promised when all of it is here, proved and durable:
 * `reached.json` moves last. After anything else the files are cut back to it,
 * at once or at the next start.
 */

import {
  closeSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  renameSync,
  rmSync,
} from 'node:fs'
import { join } from 'node:path'
import { BinlogBroken, BinlogReader } from '../../shared/binlog-events.js'
import { makeDirectory } from '../../shared/durable-directory.js'
import { BackupError, reason, systemCode } from '../../shared/errors.js'
import { storeError, writeDurably } from '../../shared/store/durable-file.js'
import { isOfDeadCommand } from '../dumps/dump-store.js'
import {
  GAP,
  WHY_FIRST,
  archiveDir,
  decodeRunInfo,
  encodeRunInfo,
  fileInfoPath,
  fileNumbers,
  filePath,
  readRun,
  runDir,
  runInfoPath,
  runNumbers,
} from './archive-layout.js'
import { IncomingLog } from './incoming-log.js'
import type { BinlogPosition } from '../../shared/binlog-events.js'
import type { ArchivedServer, Reached, RunInfo } from './archive-layout.js'

const REMOVING = /^\.removing-/
/** A format description has some hundred bytes, and stands at the beginning. */
const FORMAT_WITHIN_BYTES = 64 * 1024

export interface BegunRun extends RunInfo {
  readonly run: number
}

/** The end of the newest run. */
export interface ArchiveEnd extends BegunRun {
  readonly reached: Reached
  readonly position: BinlogPosition
  /** The format description event of the file. */
  readonly format: Buffer
}

export class Archive {
  #end: ArchiveEnd | null = null
  #why = WHY_FIRST

  constructor(private readonly stateDir: string) {}

  /** Null: nothing can be gone on with, and the next answer begins a run. */
  get end(): ArchiveEnd | null {
    return this.#end
  }

  /** Why the next run is begun, when `end` is null. */
  get why(): string {
    return this.#why
  }

  /** As it is on the disk: what is not promised is removed. @throws BackupError of the store */
  open(): void {
    this.#end = null
    this.#why = WHY_FIRST
    removeHalfGone(archiveDir(this.stateDir))
    for (let run = this.#newest(); run !== undefined && !this.#goOnWith(run); run = this.#newest()) {
      this.#removeRun(run) // of one that was only begun nothing is promised
    }
  }

  /** Begins a run when there is none to go on with. What is given up before `complete` leaves nothing. */
  async receive(server: ArchivedServer, began: number, why: string | null): Promise<IncomingLog> {
    if (this.#end && why === null) return IncomingLog.goOn(this.stateDir, this.#end, end => void (this.#end = end))
    const run = (this.#newest() ?? 0) + 1
    const info: RunInfo = { server, began, why: why ?? this.#why }
    const dir = runDir(this.stateDir, run)
    try {
      makeDirectory(dir, 0o700)
      await writeDurably(runInfoPath(dir), encodeRunInfo(info))
    } catch (error) {
      throw storeError(`begin ${dir}`, error)
    }
    return IncomingLog.begin(this.stateDir, { run, ...info }, end => void (this.#end = end))
  }

  #newest(): number | undefined {
    return runNumbers(this.stateDir).at(-1)
  }

  /** False: there is nothing in it. */
  #goOnWith(number: number): boolean {
    try {
      const run = readRun(this.stateDir, number)
      const last = run?.files.at(-1)
      if (!run?.reached || !last) return false
      cutBack(run.dir, run.reached)
      const format = formatOf(last.path)
      const position = { file: last.name, offset: run.reached.offset }
      const { server, began, why, reached } = run
      this.#end = { run: number, server, began, why, reached, position, format }
    } catch (error) {
      if (!(error instanceof BackupError) || error.code !== 'DUMP_DAMAGED') throw error
      // a disk that fails now says nothing of what is on it
      if (systemCode(error.cause) !== undefined) throw storeError(error.message, error.cause)
      // what is there may still be of use to a restore: it is left as it is
      this.#why = `${GAP}${error.message}`.slice(0, 1_000)
    }
    return true
  }

  #removeRun(run: number): void {
    removeRun(this.stateDir, run)
  }
}

function removeHalfGone(dir: string): void {
  try {
    for (const name of readdirSync(dir)) {
      if (REMOVING.test(name) || isOfDeadCommand(name)) rmSync(join(dir, name), { recursive: true, force: true })
    }
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw storeError(`open the binlog archive ${dir}`, error)
  }
}

/** What is said of each run, oldest first; its files are not looked at. @throws BackupError DUMP_DAMAGED, or of the store */
export function runsBegun(stateDir: string): RunInfo[] {
  return runNumbers(stateDir).flatMap(run => {
    const path = runInfoPath(runDir(stateDir, run))
    try {
      return decodeRunInfo(readFileSync(path))
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return []
      if (systemCode(error) !== undefined) throw storeError(`read ${path}`, error)
      throw new BackupError('DUMP_DAMAGED', `read the binlog archive: ${path}: ${reason(error)}`, {}, { cause: error })
    }
  })
}

/** By one rename: of a run that is half removed nobody reads. */
export function removeRun(stateDir: string, run: number): void {
  const dir = archiveDir(stateDir)
  const going = join(dir, `.removing-${run}`)
  try {
    rmSync(going, { recursive: true, force: true })
    renameSync(runDir(stateDir, run), going)
    const fd = openSync(dir, 'r')
    try {
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    rmSync(going, { recursive: true, force: true })
  } catch (error) {
    throw storeError(`remove ${runDir(stateDir, run)}`, error)
  }
}

/** Its last file ends where it is promised, and none follows. */
function cutBack(dir: string, { n, offset }: Reached): void {
  try {
    for (const later of fileNumbers(dir).filter(one => one > n)) {
      rmSync(filePath(dir, later), { force: true })
      rmSync(fileInfoPath(dir, later), { force: true })
    }
    const fd = openSync(filePath(dir, n), 'r+')
    try {
      ftruncateSync(fd, offset)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    throw storeError(`cut ${filePath(dir, n)} back to ${offset} bytes`, error)
  }
}

function formatOf(path: string): Buffer {
  const bytes = Buffer.alloc(FORMAT_WITHIN_BYTES)
  const reader = new BinlogReader()
  try {
    const fd = openSync(path, 'r')
    try {
      const length = readSync(fd, bytes, 0, bytes.byteLength, 0)
      // no further than the first event: what follows may have been cut off anywhere
      for (let at = 0; at < length && !reader.format; at++) reader.push(bytes.subarray(at, at + 1))
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    if (!(error instanceof BinlogBroken)) throw storeError(`read ${path}`, error)
  }
  if (reader.format) return reader.format
  throw new BackupError('DUMP_DAMAGED', `read the binlog archive: ${path}: it does not begin as a binlog does`)
}
