/** Which part of the archived binlog goes on where a dump ends. Nothing but names and times is looked at. */

import { BackupError } from '../../shared/errors.js'
import { readEvents } from './events.js'
import type { BinlogPosition } from '../../shared/binlog-events.js'
import type { SystemZone } from '../../shared/system-zone.js'
import type { Dump } from '../dumps/dump-manifest.js'
import type { ArchiveRun, Reached } from './archive-layout.js'
import type { BinlogPart } from './events.js'

export interface LoggedPart extends BinlogPart {
  /** Of the server, as long as it wrote that file; null: it is not known. */
  readonly zone: SystemZone | null
}

export interface Coverage {
  readonly run: ArchiveRun
  /** From the dump's position up to what is promised. */
  readonly parts: readonly LoggedPart[]
  readonly reached: Reached
  /** What the clock of the database server showed beyond ours, ms. */
  readonly skewMs: number
}

/** Of a clock that runs on while it is asked; and seconds that are counted whole. */
const SKEW_MS_LEAST = 1_000

/** How far the primary's database is ahead of us; 0 for what is only the way there. */
export const skewOf = ({ serverTime, at }: Reached): number =>
  Math.abs(serverTime - at) > SKEW_MS_LEAST ? serverTime - at : 0

/**
 * The newest run that has what follows the dump; or why there is none, in words.
 * @throws BackupError DUMP_DAMAGED, BINLOG_DAMAGED: there is none, and there would be if that one were whole
 */
export function coverageOf(runs: readonly ArchiveRun[], dump: Dump): Coverage | string {
  const { position } = dump
  if (!position) return 'it is not known where in the binlog of the primary this dump is'
  if (runs.length === 0) return 'no binlog of the primary is archived here'
  let damage: unknown
  for (const [index, run] of [...runs.entries()].toReversed()) {
    try {
      if (run.damage && mayCover(runs, index, dump)) throw run.damage
      const covered = coverageBy(run, dump, position)
      if (covered) return covered
    } catch (error) {
      damage ??= error // another run may have it all the same
    }
  }
  if (damage !== undefined) throw damage as Error
  const last = runs.findLast(run => !run.damage)
  const why = last && last.began > dump.askedAt ? `; the archive begins after it (${last.why})` : ''
  return `what follows ${position.file} ${position.offset}, where this dump is, is not archived here${why}`
}

/** A run ends before the next one begins. */
const mayCover = (runs: readonly ArchiveRun[], index: number, { askedAt }: Dump): boolean =>
  (runs.slice(index + 1).find(({ damage }) => !damage)?.began ?? Infinity) > askedAt

/** What a dump can be brought to, for choosing among several; what is damaged is none here. */
export function usableCoverage(runs: readonly ArchiveRun[], dump: Dump): Coverage | null {
  try {
    const coverage = coverageOf(runs, dump)
    return typeof coverage === 'string' ? null : coverage
  } catch (error) {
    if (error instanceof BackupError) return null
    throw error
  }
}

function coverageBy(run: ArchiveRun, dump: Dump, { file, offset }: BinlogPosition): Coverage | undefined {
  const { files, reached } = run
  // a run that ended before the dump was taken knows nothing of what came after it
  if (!reached || reached.at < dump.askedAt) return undefined
  const index = files.findLastIndex(({ name }) => name === file)
  const first = files[index]
  if (!first || offset > first.bytes) return undefined
  const parts = files
    .slice(index)
    .map(({ path, name, bytes, zone }, i) => ({ path, name, from: i === 0 ? offset : 0, to: bytes, zone }))
  const skewMs = skewOf(reached)
  // after a RESET MASTER another file has the name
  if (beganAt(parts[0] as BinlogPart) * 1000 > dump.endedAt + skewMs + SKEW_MS_LEAST) return undefined
  return { run, parts, reached, skewMs }
}

/** Unix seconds. */
function beganAt(part: BinlogPart): number {
  for (const { format } of readEvents(part)) return format.began
  return 0
}
