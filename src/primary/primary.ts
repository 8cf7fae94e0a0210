/**
 * The primary agent, put together. It reads Seafile's rows and files and writes
 * nothing but its own state directory.
 */

import { accessSync, constants, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { openCatalogReader } from '../shared/catalog/open-catalog.js'
import { unusable } from '../shared/daemon.js'
import { asBackupError, isAbort, reason } from '../shared/errors.js'
import { aborted } from '../shared/lifecycle.js'
import { lockState } from '../shared/state-lock.js'
import { DiskObjectReader } from '../shared/store/disk-object-store.js'
import { backoffMs, sleep } from '../shared/timing.js'
import { authKeys } from '../shared/wire/auth.js'
import { openBinlog } from './binlog/open-binlog.js'
import { openChangeSource } from './changes/open-change-source.js'
import { rowCounter } from './dump/count-rows.js'
import { openDumpSource } from './dump/open-dump-source.js'
import { Fence } from './fence.js'
import { Notifier } from './notifier.js'
import { CpuLimit } from './serve/cpu-limit.js'
import { Enclosures } from './serve/enclosure.js'
import { DeltaPool } from './serve/delta-pool.js'
import { RateLimit } from './serve/rate-limit.js'
import { dumpSender } from './serve/send-dump.js'
import { startSyncApi } from './serve/sync-api.js'
import type { CatalogReader } from '../shared/catalog/catalog.js'
import type { PrimaryConfig } from '../shared/config.js'
import type { Log } from '../shared/log.js'
import type { ChangeSource } from './changes/change-source.js'

const DATABASE_RETRY = { first: 500, max: 15_000 }

/** Runs until `signal` is aborted; rejects when it cannot start, or when one of its parts died. */
export async function runPrimary(config: PrimaryConfig, log: Log, signal: AbortSignal): Promise<void> {
  const death = new AbortController()
  const onDeath = (error: unknown) => death.abort(error)
  const both = AbortSignal.any([signal, death.signal])
  const keys = authKeys(config.syncTokens)
  checkDirectories(config)
  using _lock = lockState(config.stateDir)

  await using catalog = await openCatalogPatiently(config, log, both)
  await using pool = new DeltaPool({ dataDir: config.dataDir, threads: config.workers, log, onDeath })
  const rate = new RateLimit(config.maxRate)
  const fence = new Fence(config.stateDir, log)
  await using api = await startSyncApi(
    { listen: config.listen, tls: config.tls },
    {
      keys,
      catalog,
      objects: new DiskObjectReader(config.dataDir),
      pool,
      dump: dumpSender(openDumpSource(config)),
      binlog: openBinlog(config.database),
      counts: rowCounter(config),
      fence,
      rate,
      cpu: new CpuLimit(config.maxCpu),
      confKeepDays: config.historyKeepDays,
      log,
    },
  )
  const enclosures = new Enclosures({ catalog, dataDir: config.dataDir, confKeepDays: config.historyKeepDays, rate })
  const current: { source?: ChangeSource } = {}
  await using notifier = new Notifier({
    backupUrl: config.backupUrl,
    caFile: config.caFile,
    keys,
    source: () => current.source?.kind ?? 'starting',
    fence,
    enclosure: (repo, head, stopping) => enclosures.of(repo, head, stopping),
    log,
    onDeath,
  })
  await using changes = await openChangeSource(
    {
      database: config.database,
      reader: catalog,
      stateDir: config.stateDir,
      headsPollIntervalMs: config.headsPollIntervalMs,
      log,
      onDeath,
    },
    notifier,
  )
  current.source = changes
  log.info({ api: api.url, changes: changes.kind, backup: config.backupUrl.origin }, 'primary agent ready')

  await aborted(both)
  if (death.signal.aborted) throw death.signal.reason
}

function checkDirectories({ dataDir, stateDir }: PrimaryConfig): void {
  const storage = join(dataDir, 'storage')
  try {
    accessSync(storage, constants.R_OK | constants.X_OK)
  } catch (error) {
    throw unusable('read', storage, reason(error), 'give --data, or run as the user who owns seafile-data')
  }
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o700 })
    accessSync(stateDir, constants.W_OK)
  } catch (error) {
    throw unusable('write state directory', stateDir, reason(error), 'give --state with a directory of our own')
  }
}

/** A database that is down, or not yet up after a boot, is waited for. */
async function openCatalogPatiently(config: PrimaryConfig, log: Log, signal: AbortSignal): Promise<CatalogReader> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await openCatalogReader(config.database, log)
    } catch (error) {
      if (isAbort(error)) throw error
      const problem = asBackupError(error)
      if (problem.disposition !== 'retry') throw problem
      if (attempt === 0) log.warn({ code: problem.code, reason: problem.message }, 'database not usable; trying again')
      await sleep(backoffMs(attempt, DATABASE_RETRY), signal)
    }
  }
}
