/**
 * What a library needs and is here already: a copy made by rsync, a disk or a snapshot, all of it under
 * `sync --full`, or when what was remembered is lost.
 *
 * Nothing vouches for any of it. Each object that the frontier expects is read
 * and verified where it lies, and only then believed and followed; what is
 * missing or damaged is asked for by name, a full request at a time. Depth
 * first, so that what waits is bounded by the directories on one path.
 */

import { ASK_OBJECTS } from './object-intake.js'
import type { RepoId } from '../../shared/ids.js'
import type { ObjectReader } from '../../shared/store/object-store.js'
import type { WantedObject } from '../../shared/wire/sync-messages.js'
import type { Frontier } from './frontier.js'
import type { ObjectIntake } from './object-intake.js'

/** Other pulls of this thread wait meanwhile. */
const TURN_MS = 10
/** So many must be lacking before looking is called vain: less is a request or two. */
const VAIN_OBJECTS_MIN = 1_000

export interface OwnObjectsOptions {
  readonly repo: RepoId
  readonly storeId: RepoId
  readonly store: ObjectReader
  readonly frontier: Frontier
  readonly intake: ObjectIntake
  readonly signal: AbortSignal
}

export class OwnObjects implements Disposable {
  readonly #options: OwnObjectsOptions
  /** Expected, and not looked for yet: the newest first. */
  readonly #waiting: WantedObject[]
  #lacking: WantedObject[] = []
  /** Directories and files. */
  readonly #fs = { found: 0, lacked: 0 }
  #turnEndsAt = 0

  constructor(options: OwnObjectsOptions) {
    this.#options = options
    this.#waiting = options.frontier.outstanding()
    options.frontier.watch(wanted => this.#waiting.push(wanted))
  }

  /** More was lacking so far than was here: one stream of all is quicker then than asking by name, level by level. */
  get inVain(): boolean {
    return this.#fs.lacked >= VAIN_OBJECTS_MIN && this.#fs.lacked > this.#fs.found
  }

  /** Looks for all that is expected and asks for what fills a request; less may be lacking when it resolves. Ends early in vain. */
  async look(): Promise<void> {
    while (!this.inVain) {
      const next = this.#waiting.pop()
      if (!next) return
      await this.#lookFor(next)
      if (this.#lacking.length >= ASK_OBJECTS && !this.inVain) await this.#ask()
      if (performance.now() >= this.#turnEndsAt) await this.#nextTurn()
    }
  }

  /** Resolves when all that was expected is here, given up, or, of blocks, on its way. Ends early in vain. */
  async settle(): Promise<void> {
    for (;;) {
      await this.look()
      if (this.inVain || this.#lacking.length === 0) return
      await this.#ask()
    }
  }

  /** What is still to be looked for is expected on, and comes in other ways. */
  [Symbol.dispose](): void {
    this.#options.frontier.watch(undefined)
  }

  async #lookFor({ kind, id }: WantedObject): Promise<void> {
    const { repo, storeId, store, frontier, intake } = this.#options
    if (!frontier.expects(kind, id)) return
    const read = await store.read({ kind, storeId: kind === 'commits' ? repo : storeId, id })
    if (kind === 'fs') this.#fs[read.state === 'whole' ? 'found' : 'lacked'] += 1
    if (read.state === 'whole') return intake.found(read.object)
    if (kind === 'blocks') return intake.blockRef({ id, size: 0 }) // fetched while the rest is looked for
    this.#lacking.push({ kind, id })
  }

  async #ask(): Promise<void> {
    const lacking = this.#lacking
    this.#lacking = []
    await this.#options.intake.askFor(lacking)
  }

  async #nextTurn(): Promise<void> {
    await new Promise<void>(resolve => setImmediate(resolve))
    this.#options.signal.throwIfAborted()
    this.#turnEndsAt = performance.now() + TURN_MS
  }
}
