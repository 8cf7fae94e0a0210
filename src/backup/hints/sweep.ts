/**
 * Comparing every head: the one thing that finds what all hints have lost.
 *
 * At start, every `sync_poll_interval`, and at once after an agent connected,
 * disconnected, or one of its messages was lost. Costs one listing, O(libraries); no object is
 * touched. Reports what is gone from the primary, never deletes it.
 */

import { asBackupError, isAbort } from '../../shared/errors.js'
import { startLoop } from '../../shared/lifecycle.js'
import { Bell, backoffMs } from '../../shared/timing.js'
import { isBehind } from '../state/library-state.js'
import type { LibraryListing } from '../../shared/catalog/catalog.js'
import type { Log } from '../../shared/log.js'
import type { Contact } from '../state/contact.js'
import type { Library, LibraryStates } from '../state/library-state.js'
import type { PrimaryClient } from '../sync/primary-client.js'
import type { SyncEngine } from '../sync/sync-engine.js'

const RETRY = { first: 1_000, max: 60_000 }

export interface SweepOptions {
  readonly client: PrimaryClient
  readonly states: LibraryStates
  readonly engine: SyncEngine
  readonly intervalMs: number
  readonly log: Log
  readonly contact: Contact
  readonly onDeath: (error: unknown) => void
}

export class Sweep implements AsyncDisposable {
  readonly #options: SweepOptions
  readonly #bell: Bell
  readonly #loop: AsyncDisposable
  readonly #waiters: { resolve: () => void; reject: (error: unknown) => void }[] = []
  #succeededAt: number | undefined
  #owedSince: number | undefined

  constructor(options: SweepOptions) {
    this.#options = options
    this.#bell = options.engine.lineBroke
    this.#bell.ring()
    this.#loop = startLoop(signal => this.#run(signal), options.onDeath)
  }

  /** performance.now() when the last successful sweep asked; undefined: none since the start. */
  get succeededAt(): number | undefined {
    return this.#succeededAt
  }

  /** performance.now() when the first attempt since the last success began: it fails, hangs or is under way. */
  get owedSince(): number | undefined {
    return this.#owedSince
  }

  get intervalMs(): number {
    return this.#options.intervalMs
  }

  /** As soon as possible; does not wait. */
  ring(): void {
    this.#bell.ring()
  }

  /** Sweeps and waits for it. Rejects with why it could not. */
  now(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const stop = () => reject(signal.reason as Error)
      if (signal.aborted) return stop()
      signal.addEventListener('abort', stop, { once: true })
      const settle = () => signal.removeEventListener('abort', stop)
      this.#waiters.push({
        resolve: () => (settle(), resolve()),
        reject: error => (settle(), reject(asBackupError(error))),
      })
      this.#bell.ring()
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#loop[Symbol.asyncDispose]()
  }

  async #run(signal: AbortSignal): Promise<void> {
    let wait = 0
    let failures = 0
    let lastReason = ''
    for (;;) {
      await this.#bell.wait(wait, signal)
      const waiters = this.#waiters.splice(0)
      try {
        await this.#sweep(signal)
        for (const { resolve } of waiters) resolve()
        wait = this.#options.intervalMs
        failures = 0
        lastReason = ''
      } catch (error) {
        for (const { reject } of waiters) reject(error)
        if (isAbort(error) && signal.aborted) throw error
        const problem = asBackupError(error)
        this.#options.engine.setLine(problem)
        if (problem.message !== lastReason) {
          this.#options.log.warn({ code: problem.code, reason: problem.message }, 'sweep did not finish; trying again')
        }
        lastReason = problem.message
        wait = Math.min(this.#options.intervalMs, backoffMs(failures++, RETRY))
      }
      this.#options.contact.note()
    }
  }

  async #sweep(signal: AbortSignal): Promise<void> {
    const { client, states, engine, log } = this.#options
    const askedAt = performance.now()
    this.#owedSince ??= askedAt
    const listing = await client.listing(signal)
    this.#succeededAt = askedAt
    this.#owedSince = undefined
    engine.setLine(undefined)
    let offered = 0
    for (const entry of listing) {
      const library = states.listed(entry, askedAt)
      if (waitsForRetry(library) || !(wantsSync(library) || disagrees(entry, library))) continue
      offered += 1
      engine.offer(entry.repo, 'backfill', 'sweep')
    }
    let gone = 0
    for (const library of states.all()) {
      if ((library.heardAt ?? -1) >= askedAt) continue // it was listed, or heard of since
      if (!library.deleted) gone += 1
      states.gone(library)
    }
    const ms = Math.round(performance.now() - askedAt)
    log.info({ libraries: listing.length, offered, gone, ms }, 'swept')
  }
}

/** It failed a moment ago and comes back by itself: a sweep must not hurry it. */
const waitsForRetry = (library: Library): boolean => (library.failure?.retryAt ?? -1) > performance.now()

/** Behind, failed, or with holes that the primary may be able to fill by now. */
const wantsSync = (library: Library): boolean =>
  isBehind(library) || library.failure !== null || library.head === null || library.holes.length > 0

/** What was heard of it while the listing was under way may be older or newer than the listing: a sync will tell. */
const disagrees = (entry: LibraryListing, library: Library): boolean =>
  entry.head !== library.head || entry.digest !== library.digest
