/** MySQL without a binlog that we may read: all heads in one query, every `heads_poll_interval`. */

import { startLoop } from '../../shared/lifecycle.js'
import { Bell } from '../../shared/timing.js'
import { HeadsWatch, watchForever } from './heads-watch.js'
import type { CatalogReader } from '../../shared/catalog/catalog.js'
import type { ChangeSink, ChangeSource } from './change-source.js'

export interface MysqlPollOptions {
  readonly reader: CatalogReader
  readonly sink: ChangeSink
  readonly everyMs: number
  readonly onDeath: (error: unknown) => void
}

export function startMysqlPoll({ reader, sink, everyMs, onDeath }: MysqlPollOptions): ChangeSource {
  const watch = new HeadsWatch(reader, sink)
  const loop = startLoop(
    signal => watchForever({ watch, bell: new Bell(), everyMs, sink, reports: true }, signal),
    onDeath,
  )
  return { kind: 'mysql-poll', [Symbol.asyncDispose]: () => loop[Symbol.asyncDispose]() }
}
