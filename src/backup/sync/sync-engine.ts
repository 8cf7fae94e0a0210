/**
 * Who syncs what, when: takes libraries from the queue, runs them, decides what a failure means.
 *
 * The only place that catches what a sync throws. A failure of the line (the
 * primary is away, the token is wrong) stops the taking until the sweep gets
 * through again; any other belongs to its library: tried again with backoff,
 * or left to the operator and the next sweep.
 */

import { BackupError, asBackupError, isAbort, reason } from '../../shared/errors.js'
import { startLoop } from '../../shared/lifecycle.js'
import { Bell, backoffMs } from '../../shared/timing.js'
import { syncLibrary } from './library-sync.js'
import { Enclosures } from './enclosures.js'
import { SyncQueue } from './sync-queue.js'
import type { ErrorCode } from '../../shared/errors.js'
import type { RepoId } from '../../shared/ids.js'
import type { SyncProgress } from '../../shared/wire/control-messages.js'
import type { Cause, Library } from '../state/library-state.js'
import type { SyncParts } from './library-sync.js'
import type { Lane, Lease } from './sync-queue.js'

const RETRY = { first: 500, max: 5 * 60_000 }
/** These heal within moments: the next attempt sees the new state. */
const RETRY_SOON = { first: 100, max: 10_000 }
const SOON: ReadonlySet<ErrorCode> = new Set(['PRIMARY_CHANGED', 'HEAD_CONFLICT'])
const IDLE_MS = 1_000
/**
 * A binlog event can reach us a moment before the commit that it tells of can be read. A sync that did not find the
 * head it was told of looks again, so much later each time; then the head was passed by, and its successor is told too.
 */
const LOOK_AGAIN_MS = [10, 20, 40, 80, 160, 320, 640, 1_280]

/** Failures of the line, not of a library. */
export const LINE_CODES: ReadonlySet<ErrorCode> = new Set([
  'PRIMARY_UNREACHABLE',
  'TOKEN_MISMATCH',
  'CLOCK_SKEW',
  'PROTOCOL_VERSION',
])

interface Waiter {
  readonly force: boolean
  readonly full: boolean
  readonly onProgress: (progress: SyncProgress) => void
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export interface EngineOptions extends SyncParts {
  readonly onDeath: (error: unknown) => void
}

export class SyncEngine implements AsyncDisposable {
  readonly #options: EngineOptions
  readonly #queue: SyncQueue
  readonly #bell = new Bell()
  readonly #causes = new Map<RepoId, Cause>()
  readonly #waiters = new Map<RepoId, Waiter[]>()
  /** Libraries to be offered again, and when (performance.now()). */
  readonly #later = new Map<Library, number>()
  readonly #enclosures = new Enclosures()
  readonly #running = new Set<Promise<void>>()
  readonly #loop: AsyncDisposable
  #line: BackupError | undefined
  /** Rung when the line breaks: the sweep probes it. */
  readonly lineBroke = new Bell()

  constructor(options: EngineOptions) {
    this.#options = options
    this.#queue = new SyncQueue(options.pool.places)
    this.#loop = startLoop(signal => this.#run(signal), options.onDeath)
  }

  get backlog(): number {
    return this.#queue.depth
  }

  /** Waiting, or being synced. */
  has(repo: RepoId): boolean {
    return this.#queue.has(repo)
  }

  /** Why nothing is being pulled; undefined: the line is good, as far as is known. */
  get line(): BackupError | undefined {
    return this.#line
  }

  /** The sweep got through (undefined) or did not. */
  setLine(problem: BackupError | undefined): void {
    this.#line = problem
    if (!problem) this.#bell.ring()
  }

  offer(repo: RepoId, lane: Lane, cause: Cause): void {
    this.#causes.set(repo, this.#causes.get(repo) === 'push' ? 'push' : cause)
    this.#queue.offer(repo, lane)
    this.#bell.ring()
  }

  /** Asks for a sync and waits for the end of one that began after the request. Rejects with why the library is not synchronized. */
  request(
    repo: RepoId,
    order: { force: boolean; full: boolean; onProgress: (p: SyncProgress) => void },
    signal: AbortSignal,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const stop = () => reject(signal.reason as Error)
      if (signal.aborted) return stop()
      signal.addEventListener('abort', stop, { once: true })
      const settle = () => signal.removeEventListener('abort', stop)
      const waiter: Waiter = {
        ...order,
        resolve: () => (settle(), resolve()),
        reject: error => (settle(), reject(error instanceof Error ? error : new Error(String(error)))),
      }
      this.#waiters.set(repo, [...(this.#waiters.get(repo) ?? []), waiter])
      this.offer(repo, 'now', order.force ? 'forced' : 'manual')
    })
  }

  /** An event told of this library, just now, and may have brought what it lacks. */
  announced(library: Library, enclosed: Buffer | null): void {
    this.#enclosures.put(library, enclosed)
    this.offer(library.repo, 'now', 'push')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#loop[Symbol.asyncDispose]()
    const stopping = new BackupError('STOPPING', 'the daemon is stopping')
    for (const waiters of this.#waiters.values()) for (const waiter of waiters) waiter.reject(stopping)
  }

  async #run(signal: AbortSignal): Promise<void> {
    try {
      while (!signal.aborted) {
        const nextDue = this.#offerDue()
        for (let lease = this.#next(); lease; lease = this.#next()) this.#start(lease, signal)
        await this.#bell.wait(nextDue, signal)
      }
    } finally {
      await Promise.all(this.#running)
    }
  }

  #next(): Lease | undefined {
    return this.#line ? undefined : this.#queue.take()
  }

  #start(lease: Lease, signal: AbortSignal): void {
    const running = this.#sync(lease, signal)
      .catch((error: unknown) => {
        if (!isAbort(error)) this.#options.onDeath(error)
      })
      .finally(() => {
        lease[Symbol.dispose]()
        this.#running.delete(running)
        this.#bell.ring()
      })
    this.#running.add(running)
  }

  async #sync({ repo }: Lease, signal: AbortSignal): Promise<void> {
    const library = this.#options.states.ensure(repo)
    const waiters = this.#waiters.get(repo) ?? []
    this.#waiters.delete(repo)
    const force = waiters.some(waiter => waiter.force)
    const full = waiters.some(waiter => waiter.full)
    const cause = force ? 'forced' : (this.#causes.get(repo) ?? 'sweep')
    this.#causes.delete(repo)
    const onProgress = (progress: SyncProgress) => {
      library.progress = progress
      for (const waiter of waiters) waiter.onProgress(progress)
    }
    library.syncing = true
    let failure: BackupError | undefined
    try {
      const brought = this.#enclosures.take(library)
      const enclosed = waiters.length === 0 ? brought : null // a person asked later than it was made
      await syncLibrary(library, { force, full, cause, onProgress, enclosed }, this.#options, signal)
    } catch (error) {
      failure = signal.aborted ? this.#stopped(library, error) : asBackupError(error)
    } finally {
      library.syncing = false
      library.progress = null
    }
    this.#later.delete(library)
    if (failure && failure.code !== 'STOPPING') this.#decide(library, failure)
    if (!failure) this.#lookAgain(library)
    for (const waiter of waiters)
      if (failure) waiter.reject(failure)
      else waiter.resolve()
  }

  /** A stop ends what a sync waits for in many ways: a `sync -f` of ours gets the same signal. What is really wrong comes again. */
  #stopped({ repo }: Library, error: unknown): BackupError {
    if (!isAbort(error)) this.#options.log.info({ repo, reason: reason(error) }, 'sync ended by the stop')
    return new BackupError('STOPPING', 'the daemon is stopping')
  }

  #decide(library: Library, failure: BackupError): void {
    const { states, log } = this.#options
    const { code, message } = failure
    if (code === 'LIBRARY_GONE') {
      log.info({ repo: library.repo }, 'library is gone from the primary; kept here')
      return this.#save(library, () => states.gone(library))
    }
    const attempts = (library.failure?.attempts ?? 0) + 1
    const retrying = failure.disposition === 'retry'
    const wait = backoffMs(attempts - 1, SOON.has(code) ? RETRY_SOON : RETRY)
    const level = code === 'INTERNAL' ? 'error' : 'warn'
    const fields = { repo: library.repo, code, reason: message, attempts, ...(code === 'INTERNAL' && { err: failure }) }
    log[level](fields, 'sync did not finish')
    if (LINE_CODES.has(code)) {
      this.setLine(failure)
      this.lineBroke.ring()
    }
    library.failure = { code, message, attempts, retryAt: retrying ? performance.now() + wait : undefined }
    if (retrying) this.#later.set(library, performance.now() + wait)
    const shown = library.failure
    this.#save(library, () => states.failed(library, shown))
  }

  /** A full disk is no reason to die: what cannot be saved is still shown, and comes back with the next attempt. */
  #save(library: Library, write: () => void): void {
    try {
      write()
    } catch (error) {
      this.#options.log.error({ repo: library.repo, reason: asBackupError(error).message }, 'state not saved')
    }
  }

  #lookAgain(library: Library): void {
    const { told } = library
    if (!told) return
    const wait = told.head === library.head ? undefined : LOOK_AGAIN_MS[told.looks]
    library.told = wait === undefined ? undefined : { head: told.head, looks: told.looks + 1 }
    if (wait !== undefined) this.#later.set(library, performance.now() + wait)
  }

  /** Offers what is due. Milliseconds until the next that will be. */
  #offerDue(): number {
    if (this.#line) return IDLE_MS
    const now = performance.now()
    let next = IDLE_MS
    for (const [library, at] of this.#later) {
      if (at > now) next = Math.min(next, Math.ceil(at - now))
      else {
        this.#later.delete(library)
        this.offer(library.repo, 'now', library.told ? 'push' : 'sweep')
      }
    }
    return next
  }
}
