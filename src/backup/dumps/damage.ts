/** Reading a dump again, for what it says itself that it has. */

import { asBackupError, isAbort } from '../../shared/errors.js'
import { rowsOf } from './dump-manifest.js'
import { readDump } from './read-dump.js'
import type { Dump } from './dump-manifest.js'
import type { DumpStore } from './dump-store.js'

/** Null: it is whole. @throws what kept it from being read that is no damage of its own */
export async function damageOf(store: DumpStore, dump: Dump, signal: AbortSignal): Promise<string | null> {
  using scratch = store.scratch(dump.id)
  try {
    const { tables } = await readDump(store.onDisk(dump), scratch.dir, signal)
    const rows = tables.reduce((sum, table) => sum + table.rows, 0)
    return rows === rowsOf(dump) ? null : `it has ${rows} rows, and ${rowsOf(dump)} were counted when it came`
  } catch (error) {
    const problem = asBackupError(error)
    if (isAbort(error) || problem.code !== 'DUMP_DAMAGED') throw error
    return problem.message
  }
}
