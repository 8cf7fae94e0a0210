/**
 * The fastest way that this database allows; the poll where there is none, with the reason said aloud.
 */

import { reason } from '../../shared/errors.js'
import { startLoop } from '../../shared/lifecycle.js'
import { Bell } from '../../shared/timing.js'
import { BinlogUnavailable } from './binlog-access.js'
import { startMysqlPoll } from './mysql-poll.js'
import { openSqliteWatch } from './sqlite-watch.js'
import type { CatalogReader } from '../../shared/catalog/catalog.js'
import type { DatabaseConfig } from '../../shared/catalog/database-config.js'
import type { Log } from '../../shared/log.js'
import type { MysqlConfig } from '../../shared/catalog/database-config.js'
import type { ChangeSink, ChangeSource } from './change-source.js'

/** A grant that was given meanwhile is noticed without a restart. */
const TRY_BINLOG_AGAIN_MS = 5 * 60_000
/** The database did not answer when we asked for the binlog: it may in a moment. */
const DATABASE_RETRY_MS = 5_000

export interface ChangeSourceOptions {
  readonly database: DatabaseConfig
  readonly reader: CatalogReader
  readonly stateDir: string
  readonly headsPollIntervalMs: number
  readonly log: Log
  readonly onDeath: (error: unknown) => void
  /** Default 5 minutes. */
  readonly tryBinlogAgainMs?: number
}

export async function openChangeSource(options: ChangeSourceOptions, sink: ChangeSink): Promise<ChangeSource> {
  const { database } = options
  if (database.type === 'sqlite') return openSqliteWatch({ ...options, path: database.path, sink })
  const source = new MysqlChanges(options, database, sink)
  await source.begin()
  return source
}

/** Binlog when it can be had, poll when not; changes from one to the other by itself. */
class MysqlChanges implements ChangeSource {
  #current: ChangeSource | undefined
  readonly #lost = new Bell()
  #why: unknown
  #loop: AsyncDisposable | undefined

  constructor(
    private readonly options: ChangeSourceOptions,
    private readonly config: MysqlConfig,
    private readonly sink: ChangeSink,
  ) {}

  get kind(): ChangeSource['kind'] {
    return this.#current?.kind ?? 'mysql-poll'
  }

  async begin(): Promise<void> {
    await this.#tryBinlog()
    this.#loop = startLoop(async signal => {
      for (;;) {
        // what was just refused is not asked for at once again, or we would do nothing else
        if (await this.#lost.wait(this.#retryMs(), signal)) await this.#poll(this.#why)
        else if (this.kind === 'mysql-poll') await this.#tryBinlog()
      }
    }, this.options.onDeath)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#loop?.[Symbol.asyncDispose]()
    await this.#current?.[Symbol.asyncDispose]()
  }

  #retryMs(): number {
    const { tryBinlogAgainMs = TRY_BINLOG_AGAIN_MS } = this.options
    return this.#why instanceof BinlogUnavailable ? tryBinlogAgainMs : DATABASE_RETRY_MS
  }

  /** Its stream says `restored` once it runs. */
  async #tryBinlog(): Promise<void> {
    const before = this.#current
    try {
      this.#current = await this.#openBinlog()
    } catch (error) {
      return this.#poll(error)
    }
    await before?.[Symbol.asyncDispose]()
    if (before) this.sink.allMayHaveChanged()
  }

  async #poll(why: unknown): Promise<void> {
    const before = this.#current
    this.#why = why
    this.#sayPolling()
    if (before?.kind === 'mysql-poll') return
    await before?.[Symbol.asyncDispose]()
    this.#current = this.#startPoll()
    if (before) this.sink.allMayHaveChanged()
  }

  async #openBinlog(): Promise<ChangeSource> {
    const { openMysqlBinlog } = await import('./mysql-binlog.js') // with its library: who has SQLite needs neither
    const { reader, stateDir, log, onDeath } = this.options
    return openMysqlBinlog({
      config: this.config,
      reader,
      sink: this.sink,
      stateDir,
      log,
      onUnavailable: why => {
        this.#why = why
        this.#lost.ring()
      },
      onDeath,
    })
  }

  #startPoll(): ChangeSource {
    const { reader, headsPollIntervalMs, onDeath } = this.options
    const { sink } = this
    const said: ChangeSink = {
      changed: hint => sink.changed(hint),
      allMayHaveChanged: () => sink.allMayHaveChanged(),
      position: text => sink.position(text),
      degraded: why => sink.degraded(why),
      restored: () => this.#sayPolling(), // the reason for polling is what remains
    }
    return startMysqlPoll({ reader, sink: said, everyMs: headsPollIntervalMs, onDeath })
  }

  #sayPolling(): void {
    const everySeconds = this.options.headsPollIntervalMs / 1000
    this.sink.degraded(`${reason(this.#why)}; polling every ${everySeconds} s instead`)
  }
}
