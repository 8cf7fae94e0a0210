/**
 * A rehearsed restore: into a directory and a database that nobody needs, looked at as one would look at it on the day.
 *
 * Everything is restored, so every object is read and compared with its name;
 * rows are counted in the restored databases and compared with what was counted
 * in the dump, and that with what the primary has now; some files are put
 * together and hashed. Nothing of the backup is
 * written but the report.
 */

import { createHash, randomInt } from 'node:crypto'
import { join } from 'node:path'
import { LIBRARY_TABLES } from '../../shared/catalog/library-tables.js'
import { readBackupConfig } from '../../shared/config.js'
import { reason } from '../../shared/errors.js'
import { lockState } from '../../shared/state-lock.js'
import { DiskObjectReader } from '../../shared/store/disk-object-store.js'
import { readArchive } from '../binlog/archive-layout.js'
import { zonesLike } from '../binlog/zone-names.js'
import { DumpStore, newestWhole } from '../dumps/dump-store.js'
import { readDump } from '../dumps/read-dump.js'
import { sqliteRows } from '../dumps/sqlite-rows.js'
import { contentsOf } from '../files/contents.js'
import { opened } from '../files/library-at.js'
import { below, rootOf } from '../files/tree.js'
import { quote } from '../restore/core-tables.js'
import { MysqlClient } from '../restore/mysql-client.js'
import { restore } from '../restore/restore.js'
import { PrimaryClient, readCa } from '../sync/primary-client.js'
import { besidePrimary } from './beside-primary.js'
import { clearDrillRoom, drillRoom, recordDrill } from './drill-record.js'
import { PrivateServer } from './private-server.js'
import { DrillRoom } from './room.js'
import type { BackupConfig } from '../../shared/config.js'
import type { DirectoryFlags } from '../../shared/directories.js'
import type { CheckCounts } from '../verify/library-check.js'
import type { Replay } from '../binlog/replay-plan.js'
import type { Dump, TableCount } from '../dumps/dump-manifest.js'
import type { LibraryAt } from '../files/library-at.js'
import type { BesidePrimary } from './beside-primary.js'
import type { Entry } from '../files/tree.js'
import type { LeftOut, PlannedLibrary } from '../restore/restore-plan.js'
import type { RestoreEvents, Restored } from '../restore/restore.js'

export interface DrillRequest {
  /** Libraries with holes count as restored. */
  readonly acceptHoles: boolean
}

export interface SampledFile {
  readonly library: string
  readonly path: string
  readonly bytes: number
  readonly sha256: string
}

export interface DrillReport {
  /** Unix ms. */
  readonly at: number
  readonly tookMs: number
  readonly ok: boolean
  /** One sentence each; none when `ok`. */
  readonly problems: readonly string[]
  readonly dump: { readonly id: string; readonly ageMs: number } | null
  /** What was done with the dump. */
  readonly tables: 'restored' | 'only read: no database server is installed here' | 'none'
  /** Of the binlog, after the dump: how many transactions, and of when the tables were then. Null: nothing. */
  readonly replayed: { readonly transactions: number; readonly asOf: number } | null
  /** Those that nothing was replayed into. */
  readonly tablesCompared: number
  readonly rowsCompared: number
  /** Beside what the primary has now; null: there was no dump, or it was not asked: `primaryWhy`. */
  readonly besidePrimary: BesidePrimary | null
  readonly primaryWhy: string | null
  readonly restored: Pick<Restored, 'libraries' | 'lost' | keyof CheckCounts> | null
  readonly files: readonly SampledFile[]
}

const LIBRARIES_SAMPLED = 10
const FILES_SAMPLED = 3
/** Of a library with millions, the sample is of the first so many. */
const FILES_LOOKED_AT = 10_000
/** Larger ones are left to the checksums of their blocks. */
const SAMPLE_BYTES_MAX = 256 * 1024 * 1024

/** Resolves with what was found, good or bad, once it is recorded. @throws BackupError CONFIG_INVALID, ALREADY_RUNNING */
export async function drill(
  flags: DirectoryFlags,
  request: DrillRequest,
  onProgress: RestoreEvents['progress'],
  signal: AbortSignal,
): Promise<DrillReport & { readonly file: string }> {
  const config = readBackupConfig(flags)
  const scratch = drillRoom(config.stateDir)
  using _one = lockState(scratch)
  const at = Date.now()
  const dir = join(scratch, 'restored')
  clearDrillRoom(config.stateDir)
  const findings = new Findings(at)
  try {
    await inRoom({ config, flags, request, scratch, dir, findings, onProgress }, signal)
    await askPrimary(config, findings, signal)
  } catch (error) {
    if (signal.aborted) throw error
    findings.problems.push(reason(error))
  } finally {
    clearDrillRoom(config.stateDir)
  }
  const report = findings.report()
  const file = await recordDrill(config.stateDir, { at, ok: report.ok, problem: report.problems[0] ?? null }, report)
  return { ...report, file }
}

class Findings {
  readonly problems: string[] = []
  readonly libraries: PlannedLibrary[] = []
  readonly files: SampledFile[] = []
  dump: Dump | null = null
  tables: DrillReport['tables'] = 'none'
  tablesCompared = 0
  rowsCompared = 0
  besidePrimary: BesidePrimary | null = null
  primaryWhy: string | null = null
  restored: Restored | null = null
  replay: Replay | null = null

  constructor(private readonly at: number) {}

  report(): DrillReport {
    const { problems, dump, tables, tablesCompared, rowsCompared, besidePrimary, primaryWhy } = this
    const { restored, replay, files } = this
    return {
      at: this.at,
      tookMs: Date.now() - this.at,
      ok: problems.length === 0,
      problems,
      dump: dump && { id: dump.id, ageMs: this.at - dump.askedAt },
      tables,
      replayed: replay && { transactions: replay.transactions, asOf: replay.asOf },
      tablesCompared,
      rowsCompared,
      besidePrimary,
      primaryWhy,
      restored: restored && {
        libraries: restored.libraries,
        lost: restored.lost,
        commits: restored.commits,
        fs: restored.fs,
        blocks: restored.blocks,
        bytes: restored.bytes,
      },
      files,
    }
  }
}

interface Rehearsal {
  readonly config: BackupConfig
  readonly flags: DirectoryFlags
  readonly request: DrillRequest
  readonly scratch: string
  readonly dir: string
  readonly findings: Findings
  readonly onProgress: RestoreEvents['progress']
}

async function inRoom(rehearsal: Rehearsal, signal: AbortSignal): Promise<void> {
  const { config, scratch } = rehearsal
  using room = new DrillRoom(config.stateDir, scratch)
  const onProgress: Rehearsal['onProgress'] = (...progress) => {
    room.expectMore()
    rehearsal.onProgress(...progress)
  }
  try {
    await rehearse({ ...rehearsal, onProgress }, AbortSignal.any([signal, room.signal]))
  } catch (error) {
    throw signal.aborted ? error : (room.problem ?? error)
  }
}

async function rehearse(rehearsal: Rehearsal, signal: AbortSignal): Promise<void> {
  const { config, scratch, findings } = rehearsal
  const store = new DumpStore(config.stateDir)
  const newest = newestWhole(store.list().dumps)
  findings.dump = newest
  if (newest === null && config.dumpSchedule !== null) findings.problems.push('there is no dump of the other tables')
  const needsServer = newest?.engine === 'mysql'
  if (needsServer && !PrivateServer.isInstalled()) {
    findings.tables = 'only read: no database server is installed here'
    await readAlone(findings, store, newest, scratch, signal)
    return restoreAndLook(rehearsal, null, signal)
  }
  if (newest !== null) findings.tables = 'restored'
  if (!needsServer) return restoreAndLook(rehearsal, null, signal)
  await using server = await PrivateServer.start(join(scratch, 'mysql'), primaryZone(config.stateDir), signal)
  await restoreAndLook(rehearsal, server, signal)
}

/** Where the primary's database is, as its log says: statements in it may have local times. Null: it is not known. */
function primaryZone(stateDir: string): string | null {
  const zone = readArchive(stateDir).at(-1)?.files.at(-1)?.zone
  return (zone && zonesLike(zone)[0]) ?? null
}

/** Where it cannot be restored it is at least read to its end, and its rows counted. */
async function readAlone(
  findings: Findings,
  store: DumpStore,
  dump: Dump,
  scratch: string,
  signal: AbortSignal,
): Promise<void> {
  using held = store.hold(dump)
  const { tables } = await readDump({ ...dump, dir: held.dir }, scratch, signal)
  compareRows(findings, dump, new Map(tables.map(table => [key(table), table.rows])))
}

async function restoreAndLook(rehearsal: Rehearsal, server: PrivateServer | null, signal: AbortSignal): Promise<void> {
  const { flags, request, dir, findings, onProgress } = rehearsal
  const order = {
    at: null,
    withoutBinlog: false,
    libraries: [],
    withDeleted: false,
    to: dir,
    force: false,
    tablesOnly: false,
  }
  findings.restored = await restore(
    flags,
    {
      ...order,
      acceptHoles: request.acceptHoles,
      server: server?.optionFile ?? null,
      withoutTables: findings.tables !== 'restored',
    },
    {
      planned({ dump, between }) {
        if (findings.tables === 'restored') findings.dump = dump // a newer one may have come meanwhile
        findings.replay = between.replay
      },
      progress: onProgress,
      // what lacks something is no sample
      copied: (library, { damaged }) => void (damaged === 0 && findings.libraries.push(library)),
      leftOut: library => notRestored(findings, library),
    },
    signal,
  )
  const { dump } = findings
  if (dump && findings.tables === 'restored') {
    const tables = dump.tables.filter(table => isCompared(findings, table))
    const found = server ? await countMysql(server, tables, signal) : countSqlite(dir, dump)
    compareRows(findings, dump, found)
  }
  sampleFiles(rehearsal)
}

/** A rehearsal of the day on which the primary is gone does not need it: that it cannot be asked is said, and no problem. */
async function askPrimary(config: BackupConfig, findings: Findings, signal: AbortSignal): Promise<void> {
  const { dump } = findings
  if (!dump) return
  const { primaryUrls, syncTokens, caFile } = config
  await using client = new PrimaryClient({ urls: primaryUrls.map(url => url.href), syncTokens, ca: readCa(caFile) })
  try {
    const now = Date.now()
    const { problems, ...found } = besidePrimary(dump, await client.counts(signal), now)
    findings.besidePrimary = found
    findings.problems.push(...problems)
  } catch (error) {
    if (signal.aborted) throw error
    findings.primaryWhy = reason(error)
  }
}

function notRestored(findings: Findings, { repo, why, isLoss }: LeftOut): void {
  if (isLoss) findings.problems.push(`library ${repo} would not be restored: ${why}`)
}

/** Rows of these come with the libraries, not with the dump. */
const isOfLibraries = ({ table }: TableCount): boolean => Object.hasOwn(LIBRARY_TABLES, table)

/** Rows of these are as the dump has them. */
const isCompared = ({ replay }: Findings, table: TableCount): boolean =>
  !isOfLibraries(table) && !replay?.tables.has(key(table))

const key = ({ database, table }: TableCount): string => `${database}.${table}`

async function countMysql(
  server: PrivateServer,
  tables: readonly TableCount[],
  signal: AbortSignal,
): Promise<Map<string, number>> {
  if (tables.length === 0) return new Map()
  using client = new MysqlClient(server.access)
  const sql = tables.map(({ database, table }) => `SELECT COUNT(*) FROM ${quote(database)}.${quote(table)};`).join('\n')
  const counts = (await client.ask(sql, signal)).trim().split('\n').map(Number)
  return new Map(tables.map((table, i) => [key(table), counts[i] ?? NaN]))
}

function countSqlite(dir: string, dump: Dump): Map<string, number> {
  const found = dump.parts.flatMap(({ name }) => sqliteRows(join(dir, name), name))
  return new Map(found.map(table => [key(table), table.rows]))
}

function compareRows(findings: Findings, dump: Dump, found: ReadonlyMap<string, number>): void {
  for (const table of dump.tables) {
    if (!isCompared(findings, table)) continue
    const rows = found.get(key(table))
    findings.tablesCompared += 1
    findings.rowsCompared += table.rows
    if (rows !== table.rows)
      findings.problems.push(`table ${key(table)} has ${rows ?? 'no'} rows restored, and ${table.rows} in the dump`)
  }
}

/** Put together from the restored directory alone, as a server would read them. */
function sampleFiles({ dir, findings }: Rehearsal): void {
  const store = new DiskObjectReader(join(dir, 'seafile-data'))
  for (const { repo, rows } of chosen(findings.libraries, LIBRARIES_SAMPLED)) {
    try {
      const library = opened(store, repo, rows.virtual?.originRepo ?? repo, { head: rows.head, since: null })
      if (library.encryption) continue // without its password it is blocks, and those were compared
      for (const file of chosen(filesOf(library), FILES_SAMPLED)) findings.files.push(hashed(library, file))
    } catch (error) {
      findings.problems.push(`a file of library ${repo} cannot be read after the restore: ${reason(error)}`)
    }
  }
}

function filesOf(library: LibraryAt): Entry[] {
  const files: Entry[] = []
  let looked = 0
  for (const entry of below(library, rootOf(library))) {
    if (++looked > FILES_LOOKED_AT) break
    if (entry.kind === 'file' && (entry.size ?? 0) <= SAMPLE_BYTES_MAX) files.push(entry)
  }
  return files
}

function hashed(library: LibraryAt, file: Entry): SampledFile {
  const hash = createHash('sha256')
  let bytes = 0
  for (const part of contentsOf(library, file, null)) {
    hash.update(part)
    bytes += part.byteLength
  }
  return { library: library.repo, path: file.path, bytes, sha256: hash.digest('hex') }
}

/** Any of them, each once. */
function chosen<T>(all: readonly T[], count: number): T[] {
  const rest = [...all]
  return Array.from({ length: Math.min(count, rest.length) }, () => rest.splice(randomInt(rest.length), 1)[0] as T)
}
