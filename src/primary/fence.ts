/**
 * Our backup was promoted: another host serves what this one served. From then on nobody is given anything from here, so
 * that no second backup follows a server that is none any more; the administrator is told until somebody acts.
 */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { BackupError } from '../shared/errors.js'
import { writeDurably } from '../shared/store/durable-file.js'
import type { Log } from '../shared/log.js'

const FILE = 'fenced.json'

export class Fence {
  readonly #file: string
  #up: boolean

  constructor(
    stateDir: string,
    private readonly log: Log,
  ) {
    this.#file = join(stateDir, FILE)
    this.#up = existsSync(this.#file)
    if (this.#up) this.#say('it was said before')
  }

  /** Durable when it resolves; also after a restart it is up. */
  async raise(why: string): Promise<void> {
    if (this.#up) return
    await writeDurably(this.#file, Buffer.from(`${JSON.stringify({ at: new Date().toISOString(), why })}\n`, 'utf8'))
    this.#up = true
    this.#say(why)
  }

  /** @throws BackupError PROMOTED */
  expectDown(): void {
    if (!this.#up) return
    throw new BackupError('PROMOTED', 'answer: the backup of this server was promoted in its place')
  }

  #say(why: string): void {
    const nextStep = `stop Seafile on this host for good; if the promotion was undone, remove ${this.#file} and restart the agent`
    this.log.error(
      { code: 'PROMOTED', reason: why, nextStep },
      'the backup was promoted: this host is no primary any more',
    )
  }
}
