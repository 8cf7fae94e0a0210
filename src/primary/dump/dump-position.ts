/**
 * Whether a dump is to say where in the binlog its snapshot lies, so that a restore can go on from there.
 *
 * MariaDB's own tool reads the position from its snapshot and holds nobody up.
 * For MySQL, and where the two are mixed, the tool first locks every table for
 * writing (FLUSH TABLES WITH READ LOCK) until it has begun: that harms the
 * primary, and is done only where the administrator has said so (`dump_lock`).
 * Tables of MyISAM and the like are in no snapshot: they are read later than the
 * position says, and what is replayed from there would be in them twice.
 */

import { CORE_TABLES } from '../../shared/catalog/schema.js'
import { BinlogControl, BinlogUnavailable, refused } from '../changes/binlog-access.js'
import { isMariadbs } from './dump-tool.js'
import type { MysqlConfig } from '../../shared/catalog/database-config.js'
import type { DumpTool } from './dump-tool.js'

export interface DumpPlan {
  readonly tool: DumpTool
  /** What the server says of its version. */
  readonly server: string
  readonly databases: readonly string[]
  readonly mayLock: boolean
}

export async function asksForPosition(
  config: MysqlConfig,
  { tool, server, databases, mayLock }: DumpPlan,
): Promise<boolean> {
  if (!mayLock && !(isMariadbs(tool) && isMariadbs({ version: server }))) return false
  try {
    await using control = await BinlogControl.open(config)
    return !(await hasUnsnapped(control, config.dbName, databases))
  } catch (error) {
    // without the right to read the binlog a position is of no use, and the tool would give up
    if (error instanceof BinlogUnavailable || refused(error)) return false
    throw error
  }
}

/** Whether a table is dumped that no snapshot covers. */
async function hasUnsnapped(control: BinlogControl, core: string, databases: readonly string[]): Promise<boolean> {
  const sql = `SELECT COUNT(*) FROM information_schema.tables WHERE table_schema IN (?) AND table_type <> 'VIEW'
    AND engine <> 'InnoDB' AND NOT (table_schema = ? AND table_name IN (?))`
  const [count] = await control.row(sql, [databases, core, CORE_TABLES])
  return Number(count) > 0
}
