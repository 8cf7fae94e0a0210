/** The other tables of a promotion: the newest dump, and all that is archived of the binlog after it. */

import { BackupError, reason } from '../../shared/errors.js'
import { readArchive } from '../binlog/archive-layout.js'
import { planReplay } from '../binlog/replay-plan.js'
import { DumpStore, newestWhole } from '../dumps/dump-store.js'
import { planTables } from '../restore/tables-plan.js'
import type { BackupConfig } from '../../shared/config.js'
import type { BetweenDumps } from '../binlog/replay-plan.js'
import type { Dump } from '../dumps/dump-manifest.js'
import type { TablesPlan } from '../restore/tables-plan.js'

export interface NewestTables extends TablesPlan {
  /** There is a binlog, and it cannot be replayed: why. The dump is taken alone then. */
  readonly obstacle: string | null
}

export const NO_TABLES: NewestTables = { dump: null, between: { replay: null, short: null }, obstacle: null }

export async function newestTables({ stateDir }: BackupConfig, signal: AbortSignal): Promise<NewestTables> {
  const kept = new DumpStore(stateDir).list().dumps
  const whole = kept.filter(({ verdict }) => !verdict?.damage).map(({ dump }) => dump)
  try {
    return { ...(await planTables(stateDir, whole, { at: null, withoutBinlog: false }, signal)), obstacle: null }
  } catch (error) {
    if (!isOfArchive(error)) throw error
    const obstacle = reason(error)
    return { dump: newestWhole(kept), between: { replay: null, short: obstacle }, obstacle }
  }
}

/** Once more, for a dump that was chosen. `mayLose`: somebody has agreed to the dump alone. */
export async function replayAfter(
  { stateDir }: BackupConfig,
  dump: Dump,
  mayLose: boolean,
  signal: AbortSignal,
): Promise<BetweenDumps> {
  if (dump.engine !== 'mysql') return { replay: null, short: null }
  try {
    return await planReplay(readArchive(stateDir), dump, null, signal)
  } catch (error) {
    if (!mayLose || !isOfArchive(error)) throw error
    return { replay: null, short: reason(error) }
  }
}

const isOfArchive = (error: unknown): boolean =>
  error instanceof BackupError && ['BINLOG_DAMAGED', 'BINLOG_UNREPLAYABLE', 'DUMP_DAMAGED'].includes(error.code)
