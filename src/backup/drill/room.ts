/**
 * Room on the disk for a drill: syncing must not run out of it for a rehearsal.
 *
 * How much a drill will write nobody knows before: of history and of what is shared nothing is counted. So it begins when
 * the latest states would fit, and ends where it would come to what must stay free.
 */

import { statfsSync } from 'node:fs'
import { BackupError } from '../../shared/errors.js'
import { PromotionStates } from '../state/promotion-states.js'

/** Stays free, whatever it comes to. */
const RESERVE_BYTES = 2 * 1024 ** 3
/** Of what the latest states have. */
const FACTOR = 1.5
/** Tables grow without a word of progress. */
const LOOK_MS = 1_000

export class DrillRoom implements Disposable {
  readonly #full = new AbortController()
  readonly #timer: NodeJS.Timeout
  #problem: BackupError | undefined

  /** `dir`: where it is made. @throws BackupError STORE_FULL: it would not end */
  constructor(
    stateDir: string,
    private readonly dir: string,
  ) {
    using states = new PromotionStates(stateDir)
    const wanted = states.bytes() * FACTOR + RESERVE_BYTES
    const free = this.#free()
    if (free < wanted)
      throw new BackupError(
        'STORE_FULL',
        `make room for the drill in ${dir}: it may need ${gib(wanted)} GiB, and ${gib(free)} are free`,
      )
    this.#timer = setInterval(() => this.#look(), LOOK_MS)
  }

  /** Aborted when there is no more. */
  get signal(): AbortSignal {
    return this.#full.signal
  }

  /** Why the signal was aborted. */
  get problem(): BackupError | undefined {
    return this.#problem
  }

  /** As often as something was written. @throws BackupError STORE_FULL */
  expectMore(): void {
    this.#look()
    if (this.#problem) throw this.#problem
  }

  #look(): void {
    const free = this.#free()
    if (free >= RESERVE_BYTES || this.#problem) return
    const why = `${gib(free)} GiB are free, and ${gib(RESERVE_BYTES)} must stay so for syncing`
    this.#problem = new BackupError('STORE_FULL', `go on with the drill in ${this.dir}: ${why}: it was given up`)
    this.#full.abort()
  }

  #free(): number {
    const { bavail, bsize } = statfsSync(this.dir)
    return bavail * bsize
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }
}

const gib = (bytes: number): string => (bytes / 1024 ** 3).toFixed(1)
