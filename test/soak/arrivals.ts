/** How long each commit took to be the head on the backup, read from its database every few milliseconds. */

import { setTimeout as delay } from 'node:timers/promises'
import { openCatalogReader } from '../../src/shared/catalog/open-catalog.js'
import { silentLog } from '../../src/shared/log.js'
import { never } from '../support/pair.js'
import type { DatabaseConfig } from '../../src/shared/catalog/database-config.js'
import type { RepoId } from '../../src/shared/ids.js'

const LOOK_EVERY_MS = 10
const GIVEN_UP_AFTER_MS = 600_000

interface Expected {
  readonly head: string
  readonly at: number
}

export class Arrivals implements AsyncDisposable {
  /** Of each library the commits that are not there yet, oldest first. */
  readonly #expected = new Map<RepoId, Expected[]>()
  readonly #looking: Promise<void>
  #stopped = false
  #disturbedAt = -Infinity
  /** The victim of the last kill runs again. Infinity: not yet. */
  #mendedAt = -Infinity
  /** All of before that were here. */
  #calmSince = -Infinity
  #times: number[] = []
  #recoveries: number[] = []

  constructor(private readonly database: DatabaseConfig) {
    this.#looking = this.#look()
  }

  expect(repo: RepoId, head: string, at: number): void {
    const waiting = this.#expected.get(repo)
    if (waiting) waiting.push({ head, at })
    else this.#expected.set(repo, [{ head, at }])
  }

  /** Something was killed: until all commits of before `mended` are there, it is recovery that is timed. */
  disturbed(): void {
    this.#disturbedAt = performance.now()
    this.#mendedAt = Infinity
  }

  mended(): void {
    this.#mendedAt = performance.now()
  }

  /** Milliseconds of the undisturbed commits, and of each recovery, since the last call. */
  take(): { readonly times: readonly number[]; readonly recoveries: readonly number[] } {
    const taken = { times: this.#times, recoveries: this.#recoveries }
    this.#times = []
    this.#recoveries = []
    return taken
  }

  async all(): Promise<void> {
    const end = performance.now() + GIVEN_UP_AFTER_MS
    while (this.#expected.size > 0) {
      if (performance.now() > end) throw new Error(`${this.#expected.size} libraries never got their last head`)
      await delay(LOOK_EVERY_MS)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true
    await this.#looking
  }

  async #look(): Promise<void> {
    while (!this.#stopped) {
      try {
        await using reader = await openCatalogReader(this.database, silentLog)
        while (!this.#stopped) {
          this.#compare(await reader.heads(never))
          await delay(LOOK_EVERY_MS)
        }
      } catch {
        await delay(100) // its server was killed: on purpose
      }
    }
  }

  #compare(heads: ReadonlyMap<RepoId, string>): void {
    const now = performance.now()
    for (const [repo, waiting] of this.#expected) {
      const arrived = waiting.findIndex(({ head }) => head === heads.get(repo)) + 1
      for (const { at } of waiting.splice(0, arrived))
        if (this.#isCalm && at > this.#calmSince) this.#times.push(now - at)
      if (waiting.length === 0) this.#expected.delete(repo)
    }
    const oldest = Math.min(...[...this.#expected.values()].map(waiting => waiting[0]?.at ?? Infinity))
    if (this.#isCalm || now <= this.#mendedAt || oldest <= this.#mendedAt) return
    this.#recoveries.push(now - this.#disturbedAt)
    this.#calmSince = now
  }

  get #isCalm(): boolean {
    return this.#calmSince >= this.#mendedAt
  }
}
