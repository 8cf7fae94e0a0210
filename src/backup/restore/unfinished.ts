/**
 * What a restore builds until it has its name: `DIR.partial`, with a note in it that says that it is one. A run after one
 * that was killed takes up that and nothing else.
 */

import { existsSync, lstatSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { BackupError } from '../../shared/errors.js'
import { syncPath } from '../../shared/store/durable-file.js'

const NOTE = 'unfinished.json'
const DATA = 'seafile-data'
/** Objects are named by what is in them: those that are there are read, verified and kept. */
const OBJECTS = 'storage'

export class Unfinished {
  readonly dir: string
  readonly dataDir: string

  /** Reads alone. `to`: absolute. @throws BackupError TARGET_EXISTS for what no restore has left there */
  constructor(private readonly to: string) {
    this.dir = `${to}.partial`
    this.dataDir = join(this.dir, DATA)
    const there = lstatSync(this.dir, { throwIfNoEntry: false })
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

function clear(dir: string, kept: readonly string[]): void {
  for (const name of readdirSync(dir)) if (!kept.includes(name)) rmSync(join(dir, name), { recursive: true })
}
