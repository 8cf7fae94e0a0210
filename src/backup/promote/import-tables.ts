/** The other tables of a promotion, into the backup's own database: the three core ones in it are not touched. */

import { createWriteStream, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { removeBeside } from '../../shared/catalog/sqlite-file.js'
import { BackupError } from '../../shared/errors.js'
import { syncPath } from '../../shared/store/durable-file.js'
import { SEAFILE_DB } from '../../shared/wire/dump-messages.js'
import { removeMade } from '../binlog/replay.js'
import { DumpStore } from '../dumps/dump-store.js'
import { unpackPart } from '../dumps/read-dump.js'
import { MysqlClient } from '../restore/mysql-client.js'
import { ReplayStopped, importInto } from '../restore/mysql-import.js'
import { replayAfter } from './promoted-tables.js'
import { importSqliteTables } from './sqlite-tables.js'
import type { MysqlConfig } from '../../shared/catalog/database-config.js'
import type { BackupConfig } from '../../shared/config.js'
import type { DumpOnDisk } from '../dumps/read-dump.js'
import type { TablesOfDump } from '../restore/target-tables.js'
import type { Promotion } from './promotion.js'

export interface Imported {
  readonly message: string
  readonly tablesAsOf: number
}

/** It may be done again. @throws BackupError DUMP_…, BINLOG_…; RESTORE_FAILED with the server's words and what to do */
export async function importTables(
  config: BackupConfig,
  { dump: id, accepted }: Promotion,
  signal: AbortSignal,
): Promise<string | Imported> {
  if (id === null) return 'there is no dump, or it was not wanted: the other tables stay as they are'
  const store = new DumpStore(config.stateDir)
  const kept = store.find(id)
  const dump = store.onDisk(kept)
  if (config.database.type === 'mysql') {
    const between = await replayAfter(config, kept, accepted.includes('tables'), signal)
    const tables = { dump, databases: kept.databases, replay: between.replay }
    const whyStopped = await importMysql(config.database, tables, accepted.includes('tables'), signal)
    const replay = whyStopped === null ? between.replay : null
    const short = whyStopped ?? between.short
    const names = kept.databases.join(', ')
    const asOf = replay?.asOf ?? kept.askedAt
    const message = replay
      ? `${names} are as of ${new Date(asOf).toISOString()}: dump ${id} and ${replay.transactions} transactions after it`
      : `${names} are as in dump ${id}${short === null ? '' : ` (nothing after it: ${short})`}`
    return { message, tablesAsOf: asOf }
  }
  await importSqlite(config.database.path, dump, dirname(config.dataDir), signal)
  return `${kept.parts.map(({ name }) => name).join(', ')} are as in dump ${id}`
}

/** Why the dump alone was imported, which is allowed where tables may be lost; null: it was not. */
async function importMysql(
  database: MysqlConfig,
  tables: TablesOfDump,
  mayLoseTables: boolean,
  signal: AbortSignal,
): Promise<string | null> {
  using client = new MysqlClient(database)
  try {
    await importInto(client, database.dbName, tables, signal)
    return null
  } catch (error) {
    if (!(error instanceof ReplayStopped) || !tables.replay) throw error
    const nextStep = 'mend what the server says, or take the dump alone: the same command with --accept-loss tables'
    if (!mayLoseTables)
      throw new BackupError(error.code, error.message, { ...error.details, nextStep }, { cause: error })
    await removeMade(client, tables.replay, signal)
    await importInto(client, database.dbName, { ...tables, replay: null }, signal)
    return error.message
  }
}

async function importSqlite(own: string, dump: DumpOnDisk, top: string, signal: AbortSignal): Promise<void> {
  for (const [index, { name }] of dump.parts.entries()) {
    const isOwn = name === SEAFILE_DB
    const path = isOwn ? `${own}.of-dump` : join(top, name)
    const partial = `${path}.partial`
    mkdirSync(dirname(path), { recursive: true })
    await unpackPart(dump, index, createWriteStream(partial, { mode: 0o600, flush: true }), signal)
    if (isOwn) {
      importSqliteTables(own, partial)
      rmSync(partial)
      continue
    }
    // what stood there before is kept once, whatever it was
    if (existsSync(path) && !existsSync(`${path}.before-promotion`)) renameSync(path, `${path}.before-promotion`)
    removeBeside(path)
    renameSync(partial, path)
    await syncPath(dirname(path))
  }
}
