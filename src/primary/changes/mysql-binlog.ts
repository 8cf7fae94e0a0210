/**
 * The binlog: the server tells us of each commit a millisecond or two after it.
 *
 * Rows of the library tables carry the new head with them (binlog_format ROW).
 * With MIXED or STATEMENT a logged statement that names one of the tables is
 * hint enough to look at all heads. The position is saved, so that a restart of
 * the agent or of the server misses nothing; when the server has purged what
 * lies between, everything is looked at. A stream that does not reach the
 * binlog's end, though it is connected, is deaf and is started anew.
 */

import ZongJi from '@vlasky/zongji'
import { isAbort, reason } from '../../shared/errors.js'
import { startLoop } from '../../shared/lifecycle.js'
import { Bell, backoffMs, sleep } from '../../shared/timing.js'
import { commitIdOf, repoIdOf, TABLE_NAMES } from '../../shared/catalog/library-tables.js'
import { BinlogControl, connectionOptions, refused } from './binlog-access.js'
import { SavedPosition, isBefore } from './binlog-position.js'
import { HeadsWatch, watchForever } from './heads-watch.js'
import type { BinlogEvent } from '@vlasky/zongji'
import type { CatalogReader } from '../../shared/catalog/catalog.js'
import type { Value } from '../../shared/catalog/library-tables.js'
import type { Log } from '../../shared/log.js'
import type { MysqlConfig } from './binlog-access.js'
import type { BinlogPosition } from './binlog-position.js'
import type { ChangeSink, ChangeSource } from './change-source.js'

const RECONNECT = { first: 100, max: 5_000 }
const CHECK_EVERY_MS = 2_000
/** A position that was the end so long ago and was not reached: the stream is deaf. */
const DEAF_MS = 10_000
/** Behind the binlog, a look at all heads: an account or filter that hides events would else go unnoticed. */
const POLL_MS = 60_000

const EVENTS = ['tablemap', 'writerows', 'updaterows', 'deleterows', 'query', 'rotate', 'xid']
const NAMES_A_TABLE = new RegExp(`\\b(${TABLE_NAMES.join('|')})\\b`, 'i')
const TABLES_LOWER = new Set(TABLE_NAMES.map(name => name.toLowerCase()))

export interface BinlogOptions {
  readonly config: MysqlConfig
  readonly reader: CatalogReader
  readonly sink: ChangeSink
  readonly stateDir: string
  readonly log: Log
  /** The binlog cannot be read any more until somebody acts. */
  readonly onUnavailable: (error: unknown) => void
  readonly onDeath: (error: unknown) => void
}

/** Rejects with BinlogUnavailable when the account or the server does not allow it. */
export async function openMysqlBinlog(options: BinlogOptions): Promise<ChangeSource> {
  await using control = await BinlogControl.open(options.config)
  const saved = await SavedPosition.load(options.stateDir)
  // before anything else is looked at: what changes from here on is in the stream
  if (!saved.position) await saved.save(await control.end())
  return new MysqlBinlog(options, saved)
}

class MysqlBinlog implements ChangeSource {
  readonly kind = 'mysql-binlog'
  readonly #options: BinlogOptions
  readonly #saved: SavedPosition
  readonly #statements = new Bell()
  readonly #loops: readonly AsyncDisposable[]
  #position: BinlogPosition | undefined

  constructor(options: BinlogOptions, saved: SavedPosition) {
    this.#options = options
    this.#saved = saved
    const { reader, sink, onDeath } = options
    const watch = new HeadsWatch(reader, sink)
    const loop = { watch, bell: this.#statements, everyMs: POLL_MS, sink: quietPosition(sink), reports: false }
    this.#loops = [
      startLoop(signal => this.#run(signal), onDeath),
      startLoop(signal => watchForever(loop, signal), onDeath),
    ]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const loop of this.#loops) await loop[Symbol.asyncDispose]()
    if (this.#position) await this.#saved.save(this.#position)
  }

  async #run(signal: AbortSignal): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      const startedAt = performance.now()
      try {
        await this.#follow(signal)
      } catch (error) {
        if (isAbort(error) && signal.aborted) throw error
        const forGood =
          refused(error) ?? (error instanceof Error && error.name === 'BinlogUnavailable' ? error : undefined)
        if (forGood) return this.#options.onUnavailable(forGood)
        if (performance.now() - startedAt > RECONNECT.max) attempt = 0
        if (attempt === 0) this.#options.log.warn({ reason: reason(error) }, 'binlog stream ended; starting it anew')
        this.#options.sink.degraded(`the binlog stream broke: ${reason(error)}`)
      }
      await sleep(backoffMs(attempt, RECONNECT), signal)
    }
  }

  /** One connection, until it breaks. */
  async #follow(signal: AbortSignal): Promise<void> {
    await using control = await BinlogControl.open(this.#options.config)
    const from = await this.#startingPoint(control)
    const ended = new AbortController()
    const both = AbortSignal.any([signal, ended.signal])
    const stream = new ZongJi(connectionOptions(this.#options.config))
    stream.on('error', error => ended.abort(error))
    stream.on('ready', () => this.#options.sink.restored())
    stream.on('binlog', (event: BinlogEvent) => this.#receive(event, stream, ended))
    try {
      stream.start({
        serverId: this.#saved.serverId,
        filename: from.file,
        position: from.offset,
        includeEvents: EVENTS,
        includeSchema: { [this.#options.config.dbName]: true },
      })
      await this.#watchOver(control, both)
    } catch (error) {
      if (!signal.aborted && ended.signal.aborted) throw ended.signal.reason
      throw error
    } finally {
      await stopped(stream)
    }
  }

  /** The saved position if the server still has it, else its end, with word that something may have been missed. */
  async #startingPoint(control: BinlogControl): Promise<BinlogPosition> {
    const wanted = this.#position ?? this.#saved.position
    const files = await control.files()
    const held = wanted && files.find(({ file }) => file === wanted.file)
    if (wanted && held && wanted.offset <= held.size) return wanted
    const end = await control.end()
    this.#options.log.warn({ wanted, end }, 'binlog position is gone; going on at the end')
    this.#position = end
    this.#options.sink.allMayHaveChanged()
    return end
  }

  #receive(event: BinlogEvent, stream: ZongJi, ended: AbortController): void {
    try {
      this.#look(event)
    } catch (error) {
      ended.abort(error)
    }
    const { filename, position } = stream.options
    if (typeof filename === 'string' && typeof position === 'number') {
      this.#position = { file: filename, offset: position }
      this.#options.sink.position(`${filename}:${position}`)
    }
  }

  #look(event: BinlogEvent): void {
    switch (event.getEventName()) {
      case 'writerows':
      case 'updaterows':
      case 'deleterows':
        return this.#rows(event as unknown as RowsEvent)
      case 'query': {
        const { query, schema } = event as unknown as { query: string; schema: string }
        if (schema === this.#options.config.dbName && NAMES_A_TABLE.test(query)) this.#statements.ring()
        else if (query.includes(this.#options.config.dbName) && NAMES_A_TABLE.test(query)) this.#statements.ring()
      }
    }
  }

  #rows({ tableMap, tableId, rows }: RowsEvent): void {
    const table = tableMap[tableId]
    if (
      !table ||
      table.parentSchema !== this.#options.config.dbName ||
      !TABLES_LOWER.has(table.tableName.toLowerCase())
    )
      return
    const isBranch = table.tableName.toLowerCase() === 'branch'
    for (const row of rows) {
      const after = row.after ?? row
      const repo = repoIdOf(after['repo_id'] as Value)
      if (!repo) continue
      const moved = isBranch
      this.#options.sink.changed({ repo, head: moved ? commitIdOf(after['commit_id'] as Value) : null })
    }
  }

  /** Saves the position, shows that the stream lives, and ends it when it does not. */
  async #watchOver(control: BinlogControl, signal: AbortSignal): Promise<void> {
    let goal: { readonly position: BinlogPosition; readonly since: number } | undefined
    for (;;) {
      await sleep(CHECK_EVERY_MS, signal)
      if (this.#position) await this.#saved.save(this.#position)
      const end = await control.end()
      const at = this.#position ?? this.#saved.position
      if (goal && at && isBefore(at, goal.position)) {
        if (performance.now() - goal.since > DEAF_MS)
          throw new Error(`the stream stays at ${at.file}:${at.offset}, the log ends at ${end.file}:${end.offset}`)
      } else {
        goal = { position: end, since: performance.now() }
        if (at) this.#options.sink.position(`${at.file}:${at.offset}`)
      }
    }
  }
}

interface RowsEvent {
  readonly tableId: string
  readonly tableMap: Readonly<Record<string, { readonly parentSchema: string; readonly tableName: string } | undefined>>
  readonly rows: readonly (Record<string, unknown> & { readonly after?: Record<string, unknown> })[]
}

/** The binlog's own position is what the heartbeat should show, not the look behind it. */
const quietPosition = (sink: ChangeSink): ChangeSink => ({
  changed: hint => sink.changed(hint),
  allMayHaveChanged: () => sink.allMayHaveChanged(),
  position() {},
  degraded: why => sink.degraded(why),
  restored: () => sink.restored(),
})

/** A library that is stopped while it connects emits late errors: they belong to nobody. */
function stopped(stream: ZongJi): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(resolve, 2_000)
    stream.once('stopped', () => {
      clearTimeout(timer)
      resolve()
    })
    stream.stop()
  })
}
