/** Where the tables of a restore go: files of SQLite below the target, or a MySQL server that was named. */

import { createWriteStream, mkdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { BackupError, reason } from '../../shared/errors.js'
import { openCatalog } from '../../shared/catalog/open-catalog.js'
import { removeDatabase } from '../../shared/catalog/sqlite-file.js'
import { parseKeyFile } from '../../shared/key-file.js'
import { silentLog } from '../../shared/log.js'
import { syncPath } from '../../shared/store/durable-file.js'
import { SEAFILE_DB } from '../../shared/wire/dump-messages.js'
import { unpackPart } from '../dumps/read-dump.js'
import { importSql } from './mysql-import.js'
import type { CatalogWriter } from '../../shared/catalog/catalog.js'
import type { MysqlConfig } from '../../shared/catalog/database-config.js'
import type { Replay } from '../binlog/replay-plan.js'
import type { DumpOnDisk } from '../dumps/read-dump.js'

const PORT = 3306

/** A dump, if there is one, as it lies on the disk; and the database of Seafile's own in it. */
export interface TablesOfDump {
  readonly dump: DumpOnDisk
  readonly databases: readonly string[]
  /** What is replayed after it; null: nothing. */
  readonly replay: Replay | null
}

export const sqliteIn = (top: string) => ({ type: 'sqlite', path: join(top, SEAFILE_DB) }) as const

/** Files, each whole; then a catalog on the one that libraries are in. What lies there is written over. */
export async function restoreSqlite(
  top: string,
  tables: TablesOfDump | null,
  signal: AbortSignal,
): Promise<CatalogWriter> {
  const seafileDb = sqliteIn(top)
  removeDatabase(seafileDb.path)
  for (const [index, part] of (tables?.dump.parts ?? []).entries()) {
    const path = join(top, part.name)
    mkdirSync(dirname(path), { recursive: true })
    await unpackPart(
      (tables as TablesOfDump).dump,
      index,
      createWriteStream(path, { mode: 0o600, flush: true }),
      signal,
    )
    await syncPath(dirname(path))
  }
  return openCatalog(seafileDb, silentLog, { create: true })
}

/** @throws BackupError as `importSql` */
export async function restoreMysql(
  server: MysqlConfig,
  tables: TablesOfDump,
  meeting: Parameters<typeof importSql>[2],
  signal: AbortSignal,
): Promise<CatalogWriter> {
  await importSql(server, tables, meeting, signal)
  return openCatalog(server, silentLog, { create: true })
}

/**
 * The server that `--database FILE` names: an option file as the servers' own clients take it, with `[client]` and in
 * it user, password, and socket or host and port. `dbName`: as the dump calls Seafile's own.
 * @throws BackupError CONFIG_INVALID
 */
export function readServer(file: string, dbName: string): MysqlConfig {
  let client
  try {
    client = parseKeyFile(readFileSync(file, 'utf8'))
  } catch (error) {
    throw new BackupError('CONFIG_INVALID', `read ${file} (--database): ${reason(error)}`, {}, { cause: error })
  }
  const value = (key: string) => unquoted(client.get('client', key))
  const [user, socket, host, port] = [value('user'), value('socket'), value('host'), Number(value('port') ?? PORT)]
  const problems = [
    ...(user === undefined ? ['[client] user is not set'] : []),
    ...(socket === undefined && host === undefined ? ['[client] has neither socket nor host'] : []),
    ...(Number.isInteger(port) && port > 0 && port < 65_536 ? [] : ['[client] port is no port']),
  ]
  if (problems.length > 0 || user === undefined)
    throw new BackupError('CONFIG_INVALID', `read ${file} (--database): ${problems.join('; ')}`)
  return {
    type: 'mysql',
    host: host ?? '127.0.0.1',
    port,
    ...(socket !== undefined && { unixSocket: socket }),
    user,
    password: value('password') ?? '',
    dbName,
  }
}

/** Option files know quotes, and backslashes before them. */
function unquoted(text: string | undefined): string | undefined {
  const inner = text === undefined ? undefined : /^(["'])(.*)\1$/.exec(text)?.[2]
  return inner === undefined ? text : inner.replace(/\\(["'\\])/g, '$1')
}
