/** Where in the binlog we were, saved so that a restart goes on there and misses nothing. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { randomInt } from 'node:crypto'
import { systemCode } from '../../shared/errors.js'
import { writeDurably } from '../../shared/store/durable-file.js'
import type { BinlogPosition } from '../../shared/binlog-events.js'

interface Saved {
  readonly serverId: number
  readonly position: BinlogPosition | null
}

const FILE = 'binlog-position.json'
/** A replica's server id must be nobody else's: people give theirs small numbers. */
const SERVER_ID = { min: 0x40000000, max: 0x7fffffff }

export class SavedPosition {
  #saved: Saved

  private constructor(
    private readonly path: string,
    saved: Saved,
  ) {
    this.#saved = saved
  }

  static async load(stateDir: string): Promise<SavedPosition> {
    const path = join(stateDir, FILE)
    return new SavedPosition(
      path,
      parse(await readIfThere(path)) ?? { serverId: randomInt(SERVER_ID.min, SERVER_ID.max), position: null },
    )
  }

  get serverId(): number {
    return this.#saved.serverId
  }

  get position(): BinlogPosition | null {
    return this.#saved.position
  }

  async save(position: BinlogPosition): Promise<void> {
    const { file, offset } = this.#saved.position ?? {}
    if (file === position.file && offset === position.offset) return
    const saved = { serverId: this.#saved.serverId, position }
    await writeDurably(this.path, Buffer.from(JSON.stringify(saved)))
    this.#saved = saved
  }
}

export function isBefore(a: BinlogPosition, b: BinlogPosition): boolean {
  if (a.file !== b.file) return a.file.length !== b.file.length ? a.file.length < b.file.length : a.file < b.file
  return a.offset < b.offset
}

/** A file that cannot be understood is as good as none: then everything is looked at once. */
function parse(text: string | undefined): Saved | undefined {
  try {
    const { serverId, position } = JSON.parse(text ?? '') as Saved
    if (!Number.isInteger(serverId) || serverId < SERVER_ID.min || serverId > SERVER_ID.max) return undefined
    const whole = typeof position?.file === 'string' && Number.isSafeInteger(position.offset) && position.offset >= 0
    return { serverId, position: whole ? position : null }
  } catch {
    return undefined
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}
