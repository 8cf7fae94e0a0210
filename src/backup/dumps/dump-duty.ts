/**
 * Taking dumps when they are due, and letting old ones go.
 *
 * A dump is due when a slot of the schedule lies between the newest one and
 * now, or when there is none at all: what was missed, asleep or without a
 * primary, is made up at once. An attempt that fails is made again, with
 * backoff, until there is one.
 */

import { asBackupError, isAbort } from '../../shared/errors.js'
import { limit } from '../../shared/limit.js'
import { startLoop } from '../../shared/lifecycle.js'
import { slotAfter } from '../../shared/slots.js'
import { Bell, backoffMs } from '../../shared/timing.js'
import { nextStep } from '../../shared/next-step.js'
import { bytesOf, rowsOf } from './dump-manifest.js'
import { newestWhole } from './dump-store.js'
import { sortOut } from './retention.js'
import type { DumpSchedule, KeepDumps } from '../../shared/config.js'
import type { BackupError } from '../../shared/errors.js'
import type { Log } from '../../shared/log.js'
import type { DumpStatus, DumpsStatus } from '../../shared/wire/control-messages.js'
import type { Dump } from './dump-manifest.js'
import type { DumpStore, KeptDump } from './dump-store.js'
import type { TakeDump } from './take-apart.js'

const RETRY = { first: 5_000, max: 10 * 60_000 }
/** Timers stand still while a host sleeps, and a verdict can make a dump due: both are looked at anew so often. */
const LOOK_MS = 5_000

export interface DumpDutyOptions {
  readonly take: TakeDump
  readonly store: DumpStore
  /** Null: only when somebody asks. */
  readonly schedule: DumpSchedule | null
  readonly keep: KeepDumps
  readonly log: Log
  readonly onDeath: (error: unknown) => void
  /** Unix ms. */
  readonly now?: () => number
}

export class DumpDuty implements AsyncDisposable {
  readonly #options: DumpDutyOptions
  readonly #now: () => number
  readonly #startedAt: number
  readonly #bell = new Bell()
  readonly #inTurn = limit(1)
  readonly #stopping = new AbortController()
  readonly #asked = new Set<Promise<unknown>>()
  readonly #loop: AsyncDisposable
  #running = false
  /** performance.now() before which nothing that failed is tried again. */
  #notBefore = 0
  #problem: BackupError | undefined
  /** The broken manifest that was last complained of. */
  #complained = ''

  constructor(options: DumpDutyOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#startedAt = this.#now()
    this.#loop = startLoop(signal => this.#run(signal), options.onDeath)
  }

  status(): DumpsStatus {
    const { schedule, store } = this.#options
    const now = this.#now()
    let dumps: readonly KeptDump[] = []
    let problem = this.#problem
    let dueAt = schedule ? this.#startedAt : Infinity
    try {
      dumps = store.list().dumps
      dueAt = this.#dueAt(dumps)
    } catch (error) {
      problem = asBackupError(error)
    }
    const newest = newestWhole(dumps)
    return {
      scheduled: schedule !== null,
      kept: dumps.length,
      damaged: dumps.filter(({ verdict }) => verdict?.damage).length,
      newest: newest ? dumpStatus(newest) : null,
      nextAt: Number.isFinite(dueAt) ? dueAt : null,
      running: this.#running,
      owedForMs: now > dueAt ? Math.round(now - dueAt) : null,
      problem: problem ? { code: problem.code, message: problem.message, nextStep: nextStep(problem.code) } : null,
    }
  }

  /** That is whole; null: none, or they cannot be listed, which `status` has as a problem. */
  newest(): Dump | null {
    try {
      return newestWhole(this.#options.store.list().dumps)
    } catch {
      return null
    }
  }

  /** The primary is there again: what waits for it need not wait for the next attempt. */
  primaryIsBack(): void {
    if (this.#problem?.code !== 'PRIMARY_UNREACHABLE') return
    this.#notBefore = 0
    this.#bell.ring()
  }

  /** One dump, now; waits for the one that is under way before. */
  async now(onBytes: (bytes: number) => void, signal: AbortSignal): Promise<DumpStatus> {
    const both = AbortSignal.any([signal, this.#stopping.signal])
    const taking = this.#inTurn(() => this.#take('manual', onBytes, both), both)
    this.#asked.add(taking)
    try {
      return dumpStatus(await taking)
    } finally {
      this.#asked.delete(taking)
      this.#bell.ring() // what was due may be no more
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort()
    await this.#loop[Symbol.asyncDispose]()
    await Promise.allSettled(this.#asked)
  }

  /** Unix ms; Infinity: never. */
  #dueAt(dumps: readonly KeptDump[] = this.#options.store.list().dumps): number {
    const { schedule } = this.#options
    if (!schedule) return Infinity
    const now = this.#now()
    const newest = newestWhole(dumps)
    // one of a time that has not come, by a clock that ran ahead, stands for nothing
    if (newest === null || newest.askedAt > now) return Math.min(this.#startedAt, now)
    return slotAfter(schedule.pattern, schedule.timeZone, newest.askedAt)
  }

  async #run(signal: AbortSignal): Promise<void> {
    let failures = 0
    for (;;) {
      try {
        const wait = Math.max(this.#dueAt() - this.#now(), this.#notBefore - performance.now())
        if (wait > 0) {
          await this.#bell.wait(Math.min(wait, LOOK_MS), signal)
          continue
        }
        await this.#inTurn(() => this.#takeIfDue(signal), signal)
        failures = 0
      } catch (error) {
        if (isAbort(error) && signal.aborted) throw error
        this.#problem = asBackupError(error)
        this.#notBefore = performance.now() + backoffMs(failures++, RETRY)
        await this.#bell.wait(LOOK_MS, signal)
      }
    }
  }

  async #takeIfDue(signal: AbortSignal): Promise<void> {
    if (this.#dueAt() <= this.#now()) await this.#take('schedule', () => {}, signal)
  }

  async #take(cause: Dump['cause'], onBytes: (bytes: number) => void, signal: AbortSignal): Promise<Dump> {
    const { take, log } = this.#options
    this.#running = true
    try {
      const dump = await take(cause, onBytes, signal)
      this.#problem = undefined
      log.info(
        { dump: dump.id, bytes: bytesOf(dump), rows: rowsOf(dump), ms: dump.endedAt - dump.askedAt, cause },
        'dump kept',
      )
      this.#letGo()
      return dump
    } catch (error) {
      if (isAbort(error)) throw error
      const problem = asBackupError(error)
      if (problem.message !== this.#problem?.message) {
        log.warn({ code: problem.code, reason: problem.message, cause }, 'no dump could be taken')
      }
      this.#problem = problem
      throw problem
    } finally {
      this.#running = false
    }
  }

  /** A dump that cannot be removed is no reason to call the new one a failure. */
  #letGo(): void {
    const { store, keep, schedule, log } = this.#options
    const { dumps, broken } = store.list()
    for (const { dump } of sortOut(dumps, keep, schedule?.timeZone ?? null).removed) {
      try {
        store.remove(dump.id)
        log.info({ dump: dump.id }, 'dump removed: no keep_ rule holds it any more')
      } catch (error) {
        const { code, message } = asBackupError(error)
        log.warn({ code, reason: message }, 'a dump could not be removed')
      }
    }
    const complaint = broken.map(({ message }) => message).join('; ')
    if (complaint !== '' && complaint !== this.#complained) log.warn({ reason: complaint }, 'a dump cannot be read')
    this.#complained = complaint
  }
}

const dumpStatus = (dump: Dump): DumpStatus => ({
  id: dump.id,
  at: dump.askedAt,
  bytes: bytesOf(dump),
  tables: dump.tables.length,
  rows: rowsOf(dump),
})
