/**
 * A dump of SQLite databases by the online backup API: each is a consistent state of its own.
 *
 * The API needs a file to copy into. It lies in the agent's state directory
 * without a name while it is read, so that nothing of it stays whatever
 * happens. Seafile may write meanwhile: the copy then begins anew, and after
 * some times is made in one step, which holds writers up for as long as the
 * disk needs (4 ms a megabyte or less).
 */

import { openSync, closeSync, read } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import Database from 'better-sqlite3'
import { BackupError, reason } from '../../shared/errors.js'
import { closing } from '../../shared/lifecycle.js'
import { removeDatabase } from '../../shared/catalog/sqlite-file.js'
import { CORE_TABLES } from '../../shared/catalog/schema.js'
import type { DumpSink, TakeDump } from './dump-source.js'
import type { SqliteFiles } from './database-names.js'

const readAsync = promisify(read)

/** Of 4 KiB: some milliseconds of the event loop each. */
const PAGES_AT_ONCE = 1_000
/** So often a writer may make it begin anew. */
const RESTARTS_MAX = 5
const READ_BYTES = 256 * 1024
const BUSY_MS = 10_000

export interface SqliteDumpOptions {
  readonly databases: () => SqliteFiles
  readonly stateDir: string
}

export function sqliteDump({ databases, stateDir }: SqliteDumpOptions): TakeDump {
  const copy = join(stateDir, 'dump.tmp') // one name: what a killed agent leaves, the next one removes
  return async (sink, signal) => {
    const { files, absent } = databases()
    const names = files.map(({ name }) => name)
    const [{ version } = { version: 'unknown' }] = inMemory()
    await sink.header({
      engine: 'sqlite',
      server: `SQLite ${version}`,
      tool: 'online backup',
      databases: names,
      absent,
    })
    for (const [index, { name, path }] of files.entries()) {
      try {
        await copyDatabase(path, copy, signal)
        if (index === 0) emptyCoreTables(copy)
        await sink.part(name)
        await send(copy, sink, signal)
      } catch (error) {
        if (signal.aborted || error instanceof BackupError) throw error
        throw new BackupError('DUMP_FAILED', `dump ${path}: ${reason(error)}`, {}, { cause: error })
      } finally {
        removeDatabase(copy)
      }
    }
  }
}

function inMemory(): { version: string }[] {
  using db = closing(new Database(':memory:'))
  return db.value.prepare('SELECT sqlite_version() AS version').all() as { version: string }[]
}

async function copyDatabase(from: string, to: string, signal: AbortSignal): Promise<void> {
  removeDatabase(to)
  using db = closing(new Database(from, { readonly: true, fileMustExist: true, timeout: BUSY_MS }))
  let restarts = 0
  let left = Infinity
  await db.value.backup(to, {
    progress({ totalPages, remainingPages }) {
      signal.throwIfAborted()
      if (remainingPages > left) restarts += 1
      left = remainingPages
      return restarts > RESTARTS_MAX ? Math.max(totalPages, PAGES_AT_ONCE) : PAGES_AT_ONCE
    },
  })
}

/** Their rows travel with the libraries; of another moment, they would contradict them. */
function emptyCoreTables(copy: string): void {
  using db = closing(new Database(copy))
  db.value.pragma('journal_mode = MEMORY')
  db.value.pragma('synchronous = OFF')
  const there = new Set(
    (db.value.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all() as { name: string }[]).map(
      ({ name }) => name,
    ),
  )
  for (const table of CORE_TABLES) if (there.has(table)) db.value.exec(`DELETE FROM ${table}`)
  db.value.exec('VACUUM') // else the rows stay in pages that are free
}

/** From here on the file has no name. */
async function send(copy: string, sink: DumpSink, signal: AbortSignal): Promise<void> {
  const fd = openSync(copy, 'r')
  try {
    removeDatabase(copy)
    const buffer = Buffer.allocUnsafe(READ_BYTES)
    for (;;) {
      signal.throwIfAborted()
      const { bytesRead } = await readAsync(fd, buffer, 0, READ_BYTES, null)
      if (bytesRead === 0) return
      await sink.bytes(buffer.subarray(0, bytesRead))
    }
  } finally {
    closeSync(fd)
  }
}
