/**
 * Until when all that the primary had was heard of: the one thing that a backup whose primary is gone cannot find out
 * anew. Written at most once a sweep, whether it succeeded or not, and at the end.
 */

import { asBackupError } from '../../shared/errors.js'
import { stateError } from './state-db.js'
import type { Database, Statement } from 'better-sqlite3'
import type { Log } from '../../shared/log.js'

export class Contact implements Disposable {
  readonly #write: Statement
  /** Unix ms, as it is written; null: nothing is. */
  #last: number | null
  readonly #sources: (() => number | undefined)[] = []
  /** performance.now() of what was written last. */
  #noted = -Infinity
  #said = ''

  constructor(
    db: Database,
    private readonly log: Log,
  ) {
    this.#write = db.prepare('INSERT OR REPLACE INTO contact (only, at) VALUES (1, ?)')
    this.#last = (db.prepare('SELECT at FROM contact').pluck().get() as number | undefined) ?? null
  }

  /** Unix ms; null: never, as far as was noted. */
  get until(): number | null {
    const until = this.#until()
    return until > this.#noted ? asDate(until) : this.#last
  }

  /** What it is known by: performance.now(); undefined: by nothing since the start. */
  knownBy(source: () => number | undefined): void {
    this.#sources.push(source)
  }

  /** A disk that fails is said once, and tried again. */
  note(): void {
    const until = this.#until()
    if (until <= this.#noted) return
    const at = asDate(until)
    try {
      this.#write.run(at)
      this.#last = at
      this.#noted = until
      this.#said = ''
    } catch (error) {
      const { code, message } = asBackupError(stateError('note when the primary was last heard', error))
      if (message !== this.#said)
        this.log.warn({ code, reason: message }, 'that the primary was heard could not be noted')
      this.#said = message
    }
  }

  [Symbol.dispose](): void {
    this.note()
  }

  #until(): number {
    return Math.max(-Infinity, ...this.#sources.map(source => source() ?? -Infinity))
  }
}

const asDate = (until: number): number => Math.round(Date.now() - (performance.now() - until))
