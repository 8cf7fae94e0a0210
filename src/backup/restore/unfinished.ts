/**
 * What a restore builds until it has its name: `DIR.partial`, with a note in it that says that it is one, and which
 * databases were made for it on which server. A run after one that was killed takes up that and nothing else.
 */

import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { BackupError, reason } from '../../shared/errors.js'
import { storeError, syncPath, targetAt, writeDurably } from '../../shared/store/durable-file.js'
import { fields, list, text } from '../../shared/wire/json-fields.js'

const NOTE = 'unfinished.json'
const DATA = 'seafile-data'
/** Objects are named by what is in them: those that are there are read, verified and kept. */
const OBJECTS = 'storage'

/** Databases that were not there before. `server`: its address. */
export interface MadeOn {
  readonly server: string
  readonly databases: readonly string[]
}

export class Unfinished {
  readonly dir: string
  readonly dataDir: string

  /** Reads alone. `to`: absolute. @throws BackupError TARGET_EXISTS for what no restore has left there */
  constructor(private readonly to: string) {
    this.dir = `${to}.partial`
    this.dataDir = join(this.dir, DATA)
    const there = targetAt(this.dir)
    if (!there) return
    if (!there.isDirectory() || (readdirSync(this.dir).length > 0 && !this.#isNoted())) throw this.#notOurs()
  }

  #isNoted(): boolean {
    return existsSync(join(this.dir, NOTE))
  }

  #notOurs(): BackupError {
    const nextStep = 'name another directory, or move that one out of the way'
    const why = 'it is built in that directory, and what is there is not of a restore'
    return new BackupError('TARGET_EXISTS', `restore to ${this.to}: ${this.dir} is there: ${why}`, { nextStep })
  }

  /** Noted before they are made. Null: none are. */
  get made(): MadeOn | null {
    if (!this.#isNoted()) return null
    const file = join(this.dir, NOTE)
    try {
      const text = readFileSync(file, 'utf8')
      return text === '' ? null : decoded(JSON.parse(text))
    } catch (error) {
      throw new BackupError('TARGET_EXISTS', `read ${file}, which a restore has left: ${reason(error)}`, {
        nextStep: `remove ${this.dir}, and the databases that the restore has made`,
      })
    }
  }

  /** When it resolves, the note survives a power cut. */
  async note(made: MadeOn): Promise<void> {
    try {
      await writeDurably(join(this.dir, NOTE), Buffer.from(`${JSON.stringify(made)}\n`, 'utf8'))
    } catch (error) {
      throw storeError(`write ${NOTE} in ${this.dir}`, error)
    }
  }

  /**
   * Those that a run before has made on this server; they are ours to make anew. `server`: null for none.
   * @throws BackupError TARGET_EXISTS: it has made some elsewhere, which would be left there
   */
  madeOn(server: string | null): readonly string[] {
    const { made } = this
    if (made === null || made.databases.length === 0) return []
    if (made.server === server) return made.databases
    const names = made.databases.join(', ')
    const why = `a restore that was not finished has made ${names} on the server at ${made.server}`
    const nextStep = `name that server again, or drop these databases there and remove ${this.dir}`
    throw new BackupError('TARGET_EXISTS', `restore to ${this.to}: ${why}`, { nextStep })
  }

  /** Of a run before nothing stays but objects: its tables may be half written, of another dump, or not wanted now. */
  begin(): void {
    mkdirSync(this.dir, { recursive: true, mode: 0o755 })
    if (!this.#isNoted()) writeFileSync(join(this.dir, NOTE), '') // that it is there says it
    clear(this.dir, [NOTE, DATA])
    mkdirSync(this.dataDir, { recursive: true, mode: 0o755 })
    clear(this.dataDir, [OBJECTS])
  }

  /** All is in it. */
  async finish(): Promise<void> {
    await syncPath(this.dir)
    renameSync(this.dir, this.to)
    rmSync(join(this.to, NOTE))
    await syncPath(this.to)
    await syncPath(dirname(this.to))
  }
}

function decoded(json: unknown): MadeOn {
  const made = fields(json, 'it')
  return {
    server: text(made['server'], 'server'),
    databases: list(made['databases'], 'databases', name => text(name, 'databases')),
  }
}

function clear(dir: string, kept: readonly string[]): void {
  for (const name of readdirSync(dir)) if (!kept.includes(name)) rmSync(join(dir, name), { recursive: true })
}
