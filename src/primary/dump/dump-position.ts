/**
 * Whether a dump is to say where in the binlog its snapshot lies, so that a restore can go on from there.
 *
 * MariaDB's own tool reads the position from its snapshot and holds nobody up.
 * For MySQL, and where the two are mixed, the tool first locks every table for
 * writing (FLUSH TABLES WITH READ LOCK) until it has begun: that harms the
 * primary, and is done only where the administrator has said so (`dump_lock`).
 */

import { BinlogControl, BinlogUnavailable, refused } from '../changes/binlog-access.js'
import { isMariadbs } from './dump-tool.js'
import type { MysqlConfig } from '../../shared/catalog/database-config.js'
import type { DumpTool } from './dump-tool.js'

/** `server`: what it says of its version. */
export async function asksForPosition(
  config: MysqlConfig,
  { tool, server, mayLock }: { readonly tool: DumpTool; readonly server: string; readonly mayLock: boolean },
): Promise<boolean> {
  if (!mayLock && !(isMariadbs(tool) && isMariadbs({ version: server }))) return false
  try {
    await using _control = await BinlogControl.open(config)
    return true
  } catch (error) {
    // without the right to read the binlog a position is of no use, and the tool would give up
    if (error instanceof BinlogUnavailable || refused(error)) return false
    throw error
  }
}
