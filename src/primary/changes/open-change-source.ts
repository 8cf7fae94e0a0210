/**
 * The fastest way that this database allows; the poll where there is none, with the reason said aloud.
 */

import { reason } from '../../shared/errors.js'
import { startLoop } from '../../shared/lifecycle.js'
import { Bell } from '../../shared/timing.js'
import { openMysqlBinlog } from './mysql-binlog.js'
import { startMysqlPoll } from './mysql-poll.js'
import { openSqliteWatch } from './sqlite-watch.js'
import type { CatalogReader } from '../../shared/catalog/catalog.js'
import type { DatabaseConfig } from '../../shared/catalog/database-config.js'
import type { Log } from '../../shared/log.js'
import type { MysqlConfig } from './binlog-access.js'
import type { ChangeSink, ChangeSource } from './change-source.js'

/** A grant that was given meanwhile is noticed without a restart. */
const TRY_BINLOG_AGAIN_MS = 5 * 60_000

export interface ChangeSourceOptions {
  readonly database: DatabaseConfig
  readonly reader: CatalogReader
  readonly stateDir: string
  readonly headsPollIntervalMs: number
  readonly log: Log
  readonly onDeath: (error: unknown) => void
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
    await this.#choose()
    this.#loop = startLoop(async signal => {
      for (;;) {
        const lost = await this.#lost.wait(TRY_BINLOG_AGAIN_MS, signal)
        if (lost || this.kind === 'mysql-poll') await this.#choose()
      }
    }, this.options.onDeath)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#loop?.[Symbol.asyncDispose]()
    await this.#current?.[Symbol.asyncDispose]()
  }

  async #choose(): Promise<void> {
    const before = this.#current
    try {
      this.#current = await this.#openBinlog()
      this.sink.restored()
      await before?.[Symbol.asyncDispose]()
      if (before) this.sink.allMayHaveChanged()
    } catch (error) {
      this.sink.degraded(`${reason(error)}; polling every ${this.options.headsPollIntervalMs / 1000} s instead`)
      if (before?.kind === 'mysql-poll') return
      await before?.[Symbol.asyncDispose]()
      this.#current = this.#startPoll()
      if (before) this.sink.allMayHaveChanged()
    }
  }

  #openBinlog(): Promise<ChangeSource> {
    const { reader, stateDir, log, onDeath } = this.options
    return openMysqlBinlog({
      config: this.config,
      reader,
      sink: this.sink,
      stateDir,
      log,
      onUnavailable: () => this.#lost.ring(),
      onDeath,
    })
  }

  #startPoll(): ChangeSource {
    const { reader, headsPollIntervalMs, onDeath } = this.options
    return startMysqlPoll({ reader, sink: this.sink, everyMs: headsPollIntervalMs, reports: false, onDeath })
  }
}
