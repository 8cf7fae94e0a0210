/**
 * `seaf-backup-cmd restore`: a complete Seafile data directory, and the databases of the same instant, anywhere.
 *
 * The order is that of a sync: objects, verified and durable, then rows. It is
 * built beside the target and gets its name at the end, so that under that name
 * there is all of it or nothing; run again after it was killed it goes on with
 * the objects that are there. The backup is only read, beside its daemon or without.
 */

import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { openCatalogReader } from '../../shared/catalog/open-catalog.js'
import { readBackupConfig } from '../../shared/config.js'
import { BackupError, reason } from '../../shared/errors.js'
import { silentLog } from '../../shared/log.js'
import { syncPath, targetAt, targetError } from '../../shared/store/durable-file.js'
import { DiskObjectReader, DiskObjectStore } from '../../shared/store/disk-object-store.js'
import { holdReplay } from '../binlog/hold-replay.js'
import { DumpStore } from '../dumps/dump-store.js'
import { PastStates } from '../state/past-states.js'
import { PromotionStates } from '../state/promotion-states.js'
import { copyLibrary } from './copy-library.js'
import { dropMade, expectImportable } from './mysql-import.js'
import { checkedOf, expectSomething, planRestore } from './restore-plan.js'
import { removeTokens, mayBeAhead } from './sync-tokens.js'
import { planTables, tablesAsOf, withoutTables } from './tables-plan.js'
import { readServer, restoreMysql, restoreSqlite, sqliteIn } from './target-tables.js'
import { Unfinished } from './unfinished.js'
import type { CatalogWriter } from '../../shared/catalog/catalog.js'
import type { MysqlConfig } from '../../shared/catalog/database-config.js'
import type { BackupConfig } from '../../shared/config.js'
import type { DirectoryFlags } from '../../shared/directories.js'
import type { RepoId } from '../../shared/ids.js'
import type { CheckCounts } from '../verify/library-check.js'
import type { Replay } from '../binlog/replay-plan.js'
import type { Dump } from '../dumps/dump-manifest.js'
import type { CopiedLibrary } from './copy-library.js'
import type { LeftOut, PlannedLibrary, RestoreOrder, RestorePlan } from './restore-plan.js'
import type { TablesOfDump } from './target-tables.js'

export interface RestoreRequest extends RestoreOrder {
  /** The directory that is to hold seafile-data. */
  readonly to: string
  /** Option file of the server for the tables; null: SQLite below `to`. */
  readonly server: string | null
  /** Libraries alone. */
  readonly withoutTables: boolean
  /** Rows alone, for a server whose files are well: of no object anything is promised. */
  readonly tablesOnly: boolean
  /** Libraries with damaged objects too, with their holes. */
  readonly acceptHoles: boolean
  readonly force: boolean
}

export interface RestoreEvents {
  planned(plan: RestorePlan): void
  /** Often: `done` of `libraries`, and what was copied of the one that is under way. */
  progress(done: number, libraries: number, counts: CheckCounts): void
  /** Its objects are in the target; rows come when all are. */
  copied(library: PlannedLibrary, copied: CopiedLibrary): void
  leftOut(library: LeftOut, copied: CopiedLibrary | null): void
}

export interface Restored extends CheckCounts {
  readonly to: string
  readonly at: number | null
  readonly dump: string | null
  /** Unix ms: of when the other tables are; null: there are none. */
  readonly tablesAsOf: number | null
  /** Of the binlog, replayed after the dump. */
  readonly transactions: number
  libraries: number
  /** Not restored, though they ought to be. */
  lost: number
  /** Their rows came with the dump; there is no library of that id. */
  removedRows: number
  /** Libraries whose sync tokens did not come: clients may hold newer states of them. */
  signedOut: number
}

/** Reads alone. @throws BackupError as `restore` */
export async function planOnly(
  flags: DirectoryFlags,
  request: RestoreRequest,
  signal: AbortSignal,
): Promise<RestorePlan> {
  const { plan } = await open(flags, request, signal)
  if (request.server !== null) await expectTakesTables(plan, request, new Unfinished(resolve(request.to)), signal)
  return plan
}

/**
 * @throws BackupError TARGET_EXISTS, CONFIG_INVALID, RESTORE_FAILED, DUMP_DAMAGED, STORE_… of the target, LIBRARY_…, DATABASE_…
 */
export async function restore(
  flags: DirectoryFlags,
  request: RestoreRequest,
  events: RestoreEvents,
  signal: AbortSignal,
): Promise<Restored> {
  const { plan, config, dumps } = await open(flags, request, signal)
  expectSomething(plan)
  const to = resolve(request.to)
  expectFree(to)
  const unfinished = new Unfinished(to)
  const { dump } = plan
  using held = dump && dumps.hold(dump)
  using heldLog = dump && plan.between.replay && holdReplay(config.stateDir, plan.between.replay)
  const server = await expectTakesTables(plan, request, unfinished, signal)
  events.planned(plan)
  const total: Restored = {
    to,
    at: plan.at,
    dump: dump?.id ?? null,
    tablesAsOf: dump && tablesAsOf(plan),
    transactions: dump ? (plan.between.replay?.transactions ?? 0) : 0,
    libraries: 0,
    lost: plan.leftOut.filter(({ isLoss }) => isLoss).length,
    removedRows: 0,
    signedOut: 0,
    ...{ commits: 0, fs: 0, blocks: 0, bytes: 0 },
  }
  for (const left of plan.leftOut) events.leftOut(left, null)
  const store = prepare(unfinished)
  // what takes long and can fail comes before anything is written to a server
  const whole = request.tablesOnly
    ? plan.libraries
    : await copyAll(plan, { request, config, store, events, total }, signal)
  const ahead = dump ? aheadOf(whole, config) : []
  total.signedOut = ahead.length
  const tables = dump && tablesOf(dump, held?.dir ?? '', heldLog?.replay ?? null)
  try {
    const catalog = await restoreTables(unfinished, tables, { server, force: request.force }, signal)
    await restoreRows(catalog, whole, plan, total, signal)
    if (dump) await removeTokens(server ?? sqliteIn(unfinished.dir), ahead, signal)
    await finish(unfinished, total)
  } catch (error) {
    throw server ? await takenBack(unfinished, server, error) : error
  }
  return total
}

interface Copying {
  readonly request: RestoreRequest
  readonly config: BackupConfig
  readonly store: DiskObjectStore
  readonly events: RestoreEvents
  /** Counted on. */
  readonly total: Restored
}

/** Those that may have rows. */
async function copyAll(
  { libraries }: RestorePlan,
  { request, config, store, events, total }: Copying,
  signal: AbortSignal,
): Promise<PlannedLibrary[]> {
  const whole: PlannedLibrary[] = []
  for (const [done, library] of libraries.entries()) {
    const onTurn = (counts: CheckCounts): void => events.progress(done, libraries.length, counts)
    const copied = await copyLibrary(checkedOf(library), config.dataDir, store, onTurn, signal)
    for (const kind of ['commits', 'fs', 'blocks', 'bytes'] as const) total[kind] += copied.counts[kind]
    if (copied.damaged > 0 && !request.acceptHoles) {
      total.lost += 1
      const why = `${copied.damaged} of its objects are missing or damaged here`
      events.leftOut({ repo: library.repo, name: library.name, why, isLoss: true }, copied)
    } else {
      whole.push(library)
      events.copied(library, copied)
    }
  }
  return whole
}

async function open(flags: DirectoryFlags, request: RestoreRequest, signal: AbortSignal) {
  const config = readBackupConfig(flags)
  const dumps = new DumpStore(config.stateDir)
  const whole = dumps.list().dumps.filter(({ verdict }) => !verdict?.damage)
  const kept = whole.map(({ dump }) => dump)
  const why = notWanted(request)
  const tables = why === null ? await planTables(config.stateDir, kept, request, signal) : withoutTables(why)
  await using catalog = await openCatalogReader(config.database, silentLog)
  using past = new PastStates(config.stateDir)
  const plan = await planRestore(
    {
      catalog,
      past,
      store: new DiskObjectReader(config.dataDir),
      tables,
      confKeepDays: config.historyKeepDays,
    },
    request,
    signal,
  )
  return { config, dumps, plan }
}

/** Never over anything, whatever was said: a restore is for looking at before it takes another's place. */
function expectFree(to: string): void {
  const there = targetAt(to)
  if (!there) return
  const nextStep = 'name a directory that is not there yet'
  const taken = (why: string) => new BackupError('TARGET_EXISTS', `restore to ${to}: ${why}`, { nextStep })
  if (!there.isDirectory()) throw taken('it is no directory')
  if (readdirSync(to).length > 0) throw taken('there is something in it')
  // it is built beside it, and takes its place by a rename
  if (there.dev !== statSync(dirname(to)).dev) throw taken('another disk is mounted there: name a directory below it')
}

/** Why not; null: they are. Who asks for some libraries alone, and names no server, wants no tables of all. */
function notWanted({ withoutTables, libraries, server }: RestoreRequest): string | null {
  if (withoutTables) return '--without-tables was said'
  return libraries.length > 0 && server === null ? 'with --library they go to a server that --database names' : null
}

/** Looked at before hours are spent on objects. Reads alone. */
async function expectTakesTables(
  { dump, between }: RestorePlan,
  request: RestoreRequest,
  unfinished: Unfinished,
  signal: AbortSignal,
): Promise<MysqlConfig | null> {
  expectFits(dump, request)
  const [seafileDb] = dump?.databases ?? []
  const server = request.server === null || seafileDb === undefined ? null : readServer(request.server, seafileDb)
  const ours = unfinished.madeOn(server && addressOf(server))
  if (dump && server) await expectImportable(server, { ...dump, ...between }, { force: request.force, ours }, signal)
  return server
}

function expectFits(dump: Dump | null, { server, withoutTables }: RestoreRequest): void {
  if (dump?.engine === 'mysql' && server === null) {
    const nextStep = 'name a server with --database FILE (an option file with [client]), or say --without-tables'
    throw new BackupError('BAD_REQUEST', `restore dump ${dump.id}: its tables are of MySQL, and no server is named`, {
      nextStep,
    })
  }
  if (server === null || dump?.engine === 'mysql') return
  const why = withoutTables ? '--without-tables was said' : dump ? 'its tables are files of SQLite' : 'there is no dump'
  throw new BackupError('BAD_REQUEST', `restore to the server of ${server}: ${why}`, {
    nextStep: 'leave --database out',
  })
}

function prepare(unfinished: Unfinished): DiskObjectStore {
  const { dir, dataDir } = unfinished
  try {
    unfinished.begin()
    mkdirSync(join(dataDir, 'tmpfiles'), { recursive: true }) // seaf-fsck and seaf-gc do not start without it
    const store = new DiskObjectStore(dataDir)
    store.prepare()
    return store
  } catch (error) {
    throw targetError(`make ${dir}`, error)
  }
}

/** `dir`: where its parts are held. */
const tablesOf = ({ id, engine, parts, databases }: Dump, dir: string, replay: Replay | null): TablesOfDump => ({
  databases,
  dump: { id, engine, parts, dir },
  replay,
})

function restoreTables(
  unfinished: Unfinished,
  tables: TablesOfDump | null,
  { server, force }: { readonly server: MysqlConfig | null; readonly force: boolean },
  signal: AbortSignal,
): Promise<CatalogWriter> {
  if (tables === null || server === null) return restoreSqlite(unfinished.dir, tables, signal)
  const address = addressOf(server)
  const note = (databases: readonly string[]): Promise<void> => unfinished.note({ server: address, databases })
  return restoreMysql(server, tables, { force, ours: unfinished.madeOn(address), note }, signal)
}

const addressOf = ({ unixSocket, host, port }: MysqlConfig): string => unixSocket ?? `${host}:${port}`

/** What was made on a server without the rest of a restore is none. Gives the error that says which it is. */
async function takenBack(unfinished: Unfinished, server: MysqlConfig, error: unknown): Promise<unknown> {
  const { databases = [] } = unfinished.made ?? {}
  if (databases.length === 0) return error
  try {
    await dropMade(server, databases)
    await unfinished.note({ server: addressOf(server), databases: [] })
    return error
  } catch (failure) {
    const message = `${reason(error)}; and what was made could not be removed (${databases.join(', ')}): ${reason(failure)}`
    return new BackupError('RESTORE_FAILED', message, {}, { cause: error })
  }
}

/** Takes the catalog over. */
async function restoreRows(
  catalog: CatalogWriter,
  whole: readonly PlannedLibrary[],
  plan: RestorePlan,
  total: Restored,
  signal: AbortSignal,
): Promise<void> {
  await using _closed = catalog
  for (const library of whole) await writeRows(catalog, library, plan, signal)
  total.libraries = whole.length
  total.removedRows = await removeRemnants(catalog, signal)
}

/**
 * The owner is the newer one of the dump's and ours; of another instant than now, the dump's, with the folder that a
 * virtual library then was. History limits are those that the objects were copied by.
 */
async function writeRows(
  catalog: CatalogWriter,
  { repo, rows, recordedAt }: PlannedLibrary,
  plan: RestorePlan,
  signal: AbortSignal,
): Promise<void> {
  const { at } = plan
  const dumped = await catalog.remnant(repo, signal)
  const isDumps = at !== null || (tablesAsOf(plan) ?? 0) > (recordedAt ?? 0)
  const owner = isDumps ? (dumped.owner ?? rows.owner) : (rows.owner ?? dumped.owner)
  const path = (at !== null && dumped.virtual?.path) || rows.virtual?.path
  const virtual = rows.virtual && { ...rows.virtual, path: path ?? rows.virtual.path }
  await catalog.createLibrary({ ...rows, owner, virtual, info: rows.info ?? dumped.info }, signal)
}

/** What is known of the primary's heads may be older: whoever was silent is not said to be ahead. */
function aheadOf(libraries: readonly PlannedLibrary[], { stateDir, dataDir }: BackupConfig): RepoId[] {
  using states = new PromotionStates(stateDir)
  const heads = new Map(states.libraries().map(({ repo, primaryHead }) => [repo, primaryHead]))
  return mayBeAhead(libraries, heads, new DiskObjectReader(dataDir))
}

/** A server would list them as broken libraries. */
async function removeRemnants(catalog: CatalogWriter, signal: AbortSignal): Promise<number> {
  const remnants = await catalog.remnants(signal)
  for (const repo of remnants) await catalog.removeRows(repo, false, signal)
  return remnants.length
}

async function finish(unfinished: Unfinished, restored: Restored): Promise<void> {
  const report = join(unfinished.dir, 'restored.json')
  try {
    writeFileSync(report, `${JSON.stringify(restored, null, 2)}\n`)
    await syncPath(report)
    await unfinished.finish()
  } catch (error) {
    throw targetError(`give ${unfinished.dir} the name ${restored.to}`, error)
  }
}
