/** Which dump a restore takes, and what of the archived binlog after it: what comes nearest to the wanted instant. */

import { BackupError } from '../../shared/errors.js'
import { readArchive } from '../binlog/archive-layout.js'
import { usableCoverage } from '../binlog/coverage.js'
import { CannotGoOn } from '../binlog/filter.js'
import { planReplay } from '../binlog/replay-plan.js'
import type { ArchiveRun } from '../binlog/archive-layout.js'
import type { BetweenDumps } from '../binlog/replay-plan.js'
import type { Dump } from '../dumps/dump-manifest.js'

export interface TablesPlan {
  /** Null: there is none of that time; or none is wanted, and `between.short` says why. */
  readonly dump: Dump | null
  readonly between: BetweenDumps
}

export interface TablesOrder {
  /** Unix ms; null: the newest that there is. */
  readonly at: number | null
  /** The dump alone, as somebody has asked. */
  readonly withoutBinlog: boolean
}

const NOT_ASKED: BetweenDumps = { replay: null, short: 'the binlog is left aside, as was asked' }
/** `why` they are not wanted. */
export const withoutTables = (why: string): TablesPlan => ({ dump: null, between: { replay: null, short: why } })
const OF_SQLITE: BetweenDumps = { replay: null, short: 'SQLite keeps no log of what came after a dump' }

/**
 * `dumps`: newest first.
 * @throws BackupError BINLOG_DAMAGED, BINLOG_UNREPLAYABLE; DUMP_DAMAGED when the archive cannot be looked at
 */
export async function planTables(
  stateDir: string,
  dumps: readonly Dump[],
  { at, withoutBinlog }: TablesOrder,
  signal: AbortSignal,
): Promise<TablesPlan> {
  const before = dumps.filter(({ endedAt }) => at === null || endedAt <= at)
  const [newest] = before
  if (!newest) return { dump: null, between: { replay: null, short: null } }
  if (newest.engine === 'sqlite') return { dump: newest, between: OF_SQLITE }
  if (withoutBinlog) return { dump: newest, between: NOT_ASKED }
  const runs = readArchive(stateDir)
  const reach = (dump: Dump): number => {
    const coverage = dump.engine === 'mysql' ? usableCoverage(runs, dump) : null
    return coverage ? Math.min(coverage.reached.at, at ?? Infinity) : dump.askedAt
  }
  let chosen = newest
  let reached = reach(newest)
  // an older one from which the log goes on may come nearer than a newer one from which it does not
  for (const dump of before.slice(1)) {
    if (dump.engine !== newest.engine || reached >= (at ?? Infinity)) break
    const further = reach(dump)
    if (further > reached) [chosen, reached] = [dump, further]
  }
  const others = before.slice(before.indexOf(chosen) + 1).filter(dump => reach(dump) >= reached)
  return firstReplayable(runs, [chosen, ...others], at, signal)
}

/** What was defined, or being committed, while a dump was taken is gone around by an older dump, from which the log goes on as far. */
async function firstReplayable(
  runs: readonly ArchiveRun[],
  [dump, ...others]: readonly Dump[],
  at: number | null,
  signal: AbortSignal,
): Promise<TablesPlan> {
  if (!dump) throw new Error('assertion failed: no dump to be gone on from')
  try {
    return { dump, between: await planReplay(runs, dump, at, signal) }
  } catch (error) {
    if (others.length === 0 || !(error instanceof BackupError && error.cause instanceof CannotGoOn)) throw error
    return firstReplayable(runs, others, at, signal)
  }
}

/** Unix ms by our clock: of when the tables are; null: there are none. */
export const tablesAsOf = ({ dump, between }: TablesPlan): number | null =>
  between.replay?.asOf ?? dump?.askedAt ?? null
