/**
 * SQLite: the database file and its journals tell when somebody committed.
 *
 * Watched is the directory, so that a file that is replaced or comes back is seen. A commit is half a dozen changes of
 * files; which of them was the last one, the database says (heads-watch.ts), at the price of one page.
 */

import { basename, dirname } from 'node:path'
import { startLoop } from '../../shared/lifecycle.js'
import { Bell } from '../../shared/timing.js'
import { DirectoryWatch } from './directory-watch.js'
import { HeadsWatch, watchForever } from './heads-watch.js'
import type { CatalogReader } from '../../shared/catalog/catalog.js'
import type { ChangeSink, ChangeSource } from './change-source.js'

/** Behind the watch, in case it went deaf (network filesystems have no events). */
const POLL_MS = 5_000

export interface SqliteWatchOptions {
  readonly path: string
  readonly reader: CatalogReader
  readonly sink: ChangeSink
  readonly onDeath: (error: unknown) => void
}

export function openSqliteWatch(options: SqliteWatchOptions): ChangeSource {
  const { path, reader, sink, onDeath } = options
  const bell = new Bell()
  const file = basename(path)
  const directory = dirname(path)
  const watcher = new DirectoryWatch(directory, {
    changed: name => {
      if (name === null || name.startsWith(file)) bell.ring()
    },
    lost: why => {
      sink.degraded(`the watch on ${directory} failed (${why}); changes are found by polling every ${POLL_MS / 1000} s`)
    },
    found: () => {
      sink.restored()
      bell.ring()
    },
  })
  const loop = startLoop(
    signal =>
      watchForever({ watch: new HeadsWatch(reader, sink), bell, everyMs: POLL_MS, sink, reports: true }, signal),
    onDeath,
  )
  return {
    kind: 'sqlite-watch',
    async [Symbol.asyncDispose]() {
      await loop[Symbol.asyncDispose]()
      watcher[Symbol.dispose]()
    },
  }
}
