/**
 * The dumps that are kept: one directory each, in `<state>/dumps`.
 *
 *   20261121T140310Z/manifest.json 0.zst 1.zst …   whole, durable, never changed
 *   20261121T140310Z/verdict.json                  when it was last read again, and what was found
 *   .incoming-…  .removing-…                       under way; the daemon removes at its start what was left
 *   .reading-…-PID  .using-…-PID                   of a command; removed when that process is no more
 *
 * A dump appears by one rename, when all of it is on the disk, and goes by one.
 */

import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { makeDirectory } from '../../shared/durable-directory.js'
import { BackupError, reason, systemCode } from '../../shared/errors.js'
import { storeError, syncPath, writeDurably } from '../../shared/store/durable-file.js'
import { DUMP_ID, decodeManifest, dumpId, encodeManifest } from './dump-manifest.js'
import type { FileHandle } from 'node:fs/promises'
import type { Dump } from './dump-manifest.js'
import type { DumpOnDisk } from './read-dump.js'

const DIRECTORY = 'dumps'
const MANIFEST = 'manifest.json'
const VERDICT = 'verdict.json'
/** The daemon's own; and a command's, which end with its process id. */
const OURS_UNDER_WAY = /^\.(incoming|removing)-/
const THEIRS_UNDER_WAY = /^\.(?:reading|using)-.*-(\d+)$/
const SAME_SECOND_MAX = 100

/** What reading a dump again has shown. */
export interface Verdict {
  /** Unix ms. */
  readonly at: number
  /** Null: it was whole. */
  readonly damage: string | null
}

export interface KeptDump {
  readonly dump: Dump
  /** Null: not read again since it came, when it was read once. */
  readonly verdict: Verdict | null
}

/** The newest that is whole, by the order of `list`. */
export const newestWhole = (dumps: readonly KeptDump[]): Dump | null =>
  dumps.find(({ verdict }) => !verdict?.damage)?.dump ?? null

export class DumpStore {
  readonly dir: string
  /** Manifests never change. */
  readonly #known = new Map<string, Dump>()

  constructor(
    stateDir: string,
    /** Unix ms. */
    private readonly now: () => number = Date.now,
  ) {
    this.dir = join(stateDir, DIRECTORY)
  }

  /** For the daemon, while it takes no dump: makes the directory, and removes what was under way when that ended. */
  prepare(): void {
    makeDirectory(this.dir, 0o700)
    for (const name of readdirSync(this.dir)) {
      if (isLeftOver(name)) rmSync(join(this.dir, name), { recursive: true, force: true })
    }
  }

  /**
   * Newest first; those of a time that has not come, by a clock that ran ahead, after all others. `broken` has those
   * whose manifest cannot be read.
   */
  list(): { readonly dumps: KeptDump[]; readonly broken: BackupError[] } {
    const dumps: KeptDump[] = []
    const broken: BackupError[] = []
    for (const id of this.#ids()) {
      try {
        dumps.push({ dump: this.read(id), verdict: this.#verdict(id) })
      } catch (error) {
        broken.push(error instanceof BackupError ? error : new BackupError('DUMP_DAMAGED', reason(error)))
      }
    }
    const now = this.now()
    const isAhead = ({ dump }: KeptDump) => Number(dump.askedAt > now)
    dumps.sort((a, b) => isAhead(a) - isAhead(b) || b.dump.askedAt - a.dump.askedAt)
    return { dumps, broken }
  }

  /** The one of this id, or the only one whose id begins so; `latest` is the newest. @throws BackupError DUMP_UNKNOWN */
  find(idOrPrefix: string): Dump {
    const newest = idOrPrefix === 'latest' ? this.list().dumps[0] : undefined
    if (newest) return newest.dump
    const ids = this.#ids()
    const exact = ids.includes(idOrPrefix) ? [idOrPrefix] : ids.filter(id => id.startsWith(idOrPrefix))
    const [id] = exact
    if (id !== undefined && exact.length === 1 && idOrPrefix !== '') return this.read(id)
    const many = exact.length > 1 && idOrPrefix !== ''
    throw new BackupError(
      'DUMP_UNKNOWN',
      `find dump ${JSON.stringify(idOrPrefix.slice(0, 40))}: ${many ? `${exact.length} begin so` : 'there is none here'}`,
      { nextStep: 'list what is kept: seaf-backup-cmd dumps' },
    )
  }

  read(id: string): Dump {
    const known = this.#known.get(id)
    if (known) return known
    let bytes: Buffer
    try {
      bytes = readFileSync(join(this.dir, id, MANIFEST))
    } catch (error) {
      throw new BackupError('DUMP_DAMAGED', `read dump ${id}: ${reason(error)}`, {}, { cause: error })
    }
    const dump = decodeManifest(id, bytes)
    this.#known.set(id, dump)
    return dump
  }

  partPath(id: string, index: number): string {
    return join(this.dir, id, `${index}.zst`)
  }

  onDisk(dump: Dump): DumpOnDisk {
    return { ...dump, dir: join(this.dir, dump.id) }
  }

  /** A place for what is written while a dump is read. Removed with it. */
  scratch(id: string): Disposable & { readonly dir: string } {
    const dir = join(this.dir, `.reading-${id}-${process.pid}`)
    rmSync(dir, { recursive: true, force: true })
    makeDirectory(dir, 0o700)
    return { dir, [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }) }
  }

  /** Its parts, for as long as they are needed, whatever retention does meanwhile. @throws BackupError DUMP_DAMAGED */
  hold(dump: Dump): Disposable & { readonly dir: string } {
    const dir = join(this.dir, `.using-${dump.id}-${process.pid}`)
    rmSync(dir, { recursive: true, force: true })
    makeDirectory(dir, 0o700)
    try {
      for (const index of dump.parts.keys()) linkSync(this.partPath(dump.id, index), join(dir, `${index}.zst`))
    } catch (error) {
      rmSync(dir, { recursive: true, force: true })
      throw new BackupError('DUMP_DAMAGED', `use dump ${dump.id}: ${reason(error)}`, {}, { cause: error })
    }
    return { dir, [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }) }
  }

  /** What is given up in the middle leaves nothing. */
  begin(askedAt: number): IncomingDump {
    const ids = this.#ids()
    for (let attempt = 1; attempt <= SAME_SECOND_MAX; attempt++) {
      const id = dumpId(askedAt, attempt)
      if (ids.includes(id)) continue
      const dir = join(this.dir, `.incoming-${id}`)
      try {
        rmSync(dir, { recursive: true, force: true })
        makeDirectory(dir, 0o700)
      } catch (error) {
        throw storeError(`make ${dir}`, error)
      }
      return new IncomingDump(id, dir, join(this.dir, id))
    }
    throw new Error(`assertion failed: ${SAME_SECOND_MAX} dumps in one second`)
  }

  /** False: it was removed meanwhile. */
  has(id: string): boolean {
    return existsSync(join(this.dir, id, MANIFEST))
  }

  /** Of one that is there; nothing is made for one that is not. */
  async judge(id: string, verdict: Verdict): Promise<void> {
    if (!this.has(id)) return
    await writeDurably(join(this.dir, id, VERDICT), Buffer.from(`${JSON.stringify(verdict)}\n`, 'utf8'))
  }

  remove(id: string): void {
    const going = join(this.dir, `.removing-${id}`)
    try {
      rmSync(going, { recursive: true, force: true })
      renameSync(join(this.dir, id), going)
      const fd = openSync(this.dir, 'r')
      try {
        fsyncSync(fd)
      } finally {
        closeSync(fd)
      }
      rmSync(going, { recursive: true, force: true })
    } catch (error) {
      throw storeError(`remove dump ${id}`, error)
    }
    this.#known.delete(id)
  }

  #ids(): string[] {
    try {
      return readdirSync(this.dir)
        .filter(name => DUMP_ID.test(name))
        .sort()
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return []
      throw new BackupError('DIRECTORY_UNUSABLE', `list ${this.dir}: ${reason(error)}`, {}, { cause: error })
    }
  }

  #verdict(id: string): Verdict | null {
    try {
      const { at, damage } = JSON.parse(readFileSync(join(this.dir, id, VERDICT), 'utf8')) as Record<string, unknown>
      if (typeof at !== 'number' || !(damage === null || typeof damage === 'string')) return null
      return { at, damage }
    } catch (error) {
      const code = systemCode(error)
      // none was made, or a half of one, which says nothing
      if (code === undefined || code === 'ENOENT') return null
      return { at: 0, damage: `what was found of it last cannot be read: ${reason(error)}` }
    }
  }
}

function isLeftOver(name: string): boolean {
  return OURS_UNDER_WAY.test(name) || isOfDeadCommand(name) || processOf(name) === process.pid
}

/** A command made it, which is no more. */
export function isOfDeadCommand(name: string): boolean {
  const pid = processOf(name)
  return pid !== undefined && !isAlive(pid)
}

function processOf(name: string): number | undefined {
  const pid = THEIRS_UNDER_WAY.exec(name)?.[1]
  return pid === undefined ? undefined : Number(pid)
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return systemCode(error) === 'EPERM' // somebody else's
  }
}

/** A dump that comes in: parts, one after the other, then `complete`. Disposed of before that, nothing of it is left. */
export class IncomingDump implements AsyncDisposable {
  #file: FileHandle | undefined
  #parts = 0
  #kept = false

  constructor(
    readonly id: string,
    readonly dir: string,
    private readonly target: string,
  ) {}

  /** What was written to the part before is durable when it resolves. */
  async nextPart(): Promise<void> {
    await this.endPart()
    const path = join(this.dir, `${this.#parts++}.zst`)
    this.#file = await open(path, 'wx', 0o600).catch((error: unknown) => {
      throw storeError(`make ${path}`, error)
    })
  }

  async write(bytes: Buffer): Promise<void> {
    if (!this.#file) throw new Error('assertion failed: bytes of no part')
    try {
      for (let at = 0; at < bytes.byteLength;) at += (await this.#file.write(bytes, at)).bytesWritten
    } catch (error) {
      throw storeError(`write dump ${this.id}`, error)
    }
  }

  async endPart(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    if (!file) return
    try {
      await file.sync()
    } catch (error) {
      throw storeError(`write dump ${this.id}`, error)
    } finally {
      await file.close()
    }
  }

  /** From here on it is kept. */
  async complete(dump: Dump): Promise<void> {
    try {
      writeFileSync(join(this.dir, MANIFEST), encodeManifest(dump), { mode: 0o600, flag: 'wx' })
      await syncPath(join(this.dir, MANIFEST))
      await syncPath(this.dir)
      await rename(this.dir, this.target)
      this.#kept = true
      await syncPath(join(this.target, '..'))
    } catch (error) {
      throw storeError(`keep dump ${this.id}`, error)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file?.close().catch(() => {})
    if (!this.#kept) await rm(this.dir, { recursive: true, force: true })
  }
}
