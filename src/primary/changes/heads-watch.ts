/**
 * All heads at once, compared with those seen before: behind every fast source, and the only one where there is none.
 */

import { asBackupError, isAbort } from '../../shared/errors.js'
import { Bell, backoffMs, sleep } from '../../shared/timing.js'
import type { CatalogReader } from '../../shared/catalog/catalog.js'
import type { CommitId, RepoId } from '../../shared/ids.js'
import type { ChangeSink } from './change-source.js'

/** Rows without commits (owner, history limit, name) change seldom, and reading all of them costs more. */
const ROWS_EVERY_MS = 60_000
const RETRY = { first: 250, max: 10_000 }
/** A commit can become visible just after its event: one more look, so much later. */
const TRAILING_MS = 40
/**
 * Looking takes at most this share of the time: of a hundred thousand libraries one look takes most of a second. Waiting
 * for the lock of a server that is writing is no looking: while its disk is slow, the next commits would be passed by.
 */
const LOOKING_SHARE_MAX = 0.2
const LONG_LOOK_MS = 20

export class HeadsWatch {
  #heads: ReadonlyMap<RepoId, CommitId> | undefined
  #digests: ReadonlyMap<RepoId, string> | undefined
  /** Of the database, before the heads were read last; before the rows were. */
  #headsVersion: string | null = null
  #rowsVersion: string | null = null
  #lookedMs = 0

  constructor(
    private readonly reader: CatalogReader,
    private readonly sink: ChangeSink,
  ) {}

  /** Since this was asked last: what looking took, without waiting for who holds the database. */
  takeLookedMs(): number {
    const ms = this.#lookedMs
    this.#lookedMs = 0
    return ms
  }

  /** One query, none where nobody has committed. The first look only learns what is there; `false`: it was the first. */
  async look(signal: AbortSignal): Promise<boolean> {
    const version = await this.reader.version(signal) // here a lock is waited for
    return this.#timed(() => this.#compareHeads(version, signal))
  }

  async #compareHeads(version: string | null, signal: AbortSignal): Promise<boolean> {
    const before = this.#heads
    const changed = version === null || version !== this.#headsVersion
    const heads = before && !changed ? before : await this.reader.heads(signal)
    this.#headsVersion = version
    this.#heads = heads
    this.sink.position(`heads ${new Date().toISOString()}`)
    if (heads === before) return true
    if (!before) return false
    for (const [repo, head] of heads) if (before.get(repo) !== head) this.sink.changed({ repo, head })
    for (const repo of before.keys()) if (!heads.has(repo)) this.sink.changed({ repo, head: null })
    return true
  }

  /** All rows of all libraries, by digest. */
  async lookAtRows(signal: AbortSignal): Promise<void> {
    const version = await this.reader.version(signal)
    if (version !== null && version === this.#rowsVersion) return
    await this.#timed(() => this.#compareRows(version, signal))
  }

  async #compareRows(version: string | null, signal: AbortSignal): Promise<void> {
    const listing = await this.reader.listing(signal)
    const before = this.#digests
    this.#rowsVersion = version
    this.#digests = new Map(listing.map(({ repo, digest }) => [repo, digest]))
    if (!before) return
    for (const { repo, digest } of listing) if (before.get(repo) !== digest) this.sink.changed({ repo, head: null })
  }

  async #timed<T>(look: () => Promise<T>): Promise<T> {
    const from = performance.now()
    try {
      return await look()
    } finally {
      this.#lookedMs += performance.now() - from
    }
  }
}

export interface WatchLoop {
  readonly watch: HeadsWatch
  /** Rung when something may have changed. */
  readonly bell: Bell
  /** Without a ring, look anyway after so long. */
  readonly everyMs: number
  readonly sink: ChangeSink
  /** Says that it cannot look, and that it can again; not wanted behind a source that speaks for itself. */
  readonly reports: boolean
}

/** Looks at each ring and at each interval until aborted. A database that is down is waited for. */
export async function watchForever(
  { watch, bell, everyMs, sink, reports }: WatchLoop,
  signal: AbortSignal,
): Promise<void> {
  let rowsAt = -Infinity
  let failures = 0
  let wait = 0
  for (;;) {
    const rung = await bell.wait(wait, signal)
    try {
      const compared = await watch.look(signal)
      // told of a change before there was anything to compare with: which one it was is not known
      if (rung && !compared) sink.allMayHaveChanged()
      if (performance.now() - rowsAt >= ROWS_EVERY_MS) {
        rowsAt = performance.now()
        await watch.lookAtRows(signal)
      }
      if (failures > 0 && reports) sink.restored()
      failures = 0
      wait = rung ? Math.min(TRAILING_MS, everyMs) : everyMs
      const took = watch.takeLookedMs()
      if (took > LONG_LOOK_MS) await sleep(took / LOOKING_SHARE_MAX - took, signal)
    } catch (error) {
      if (isAbort(error) && signal.aborted) throw error
      if (reports) sink.degraded(`heads cannot be read: ${asBackupError(error).message}`)
      wait = backoffMs(failures++, RETRY)
    }
  }
}
