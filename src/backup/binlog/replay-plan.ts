/**
 * How far the tables of a dump can be brought by the archived binlog, found by reading all of it up to there: every
 * checksum, and every statement, so that what cannot be replayed is known before anything is written.
 *
 * The wanted second counts by the clock of the database server, whose times the events have.
 */

import { BackupError } from '../../shared/errors.js'
import { SYSTEM } from '../../shared/system-zone.js'
import { coverageOf } from './coverage.js'
import { EVENT, damaged, readEvents, unreplayable } from './events.js'
import { BinlogFilter, CannotReplay, noneKept } from './filter.js'
import { earlierBehind } from './earlier-behind.js'
import { Groups } from './groups.js'
import { Turns } from './turns.js'
import type { Dump } from '../dumps/dump-manifest.js'
import type { ArchiveRun } from './archive-layout.js'
import type { Coverage, LoggedPart } from './coverage.js'
import type { Cut } from './earlier-behind.js'
import type { BinlogEvent, BinlogPart } from './events.js'
import type { Kept } from './filter.js'
import type { Place } from './groups.js'
import type { Scope } from './scope.js'
import type { MadeObject } from './statement.js'

export interface ReplayedPart extends LoggedPart {
  /** Those of its statements: as people named them, or SYSTEM. */
  readonly zones: readonly string[]
}

export interface Replay {
  /** In this order; the last one ends where the last transaction does that is replayed. */
  readonly parts: readonly ReplayedPart[]
  readonly scope: Scope
  /** SELECT VERSION() of the server that wrote it. */
  readonly server: string
  readonly transactions: number
  readonly bytes: number
  /** Unix ms by our clock: the tables are as they were then. */
  readonly asOf: number
  /** What the clock of the database server showed beyond ours, ms; 0 for less than a second. */
  readonly skewMs: number
  /** `database.table` of what is written. */
  readonly tables: ReadonlySet<string>
  /** What is made: it must not be there before. */
  readonly made: readonly MadeObject[]
}

export interface BetweenDumps {
  /** Null: the tables are those of the dump. */
  readonly replay: Replay | null
  /** Why the tables are not of the wanted instant, in words; null: they are. */
  readonly short: string | null
}

/**
 * `at`: Unix ms by our clock; null: all that is archived.
 * @throws BackupError BINLOG_DAMAGED, BINLOG_UNREPLAYABLE with what stands in the way
 */
export async function planReplay(
  runs: readonly ArchiveRun[],
  dump: Dump,
  at: number | null,
  signal: AbortSignal,
): Promise<BetweenDumps> {
  const coverage = coverageOf(runs, dump)
  if (typeof coverage === 'string') return { replay: null, short: coverage }
  const { reached, skewMs, run } = coverage
  const second = at === null ? Infinity : Math.floor(at / 1000) + Math.round(skewMs / 1000)
  const scope = { databases: dump.databases }
  const dumpedUntil = Math.floor((dump.endedAt + skewMs) / 1000)
  const { parts, kept, cut } = await new CutSearch(coverage, scope, second, dumpedUntil).run(signal)
  const back = cut && (await earlierBehind(coverage.parts, cut, second, signal))
  // a second is over when the next has begun
  const isKnown = cut !== null || reached.serverTime >= (second + 1) * 1000
  const last = back ? Math.max(dump.askedAt, back.before - skewMs) : Infinity
  const asOf = isKnown && at !== null ? Math.min(at, last) : reached.at
  const { tables, transactions, bytes, made } = kept
  const short = at === null ? null : isKnown ? (back?.why ?? null) : shortOf(coverage, runs)
  const server = run.server.version
  return { replay: { parts, scope, server, transactions, bytes, asOf, skewMs, tables, made }, short }
}

function shortOf({ run, reached }: Coverage, runs: readonly ArchiveRun[]): string {
  const until = `what is archived without a gap from this dump on ends at ${new Date(reached.at).toISOString()}`
  const next = runs.find(other => other.run > run.run)
  return next ? `${until} (${next.why})` : until
}

class CutSearch {
  readonly #groups = new Groups()
  readonly #kept: Kept = noneKept()
  readonly #filter: BinlogFilter
  readonly #parts: ReplayedPart[] = []
  /** Of whole transactions. */
  #counted: Counts = countsOf(this.#kept)
  #cut: Cut | null = null
  /** Of the last event that is replayed or left out. */
  #last = 0
  /** Of the transaction that is being read. */
  #problem: BackupError | undefined
  readonly #turns = new Turns()

  constructor(
    private readonly coverage: Coverage,
    scope: Scope,
    /** The last that is wanted, Unix seconds by the server's clock. */
    private readonly second: number,
    dumpedUntil: number,
  ) {
    this.#filter = new BinlogFilter(scope, this.#kept, dumpedUntil)
  }

  async run(signal: AbortSignal): Promise<{ parts: readonly ReplayedPart[]; kept: Kept; cut: Cut | null }> {
    for (const [index, part] of this.coverage.parts.entries()) {
      this.#kept.zones.length = 0
      this.#counted = { ...this.#counted, zones: 0 }
      this.#filter.systemZone = part.zone && SYSTEM
      const end = await this.#readPart(part, index, signal)
      const zones = this.#kept.zones.slice(0, this.#counted.zones)
      if (end > part.from) this.#parts.push({ ...part, to: end, zones })
      if (this.#cut) break
    }
    this.#forget() // what has no end in the archive
    return { parts: this.#parts, kept: this.#kept, cut: this.#cut }
  }

  /** Where the last transaction ends that is wanted. */
  async #readPart(part: BinlogPart, index: number, signal: AbortSignal): Promise<number> {
    let end = part.from
    for (const event of readEvents(part)) {
      if (event.type === EVENT.formatDescription) this.#begin(part, event)
      // what was begun before and committed later has its place in the log behind it
      if (event.timestamp > this.second) {
        this.#cut = { index, from: end, stamp: event.timestamp, last: this.#last }
        return end
      }
      this.#judge(part, event, placed(this.#groups, part, event))
      if (!this.#groups.isWithin) {
        if (this.#problem) throw this.#problem
        end = Math.max(end, event.end) // the file's description comes first, wherever the part begins
        this.#counted = countsOf(this.#kept)
        this.#last = event.timestamp
      }
      await this.#turns.after(event.bytes.byteLength, signal)
    }
    return end
  }

  /** What was counted of a transaction that is not replayed. */
  #forget(): void {
    const { transactions, bytes, made, zones } = this.#counted
    this.#kept.transactions = transactions
    this.#kept.bytes = bytes
    this.#kept.made.length = made
    this.#kept.zones.length = zones
  }

  /** Whether what is not replayable is wanted is known at the end of its transaction. */
  #judge(part: BinlogPart, event: BinlogEvent, place: Place): void {
    if (this.#problem) return
    try {
      this.#filter.push(event, place)
    } catch (error) {
      this.#problem = problemOf(error, part, event)
    }
  }

  /** A transaction does not go on in another file: a server that was killed rolls it back when it starts. */
  #begin(part: BinlogPart, event: BinlogEvent): void {
    if (!this.#groups.isWithin) return
    if (!event.format.isOfStart) throw damaged(part, event.position, 'the transaction before it has no end')
    this.#groups.giveUp()
    this.#forget()
    this.#problem = undefined
  }
}

interface Counts {
  readonly transactions: number
  readonly bytes: number
  readonly made: number
  readonly zones: number
}

const countsOf = ({ transactions, bytes, made, zones }: Kept): Counts => ({
  ...{ transactions, bytes },
  ...{ made: made.length, zones: zones.length },
})

export function placed(groups: Groups, part: BinlogPart, event: BinlogEvent): Place {
  try {
    return groups.place(event)
  } catch (error) {
    throw problemOf(error, part, event)
  }
}

/** What was thrown at an event, as what it is to an operator. */
export function problemOf(error: unknown, part: BinlogPart, { position }: BinlogEvent): BackupError {
  if (error instanceof BackupError) return error
  if (error instanceof CannotReplay) return unreplayable(part, position, error.message, error)
  if (error instanceof RangeError) return damaged(part, position, error.message, error)
  throw error
}
