/**
 * The backup daemon, put together: read from top to bottom it is the order of
 * starting, and from bottom to top that of stopping.
 */

import { accessSync, constants, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { openCatalog } from '../shared/catalog/open-catalog.js'
import { unusable } from '../shared/daemon.js'
import { BackupError, asBackupError, isAbort, reason } from '../shared/errors.js'
import { aborted, closing, startLoop } from '../shared/lifecycle.js'
import { lockState } from '../shared/state-lock.js'
import { DiskObjectStore } from '../shared/store/disk-object-store.js'
import { backoffMs, sleep } from '../shared/timing.js'
import { authKeys } from '../shared/wire/auth.js'
import { startControlApi } from './control/control-api.js'
import { BackupControl } from './control/backup-control.js'
import { removeLeftDrill } from './drill/drill-record.js'
import { Subscriber } from './hints/subscriber.js'
import { Sweep } from './hints/sweep.js'
import { OtherTables } from './other-tables.js'
import { readMarker, readPromotion } from './promote/promotion.js'
import { Contact } from './state/contact.js'
import { LibraryStates, isBehind } from './state/library-state.js'
import { startSavingHeard } from './state/save-heard.js'
import { openStateDb } from './state/state-db.js'
import { lookAtCopies, recallLibraries } from './sync/own-copy.js'
import { PrimaryClient, readCa } from './sync/primary-client.js'
import { PullPool } from './sync/pull-pool.js'
import { SyncEngine } from './sync/sync-engine.js'
import type { CatalogWriter } from '../shared/catalog/catalog.js'
import type { BackupConfig } from '../shared/config.js'
import type { RepoId } from '../shared/ids.js'
import type { Log } from '../shared/log.js'
import type { AuthKeys } from '../shared/wire/auth.js'
import type { Marker, Promotion } from './promote/promotion.js'
import type { OwnCopy } from './sync/own-copy.js'

const DATABASE_RETRY = { first: 500, max: 15_000 }

/** Runs until `signal` is aborted; rejects when it cannot start, or when one of its parts died. */
export async function runBackup(config: BackupConfig, log: Log, signal: AbortSignal): Promise<void> {
  const death = new AbortController()
  const onDeath = (error: unknown) => death.abort(error)
  const primary = {
    urls: config.primaryUrls.map(url => url.href),
    syncTokens: config.syncTokens,
    ca: readCa(config.caFile),
  }
  const keys = authKeys(config.syncTokens)

  const store = openStore(config)
  using _lock = lockState(config.stateDir)
  using db = closing(openStateDb(config.stateDir))
  const states = new LibraryStates(db.value)
  using contact = new Contact(db.value, log)
  const { dataDir, stateDir, rpoMs, sweepIntervalMs, database } = config
  const primaryUrl = shown(config.primaryUrls)
  const control = new BackupControl(states, { primaryUrl, rpoMs, sweepIntervalMs, stateDir, database, contact })
  await using _control = await startControlApi({
    socketPath: join(config.stateDir, 'control.sock'),
    target: control,
    log,
  })
  const promotion = readPromotion(stateDir) ?? readMarker(dataDir)
  if (promotion) return void (await tellOfPromotion(promotion, { config, keys, log, control }, signal))
  store.prepare()
  await using catalog = await openCatalogPatiently(config, log, AbortSignal.any([signal, death.signal]))
  await recallLibraries({ catalog, states, log }, signal)
  await using _heard = startSavingHeard(states, log, onDeath)
  await using client = new PrimaryClient(primary)
  await using pool = new PullPool({ dataDir, stateDir, primary, threads: config.workers, onDeath })
  await using engine = new SyncEngine({ catalog, states, store, pool, log, onDeath })
  const looking = {
    states,
    log,
    look: (copies: readonly OwnCopy[]) => pool.look(copies),
    lost: (repo: RepoId) => engine.offer(repo, 'backfill', 'sweep'),
  }
  await using _looking = startLoop(stopping => lookAtCopies(looking, stopping), onDeath)
  await using sweep = new Sweep({ client, states, engine, intervalMs: sweepIntervalMs, contact, log, onDeath })
  contact.knownBy(() => sweep.succeededAt)
  removeLeftDrill(stateDir)
  await using tables = new OtherTables(config, { client, primary, log, onDeath })
  await using subscriber = await Subscriber.start({
    listen: config.listen,
    tls: config.tls,
    keys,
    log,
    hints: {
      changed(repo, head, ago, enclosed) {
        const library = states.moved(repo, head, performance.now() - ago)
        // told by two agents, or after a sweep: unless a sync is under way, which may be about to leave this head, it is done
        const isDone = head !== null && head === library.head && !isBehind(library)
        if (isDone && !library.syncing && !library.failure) return
        engine.announced(library, enclosed)
      },
      sweep() {
        sweep.ring()
        tables.primaryIsBack()
      },
    },
  })
  contact.knownBy(() => subscriber.heardUntil)
  control.attach({ engine, sweep, subscriber, tables })
  log.info({ events: subscriber.url, primary: shown(config.primaryUrls), libraries: states.size }, 'backup ready')

  await aborted(AbortSignal.any([signal, death.signal]))
  if (death.signal.aborted) throw death.signal.reason
}

interface PromotedParts {
  readonly config: BackupConfig
  readonly keys: AuthKeys
  readonly log: Log
  readonly control: BackupControl
}

/** Nothing is synced where a server works: all that is left to do is to tell an old primary that comes back. */
async function tellOfPromotion(
  promotion: Marker & Partial<Pick<Promotion, 'step'>>,
  { config, keys, log, control }: PromotedParts,
  signal: AbortSignal,
): Promise<void> {
  const { at, epoch, step } = promotion
  const when = new Date(at).toISOString()
  const message = `this backup was promoted on ${when} (epoch ${epoch}): it serves in the place of the primary`
  const refusesAll = new BackupError('PROMOTED', message)
  control.promoted(refusesAll)
  const hints = { changed() {}, sweep() {} }
  const { listen, tls } = config
  await using subscriber = await Subscriber.start({ listen, tls, keys, log, hints, refusesAll })
  log.warn({ events: subscriber.url, code: 'PROMOTED', reason: message, step }, 'backup promoted: nothing is synced')
  await aborted(signal)
}

const shown = (urls: readonly URL[]): string => urls.map(url => url.origin).join(', ')

function openStore({ dataDir }: BackupConfig): DiskObjectStore {
  try {
    mkdirSync(dataDir, { recursive: true })
    accessSync(dataDir, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    throw unusable('use seafile-data', dataDir, reason(error), 'give --data, or run as the user who owns it')
  }
  return new DiskObjectStore(dataDir)
}

/** A database that is down, or not yet up after a boot, is waited for; the control socket answers meanwhile. */
async function openCatalogPatiently(config: BackupConfig, log: Log, signal: AbortSignal): Promise<CatalogWriter> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await openCatalog(config.database, log, { create: true })
    } catch (error) {
      if (isAbort(error)) throw error
      const problem = asBackupError(error)
      if (problem.disposition !== 'retry') throw problem
      if (attempt === 0) log.warn({ code: problem.code, reason: problem.message }, 'database not usable; trying again')
      await sleep(backoffMs(attempt, DATABASE_RETRY), signal)
    }
  }
}
