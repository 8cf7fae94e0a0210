/**
 * SQLite: the database file and its journals tell when somebody committed.
 *
 * Watched is the directory, not recursively (the object tree below it holds
 * millions of files), so that a file that is replaced or comes back is seen.
 */

import { basename, dirname } from 'node:path'
import { watch as watchFiles } from 'chokidar'
import { startLoop } from '../../shared/lifecycle.js'
import { Bell } from '../../shared/timing.js'
import { HeadsWatch, watchForever } from './heads-watch.js'
import type { CatalogReader } from '../../shared/catalog/catalog.js'
import type { Log } from '../../shared/log.js'
import type { ChangeSink, ChangeSource } from './change-source.js'

/** Behind the watch, in case it went deaf (network filesystems have no events). */
const POLL_MS = 5_000

export interface SqliteWatchOptions {
  readonly path: string
  readonly reader: CatalogReader
  readonly sink: ChangeSink
  readonly log: Log
  readonly onDeath: (error: unknown) => void
}

export async function openSqliteWatch(options: SqliteWatchOptions): Promise<ChangeSource> {
  const { path, reader, sink, log, onDeath } = options
  const bell = new Bell()
  const file = basename(path)
  const directory = dirname(path)
  const ours = (name: string) => name.startsWith(file)
  const watcher = watchFiles(directory, {
    depth: 0,
    ignoreInitial: true,
    atomic: false, // would hold back the journal's deletion, which is the commit, by 100 ms
    ignored: other => other !== directory && !ours(basename(other)),
  })
  // chokidar drops changes of one file within 50 ms of each other; the raw events are all there
  watcher.on('raw', (_event, name) => {
    if (name === undefined || name === null || ours(basename(String(name)))) bell.ring()
  })
  watcher.on('all', () => bell.ring())
  watcher.on('error', error => {
    log.warn({ reason: String(error) }, 'file watch failed; polling goes on')
    sink.degraded(
      `the watch on ${directory} failed (${String(error)}); changes are found by polling every ${POLL_MS / 1000} s`,
    )
  })
  const ready = new Promise<void>(resolve => watcher.once('ready', () => resolve()))
  const loop = startLoop(
    signal =>
      watchForever({ watch: new HeadsWatch(reader, sink), bell, everyMs: POLL_MS, sink, reports: true }, signal),
    onDeath,
  )
  await ready
  return {
    kind: 'sqlite-watch',
    async [Symbol.asyncDispose]() {
      await loop[Symbol.asyncDispose]()
      await watcher.close()
    },
  }
}
