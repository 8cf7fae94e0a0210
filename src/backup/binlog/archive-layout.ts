/**
 * The archive of the primary's binlog, as it lies in `<state>/binlog`: runs, each of them contiguous.
 *
 *   00000001/run.json         of which server, since when, and why it was begun
 *   00000001/00000001.json    the server's name of the file, and the server's time zone; written before its first byte
 *   00000001/00000001.binlog  the server's own bytes, from the file's beginning on
 *   00000001/reached.json     up to where they are durable, and the time that this is of
 *   .using-…-PID              links to files that a command needs; removed when that process is no more
 *
 * Only what lies before `reached` is promised; what follows is under way, and is
 * cut off when the writer starts. The oldest files of a run may have been let go.
 * A run or a file that is being begun has no JSON of its own yet, and is none.
 */

import { readFileSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { BackupError, reason, systemCode } from '../../shared/errors.js'
import { decodeZone } from '../../shared/system-zone.js'
import { isLogName } from '../../shared/wire/binlog-messages.js'
import { count, fields, text } from '../../shared/wire/json-fields.js'
import type { SystemZone } from '../../shared/system-zone.js'
import type { Fields } from '../../shared/wire/json-fields.js'

export interface ArchivedServer {
  /** SELECT VERSION() */
  readonly version: string
  /** @@server_id */
  readonly id: number
}

/** run.json */
export interface RunInfo {
  readonly server: ArchivedServer
  /** Unix ms, by our clock. */
  readonly began: number
  /** `first`, or `gap: ` and why nothing connects it with the run before, in words for people. */
  readonly why: string
}

/** <n>.json */
export interface FileInfo {
  /** As the server calls it: data, never a path. */
  readonly name: string
  /** What the server that wrote it calls SYSTEM. Null: the agent did not say. */
  readonly zone: SystemZone | null
}

/** reached.json */
export interface Reached {
  /** Of the file. */
  readonly n: number
  /** Bytes of it that are durable: whole events. */
  readonly offset: number
  /** By the database server's clock, Unix ms: all that was committed before is archived. */
  readonly serverTime: number
  /** The same moment by our clock, Unix ms. */
  readonly at: number
}

export interface ArchiveFile extends FileInfo {
  readonly n: number
  readonly path: string
  /** How many of its bytes are promised. */
  readonly bytes: number
}

export interface ArchiveRun extends RunInfo {
  readonly run: number
  readonly dir: string
  /** Oldest first, without a hole; what is under way is not in it. */
  readonly files: readonly ArchiveFile[]
  /** Null: nothing of it is promised yet. */
  readonly reached: Reached | null
  /** Why nothing of it can be used: DUMP_DAMAGED. It has no files then. Null: it is as it was written. */
  readonly damage: BackupError | null
}

const DIRECTORY = 'binlog'
const VERSION = 1
const NUMBER = /^\d{8}$/
const FILE_INFO = /^(\d{8})\.json$/
export const NUMBER_MAX = 99_999_999
/** Of run.json and the others: some hundred bytes. */
const WORDS_MAX = 1_000

export const WHY_FIRST = 'first'
export const GAP = 'gap: '

const digits = (n: number): string => String(n).padStart(8, '0')

export const archiveDir = (stateDir: string): string => join(stateDir, DIRECTORY)
export const runDir = (stateDir: string, run: number): string => join(archiveDir(stateDir), digits(run))
export const runInfoPath = (dir: string): string => join(dir, 'run.json')
export const reachedPath = (dir: string): string => join(dir, 'reached.json')
export const fileInfoPath = (dir: string, n: number): string => join(dir, `${digits(n)}.json`)
export const filePath = (dir: string, n: number): string => join(dir, `${digits(n)}.binlog`)

export const encodeRunInfo = ({ server, began, why }: RunInfo): Buffer =>
  encode({ server: { version: server.version, id: server.id }, began, why })
export const encodeFileInfo = ({ name, zone }: FileInfo): Buffer => encode({ name, zone })
export const encodeReached = ({ n, offset, serverTime, at }: Reached): Buffer => encode({ n, offset, serverTime, at })

const encode = (value: object): Buffer => Buffer.from(`${JSON.stringify({ version: VERSION, ...value })}\n`, 'utf8')

/** Throws TypeError, as the others here. */
export function decodeRunInfo(bytes: Buffer): RunInfo {
  const json = decode(bytes)
  const server = fields(json['server'], 'server')
  return {
    server: { version: words(server['version'], 'version'), id: count(server['id'], 'id') },
    began: count(json['began'], 'began'),
    why: words(json['why'], 'why'),
  }
}

export function decodeFileInfo(bytes: Buffer): FileInfo {
  const { name, zone } = decode(bytes)
  if (!isLogName(name)) throw new TypeError('name is no name of a binlog')
  return { name, zone: zone === undefined || zone === null ? null : decodeZone(zone) }
}

export function decodeReached(bytes: Buffer): Reached {
  const json = decode(bytes)
  const n = count(json['n'], 'n')
  if (n < 1 || n > NUMBER_MAX) throw new TypeError('n is no number of a file')
  return {
    n,
    offset: count(json['offset'], 'offset'),
    serverTime: count(json['serverTime'], 'serverTime'),
    at: count(json['at'], 'at'),
  }
}

function decode(bytes: Buffer): Fields {
  const json = fields(JSON.parse(bytes.toString('utf8')), 'it')
  if (json['version'] !== VERSION) throw new TypeError('it is of another version of this program')
  return json
}

function words(value: unknown, name: string): string {
  const said = text(value, name)
  if (said.length > WORDS_MAX) throw new TypeError(`${name} is too long`)
  return said
}

/** All runs, oldest first; also those that are damaged, which is nothing to the others. @throws BackupError DUMP_DAMAGED */
export function readArchive(stateDir: string): ArchiveRun[] {
  return runNumbers(stateDir).flatMap(run => {
    try {
      return readRun(stateDir, run) ?? []
    } catch (error) {
      if (!(error instanceof BackupError) || error.code !== 'DUMP_DAMAGED') throw error
      return damagedRun(stateDir, run, error)
    }
  })
}

const NOBODY: ArchivedServer = { version: '', id: 0 }

function damagedRun(stateDir: string, run: number, damage: BackupError): ArchiveRun {
  const dir = runDir(stateDir, run)
  let info: RunInfo = { server: NOBODY, began: 0, why: `${GAP}${damage.message}` }
  try {
    info = readIfThere(runInfoPath(dir), decodeRunInfo) ?? info
  } catch {
    // it is this that `damage` tells of
  }
  return { ...info, run, dir, files: [], reached: null, damage }
}

/** Oldest first; also of one that is being begun. @throws BackupError DUMP_DAMAGED */
export function runNumbers(stateDir: string): number[] {
  return namesIn(archiveDir(stateDir))
    .filter(name => NUMBER.test(name) && Number(name) > 0)
    .map(Number)
    .sort((a, b) => a - b)
}

/** Undefined: it is being begun, or gone. @throws BackupError DUMP_DAMAGED */
export function readRun(stateDir: string, run: number): ArchiveRun | undefined {
  const dir = runDir(stateDir, run)
  const info = readIfThere(runInfoPath(dir), decodeRunInfo)
  if (!info) return undefined
  const reached = readIfThere(reachedPath(dir), decodeReached) ?? null
  return { ...info, run, dir, reached, files: reached ? promisedFiles(dir, reached) : [], damage: null }
}

/** Of every file up to `reached`; a file that is being let go is none. */
function promisedFiles(dir: string, reached: Reached): ArchiveFile[] {
  const files: ArchiveFile[] = []
  for (const n of fileNumbers(dir)) {
    if (n > reached.n) break
    const path = filePath(dir, n)
    const size = sizeIfThere(path)
    const info = size === undefined ? undefined : readIfThere(fileInfoPath(dir, n), decodeFileInfo)
    if (size === undefined || !info) {
      if (files.length > 0 || n === reached.n) throw damaged(path, 'it is not there')
      continue
    }
    const before = files.at(-1)
    if (before && before.n !== n - 1) throw damaged(filePath(dir, n - 1), 'it is not there')
    if (n === reached.n && size < reached.offset) {
      throw damaged(path, `it has ${size} bytes, and ${reached.offset} were durable`)
    }
    files.push({ n, path, ...info, bytes: n === reached.n ? reached.offset : size })
  }
  if (files.at(-1)?.n !== reached.n) throw damaged(filePath(dir, reached.n), 'it is not there')
  return files
}

/** Of the files that were begun, oldest first. @throws BackupError DUMP_DAMAGED */
export function fileNumbers(dir: string): number[] {
  return namesIn(dir)
    .flatMap(name => FILE_INFO.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b)
}

function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw damaged(dir, reason(error), error)
  }
}

function sizeIfThere(path: string): number | undefined {
  try {
    return statSync(path).size
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw damaged(path, reason(error), error)
  }
}

function readIfThere<T>(path: string, read: (bytes: Buffer) => T): T | undefined {
  try {
    return read(readFileSync(path))
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw damaged(path, error instanceof SyntaxError ? 'it is not JSON' : reason(error), error)
  }
}

function damaged(path: string, why: string, cause?: unknown): BackupError {
  return new BackupError('DUMP_DAMAGED', `read the binlog archive: ${path}: ${why}`, {}, { cause })
}
