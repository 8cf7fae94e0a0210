/**
 * Keeping the archive of the primary's binlog at its end: asked for what is new every few seconds, at once again while
 * there is more, with backoff while there is none to be had.
 */

import { BackupError, asBackupError, isAbort } from '../../shared/errors.js'
import { aborted, startLoop } from '../../shared/lifecycle.js'
import { nextStep } from '../../shared/next-step.js'
import { Bell, backoffMs } from '../../shared/timing.js'
import { WHY_FIRST, readRun, runNumbers } from './archive-layout.js'
import { Archive, runsBegun } from './archive.js'
import { letGo } from './let-go.js'
import { takeBinlog } from './take-binlog.js'
import type { Log } from '../../shared/log.js'
import type { BinlogGap, BinlogStatus } from '../../shared/wire/control-messages.js'
import type { Dump } from '../dumps/dump-manifest.js'
import type { DumpStore } from '../dumps/dump-store.js'
import type { Reached } from './archive-layout.js'
import type { BinlogSource } from './take-binlog.js'

/** Of the newest. */
const GAPS_SHOWN_MAX = 20
const RETRY_MS_MAX = 5 * 60_000
/** A dump that was removed may have been the last one to need a file. */
const LET_GO_EVERY_MS = 10 * 60_000

export interface ArchiveDutyOptions {
  readonly source: BinlogSource
  readonly stateDir: string
  readonly dumps: DumpStore
  readonly intervalMs: number
  readonly keepMs: number
  readonly log: Log
  readonly onDeath: (error: unknown) => void
  /** Unix ms. */
  readonly now?: () => number
}

/** Of an archive that nobody wants. */
export const ARCHIVE_OFF: BinlogStatus = {
  archiving: false,
  since: null,
  upTo: null,
  at: null,
  behindMs: null,
  gaps: [],
  problem: null,
}

export class ArchiveDuty implements AsyncDisposable {
  readonly #options: ArchiveDutyOptions
  readonly #now: () => number
  readonly #archive: Archive
  readonly #bell = new Bell()
  readonly #loop: AsyncDisposable
  readonly #begun: Promise<void>
  #tried: () => void = () => {}
  #isOpen = false
  #problem: BackupError | undefined
  #failures = 0
  /** Kept while the archive is being opened again. */
  #reached: Reached | null = null
  #letGoAt = -Infinity
  /** What could not be removed, and why. */
  #kept: BackupError | undefined

  constructor(options: ArchiveDutyOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#archive = new Archive(options.stateDir)
    this.#begun = new Promise(resolve => (this.#tried = resolve))
    this.#loop = startLoop(signal => this.#run(signal), options.onDeath)
  }

  /** Resolves when it was tried once: the position of a dump that is taken from then on lies in the archive, if there is one. */
  async begun(signal: AbortSignal): Promise<void> {
    await Promise.race([this.#begun, aborted(signal)])
    signal.throwIfAborted()
  }

  /** The primary is there again: what waits for it need not wait for the next attempt. */
  primaryIsBack(): void {
    if (this.#problem) this.#bell.ring()
  }

  /** `dump`: the newest that is whole; gaps before it cost nothing. */
  status(dump: Dump | null): BinlogStatus {
    const now = this.#now()
    const { stateDir } = this.#options
    let problem = this.#problem ?? this.#kept
    let gaps: readonly BinlogGap[] = []
    let since: number | null = null
    try {
      const runs = runsBegun(stateDir)
      since = runs.at(-1)?.began ?? null
      gaps = runs
        .filter(({ why, began }) => why !== WHY_FIRST && began > (dump?.askedAt ?? -Infinity))
        .slice(-GAPS_SHOWN_MAX)
        .map(({ began, why }) => ({ at: began, why }))
      if (gaps.length === 0 && dump && since !== null && this.#beginsAfter(dump))
        gaps = [{ at: since, why: 'it begins after the newest dump' }]
    } catch (error) {
      problem ??= asBackupError(error)
    }
    const reached = this.#reached
    return {
      archiving: true,
      since,
      upTo: reached?.serverTime ?? null,
      at: reached?.at ?? null,
      behindMs: reached && Math.max(0, Math.round(now - reached.at)),
      gaps,
      problem: problem ? { code: problem.code, message: problem.message, nextStep: nextStep(problem.code) } : null,
    }
  }

  /** Switched on, or its directory lost, since that dump was taken. */
  #beginsAfter({ position }: Dump): boolean {
    const { stateDir } = this.#options
    const run = runNumbers(stateDir).at(-1)
    const files = run === undefined ? [] : (readRun(stateDir, run)?.files ?? [])
    return position !== null && files.length > 0 && !files.some(({ name }) => name === position.file)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#loop[Symbol.asyncDispose]()
  }

  async #run(signal: AbortSignal): Promise<void> {
    for (;;) {
      const wait = await this.#attempt(signal)
      this.#tried()
      if (wait > 0) await this.#bell.wait(wait, signal)
    }
  }

  /** How long to wait for the next one. */
  async #attempt(signal: AbortSignal): Promise<number> {
    const { source, intervalMs } = this.#options
    try {
      if (!this.#isOpen) this.#archive.open()
      this.#isOpen = true
      this.#reached = this.#archive.end?.reached ?? null
      const { atEnd, bytes, why } = await takeBinlog({ source, archive: this.#archive, now: this.#now }, signal)
      this.#succeeded(why)
      this.#letGo()
      return atEnd || bytes === 0 ? intervalMs : 0
    } catch (error) {
      this.#isOpen = false // what was written is cut back first
      if (isAbort(error) && signal.aborted) throw error
      this.#failed(asBackupError(error))
      return Math.max(intervalMs, backoffMs(this.#failures++, { first: intervalMs, max: RETRY_MS_MAX }))
    }
  }

  #succeeded(why: string | null): void {
    const { log } = this.#options
    const { position, reached } = this.#archive.end ?? {}
    this.#reached = reached ?? null
    if (why === WHY_FIRST) log.info({ ...position }, 'binlog archive begun')
    else if (why !== null) log.warn({ ...position, reason: why }, 'binlog archive begun anew: it has a gap')
    else if (this.#problem) log.info({ ...position }, 'binlog is archived again')
    this.#problem = undefined
    this.#failures = 0
  }

  #failed(problem: BackupError): void {
    if (problem.message !== this.#problem?.message) {
      const { code, message } = problem
      this.#options.log.warn({ code, reason: message }, 'binlog cannot be archived')
    }
    this.#problem = problem
  }

  /** What cannot be removed is no reason to stop archiving. */
  #letGo(): void {
    if (performance.now() - this.#letGoAt < LET_GO_EVERY_MS) return
    this.#letGoAt = performance.now()
    const { stateDir, dumps, keepMs, log } = this.#options
    try {
      const files = letGo({ stateDir, dumps, keepMs, now: this.#now() })
      if (files > 0) log.info({ files }, 'binlog archive: files removed that no dump needs any more')
      this.#kept = undefined
    } catch (error) {
      const { code, message } = (this.#kept = asBackupError(error))
      log.warn({ code, reason: message }, 'old files of the binlog archive could not be removed')
    }
  }
}
