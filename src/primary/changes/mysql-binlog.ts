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
import { MASTER, TABLE_NAMES, commitIdOf, repoIdOf } from '../../shared/catalog/library-tables.js'
import { connectionOptions } from '../mysql-connection.js'
import { BinlogControl, BinlogUnavailable, refused } from './binlog-access.js'
import { SavedPosition, isBefore } from './binlog-position.js'
import { HeadsWatch, watchForever } from './heads-watch.js'
import type { BinlogEvent } from '@vlasky/zongji'
import type { CatalogReader } from '../../shared/catalog/catalog.js'
import type { Value } from '../../shared/catalog/library-tables.js'
import type { Log } from '../../shared/log.js'
import type { MysqlConfig } from '../../shared/catalog/database-config.js'
import type { BinlogPosition } from '../../shared/binlog-events.js'
import type { ChangeSink, ChangeSource } from './change-source.js'

const RECONNECT = { first: 100, max: 5_000 }
const CHECK_EVERY_MS = 2_000
/** A position that was the end so long ago and was not reached: the stream is deaf. */
const DEAF_MS = 10_000
/** Behind the binlog, a look at all heads: an account or filter that hides events would else go unnoticed. */
const POLL_MS = 60_000

/** So many streams in a row that end at one position: what stands there cannot be read, now or later. */
const STUCK_STREAMS_MAX = 3

const EVENTS = ['tablemap', 'writerows', 'updaterows', 'deleterows', 'query', 'rotate', 'xid']
const NAMES_A_TABLE = new RegExp(`\\b(${TABLE_NAMES.join('|')})\\b`, 'i')
const TABLES_LOWER = new Set(TABLE_NAMES.map(name => name.toLowerCase()))
/** No others: their columns would be asked for, which needs rights that we need not have. Lower-case: lower_case_table_names. */
const TABLES = [...TABLE_NAMES, ...TABLES_LOWER]

export interface BinlogOptions {
  readonly config: MysqlConfig
  readonly reader: CatalogReader
  readonly sink: ChangeSink
  readonly stateDir: string
  readonly log: Log
  /** The binlog cannot be read any more until somebody acts. */
  readonly onUnavailable: (error: unknown) => void
  readonly onDeath: (error: unknown) => void
  /** How long a stream may stay short of a known end of the log before it counts as deaf; default 10 s. */
  readonly deafMs?: number
}

/** Rejects with BinlogUnavailable when the account or the server does not allow it. */
export async function openMysqlBinlog(options: BinlogOptions): Promise<ChangeSource> {
  await using control = await BinlogControl.open(options.config)
  const saved = await SavedPosition.load(options.stateDir)
  if (!saved.position) {
    // before anything else is looked at: what changes from here on is in the stream
    await saved.save(await control.end())
    options.sink.allMayHaveChanged()
  }
  return new MysqlBinlog(options, saved)
}

class MysqlBinlog implements ChangeSource {
  readonly kind = 'mysql-binlog'
  readonly #options: BinlogOptions
  readonly #saved: SavedPosition
  readonly #statements = new Bell()
  readonly #loops: readonly AsyncDisposable[]
  #position: BinlogPosition | undefined
  #stuck = 0
  #unsaved = ''

  constructor(options: BinlogOptions, saved: SavedPosition) {
    this.#options = options
    this.#saved = saved
    const { reader, sink, onDeath } = options
    const quiet = quietPosition(sink)
    const watch = new HeadsWatch(reader, quiet)
    const loop = { watch, bell: this.#statements, everyMs: POLL_MS, sink: quiet, reports: false }
    this.#loops = [
      startLoop(signal => this.#run(signal), onDeath),
      startLoop(signal => watchForever(loop, signal), onDeath),
    ]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const loop of this.#loops) await loop[Symbol.asyncDispose]()
    await this.#save()
  }

  async #run(signal: AbortSignal): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      const startedAt = performance.now()
      try {
        await this.#follow(signal)
      } catch (error) {
        if (isAbort(error) && signal.aborted) throw error
        const forGood = error instanceof BinlogUnavailable ? error : refused(error)
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
    this.#position = from
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
        includeSchema: { [this.#options.config.dbName]: TABLES },
      })
      await this.#watchOver(control, both)
    } catch (error) {
      if (signal.aborted) throw error
      this.#stuck = isBefore(from, this.#position) ? 0 : this.#stuck + 1
      throw ended.signal.aborted ? ended.signal.reason : error
    } finally {
      await stopped(stream)
    }
  }

  /** The saved position if the server still has it, else its end, with word that something may have been missed. */
  async #startingPoint(control: BinlogControl): Promise<BinlogPosition> {
    const wanted = this.#position ?? this.#saved.position
    const files = await control.files()
    const held = wanted && files.find(({ file }) => file === wanted.file)
    if (wanted && held && wanted.offset <= held.size && this.#stuck < STUCK_STREAMS_MAX) return wanted
    const end = await control.end()
    this.#options.log.warn({ wanted, end }, 'binlog cannot be read from our position; going on at the end')
    this.#stuck = 0
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

  #rows(event: RowsEvent): void {
    const table = event.tableMap[event.tableId]
    if (!table || !TABLES_LOWER.has(table.tableName.toLowerCase())) return
    const isBranch = table.tableName.toLowerCase() === 'branch'
    const isGone = event.getEventName() === 'deleterows'
    for (const row of event.rows) {
      const after = row.after ?? row
      const repo = repoIdOf((after['repo_id'] ?? row.before?.['repo_id']) as Value)
      // binlog_row_image MINIMAL leaves out what did not change, here the library's id: look which one it is
      if (!repo) this.#statements.ring()
      else if (!isBranch || isGone) this.#options.sink.changed({ repo, head: null })
      else if ((after['name'] ?? MASTER) === MASTER) {
        this.#options.sink.changed({ repo, head: commitIdOf(after['commit_id'] as Value) })
      }
    }
  }

  /** Saves the position, shows that the stream lives, and ends it when it does not. */
  async #watchOver(control: BinlogControl, signal: AbortSignal): Promise<void> {
    const { deafMs = DEAF_MS } = this.#options
    let goal: { readonly position: BinlogPosition; readonly since: number } | undefined
    for (;;) {
      await sleep(CHECK_EVERY_MS, signal)
      await this.#save()
      const end = await control.end()
      const at = this.#position
      if (goal && at && isBefore(at, goal.position)) {
        if (performance.now() - goal.since > deafMs)
          throw new Error(`the stream stays at ${at.file}:${at.offset}, the log ends at ${end.file}:${end.offset}`)
      } else {
        goal = { position: end, since: performance.now() }
        if (at) this.#options.sink.position(`${at.file}:${at.offset}`)
      }
    }
  }

  /** A position that cannot be saved makes the next start look further back, or at everything; hints go on meanwhile. */
  async #save(): Promise<void> {
    if (!this.#position) return
    try {
      await this.#saved.save(this.#position)
      this.#unsaved = ''
    } catch (error) {
      const why = reason(error)
      if (why !== this.#unsaved) this.#options.log.warn({ reason: why }, 'binlog position cannot be saved')
      this.#unsaved = why
    }
  }
}

interface RowsEvent {
  getEventName(): string
  readonly tableId: string
  readonly tableMap: Readonly<Record<string, { readonly tableName: string } | undefined>>
  readonly rows: readonly RowImage[]
}

/** Columns by name; an update has two of them. */
type RowImage = Record<string, unknown> & {
  readonly before?: Record<string, unknown>
  readonly after?: Record<string, unknown>
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
