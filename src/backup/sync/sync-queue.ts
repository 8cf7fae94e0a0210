/**
 * Libraries waiting for a sync: each at most once, and never two syncs of one library at a time.
 *
 * Two lanes: what an event or a person asked for goes before first-time
 * backfill. Backfill may hold at most its own share of the places, so that a
 * fresh event never waits for a giant first copy to end.
 */

import type { RepoId } from '../../shared/ids.js'

export type Lane = 'now' | 'backfill'

export interface Lease extends Disposable {
  readonly repo: RepoId
  readonly lane: Lane
}

export class SyncQueue {
  /** A Set keeps the order of arrival. */
  readonly #waiting: Record<Lane, Set<RepoId>> = { now: new Set(), backfill: new Set() }
  readonly #taken = new Map<RepoId, Lane>()
  #backfilling = 0

  /** `places`: how many syncs may run at once, and how many of them may be backfill. Read at each `take`: they may change. */
  constructor(private readonly places: { readonly all: number; readonly backfill: number }) {}

  get depth(): number {
    return this.#waiting.now.size + this.#waiting.backfill.size
  }

  get running(): number {
    return this.#taken.size
  }

  has(repo: RepoId): boolean {
    return this.#waiting.now.has(repo) || this.#waiting.backfill.has(repo) || this.#taken.has(repo)
  }

  /** Once more if it is being synced: what changed during a sync may not be in it. */
  offer(repo: RepoId, lane: Lane): void {
    if (lane === 'now') {
      this.#waiting.backfill.delete(repo)
      this.#waiting.now.add(repo)
    } else if (!this.#waiting.now.has(repo)) this.#waiting.backfill.add(repo)
  }

  /** The next library that nobody is syncing. Disposing the lease lets it be taken again. */
  take(): Lease | undefined {
    if (this.#taken.size >= this.places.all) return undefined
    return this.#takeFrom('now') ?? (this.#backfilling < this.places.backfill ? this.#takeFrom('backfill') : undefined)
  }

  #takeFrom(lane: Lane): Lease | undefined {
    for (const repo of this.#waiting[lane]) {
      if (this.#taken.has(repo)) continue
      this.#waiting[lane].delete(repo)
      this.#taken.set(repo, lane)
      if (lane === 'backfill') this.#backfilling += 1
      return { repo, lane, [Symbol.dispose]: () => this.#release(repo, lane) }
    }
    return undefined
  }

  #release(repo: RepoId, lane: Lane): void {
    if (!this.#taken.delete(repo)) return // given back before
    if (lane === 'backfill') this.#backfilling -= 1
  }
}
