/**
 * `seaf-backup-cmd promote`: this backup becomes the server.
 *
 * The fence comes first: from then on nothing syncs here any more, and an old
 * primary that comes back is told. Then the other tables are taken from the
 * dump, beside the three core ones, which are right as they are; then each
 * library gets its own rows back, which the dump had in an older state. Every
 * step may be done again.
 */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { openCatalog } from '../../shared/catalog/open-catalog.js'
import { readBackupConfig } from '../../shared/config.js'
import { BackupError } from '../../shared/errors.js'
import { silentLog } from '../../shared/log.js'
import { lockState } from '../../shared/state-lock.js'
import { writeDurably } from '../../shared/store/durable-file.js'
import { parseLibraryRows } from '../../shared/wire/rows-codec.js'
import { expectReplayable } from '../binlog/replay.js'
import { damageOf } from '../dumps/damage.js'
import { DumpStore } from '../dumps/dump-store.js'
import { quote } from '../restore/core-tables.js'
import { MysqlClient } from '../restore/mysql-client.js'
import { PromotionStates } from '../state/promotion-states.js'
import { DELETED, checkPromotion, librariesAhead, open } from './checklist.js'
import { importTables } from './import-tables.js'
import { newestTables } from './promoted-tables.js'
import {
  isBefore,
  markPromoted,
  markerIn,
  newPromotion,
  readMarker,
  readPromotion,
  writePromotion,
} from './promotion.js'
import { deleteTokens, removeFromTrash } from './stale-rows.js'
import type { CatalogWriter, LibraryRows } from '../../shared/catalog/catalog.js'
import type { BackupConfig } from '../../shared/config.js'
import type { DirectoryFlags } from '../../shared/directories.js'
import type { TablesPlan } from '../restore/tables-plan.js'
import type { Check, Checklist, Wanted } from './checklist.js'
import type { Imported } from './import-tables.js'
import type { Promotion, Step } from './promotion.js'

export interface PromoteRequest extends Wanted {
  readonly accepted: readonly string[]
}

export interface PromoteEvents {
  checked(checklist: Checklist): void
  /** A step is done, by this run or by one before. */
  step(step: Step, message: string): void
}

const ROWS_FILE = 'promotion-rows.jsonl'

export async function checkOnly(
  flags: DirectoryFlags,
  request: PromoteRequest,
  signal: AbortSignal,
): Promise<{ readonly checklist: Checklist; readonly promoted: Promotion | undefined }> {
  const config = readBackupConfig(flags)
  return { checklist: await checkPromotion(config, request, signal), promoted: readPromotion(config.stateDir) }
}

/** Undefined: nothing was fenced, so nothing was changed. @throws BackupError CONFIG_INVALID, STATE_UNUSABLE */
export const promotionHere = (flags: DirectoryFlags): Promotion | undefined =>
  readPromotion(readBackupConfig(flags).stateDir)

/**
 * @throws BackupError PROMOTION_STOPPED with what is not certain; ALREADY_RUNNING while the daemon runs; those of the
 * database, the dump and the disk: then the same command goes on from the last step
 */
export async function promote(
  flags: DirectoryFlags,
  request: PromoteRequest,
  events: PromoteEvents,
  signal: AbortSignal,
): Promise<Promotion> {
  const startedAt = Date.now()
  const config = readBackupConfig(flags)
  using _lock = lockOut(config.stateDir)
  new DumpStore(config.stateDir).prepare() // of a run that was killed an unpacked database may lie there
  const before = readPromotion(config.stateDir)
  if (!before) expectUnmarked(config)
  let promotion = before ? await takenUp(config, request, before, signal) : await fence(config, request, events, signal)
  await markPromoted(config.dataDir, promotion)
  if (isBefore(promotion, 'done')) promotion = await learnAhead(config, promotion, startedAt, signal)
  events.step('fenced', `nothing is synced here any more (epoch ${promotion.epoch})`)
  const run = async (step: Step, work: () => Promise<string | Imported>): Promise<void> => {
    if (!isBefore(promotion, step)) return events.step(step, 'done before')
    signal.throwIfAborted()
    const done = await work()
    const { message, ...noted } = typeof done === 'string' ? { message: done } : done
    promotion = await writePromotion(config.stateDir, { ...promotion, ...noted, step })
    events.step(step, message)
  }
  await run('rows-saved', () => saveRows(config, signal))
  if (promotion.dump !== null && isBefore(promotion, 'importing'))
    promotion = await writePromotion(config.stateDir, { ...promotion, step: 'importing' })
  await run('tables', () => importTables(config, promotion, signal))
  await run('rows', () => applyRows(config, promotion, signal))
  await run('done', async () => {
    promotion = await learnAhead(config, promotion, startedAt, signal) // what took long was before this
    return deleteTokens(config, promotion.ahead, signal)
  })
  return promotion
}

/** A server may run on this data for months: nothing of an older dump must get into its tables. */
function expectUnmarked({ dataDir }: BackupConfig): void {
  const marker = readMarker(dataDir)
  if (!marker) return
  const when = new Date(marker.at).toISOString()
  const message = `promote: this data was promoted on ${when} (epoch ${marker.epoch}), and the state directory of then is not here`
  const nextStep = `put that one back, or, only when no server runs on this data, remove ${markerIn(dataDir)}`
  throw new BackupError('PROMOTED', message, { nextStep })
}

/** A daemon that runs would go on syncing. */
function lockOut(stateDir: string): Disposable {
  try {
    return lockState(stateDir)
  } catch (error) {
    if (!(error instanceof BackupError) || error.code !== 'ALREADY_RUNNING') throw error
    const nextStep = 'stop it first: systemctl stop seaf-backup-server'
    throw new BackupError('ALREADY_RUNNING', 'promote: the backup daemon runs', { nextStep }, { cause: error })
  }
}

/** As long as no table was replaced, another dump may be taken, or none, and what was deleted kept; more be given up always. */
async function takenUp(
  config: BackupConfig,
  { withoutTables, withDeleted, keepTokens, accepted }: PromoteRequest,
  before: Promotion,
  signal: AbortSignal,
): Promise<Promotion> {
  if (withDeleted && before.deleted.length > 0 && !isBefore(before, 'tables')) throw tooLate(before)
  if (!isBefore(before, 'done')) return before
  const all = [...new Set([...before.accepted, ...accepted])]
  const promotion = { ...before, accepted: all, keepTokens: before.keepTokens || keepTokens }
  if (!isBefore(promotion, 'tables')) return writePromotion(config.stateDir, promotion)
  const tables = withoutTables ? null : await newestTables(config, signal)
  if (!tables?.dump && !isBefore(promotion, 'importing')) throw halfImported(promotion)
  await expectImportable(config, tables, signal)
  const deleted = withDeleted ? [] : promotion.deleted
  return writePromotion(config.stateDir, { ...promotion, deleted, dump: tables?.dump?.id ?? null })
}

function halfImported({ dump }: Promotion): BackupError {
  const message = `promote: the import of dump ${dump} was begun, and half of the tables may be its own: a server must not run on that`
  const nextStep = 'mend what kept the import from its end, and run it again without --without-tables: it begins anew'
  return new BackupError('PROMOTION_STOPPED', message, { nextStep })
}

function tooLate({ deleted }: Promotion): BackupError {
  const message = `promote --with-deleted: the rows of ${deleted.length} libraries that the primary had deleted are removed already`
  const nextStep = `run it without --with-deleted; their rows are in ${ROWS_FILE} in the state directory, their objects are all here`
  return new BackupError('BAD_REQUEST', message, { nextStep })
}

async function fence(
  config: BackupConfig,
  request: PromoteRequest,
  events: PromoteEvents,
  signal: AbortSignal,
): Promise<Promotion> {
  const checklist = await checkPromotion(config, request, signal)
  events.checked(checklist)
  const stopped = open(checklist, request.accepted)
  if (stopped.length > 0) throw notCertain(stopped)
  const { tables, ahead, deleted, heardAt } = checklist
  await expectImportable(config, tables, signal)
  const { accepted, keepTokens } = request
  const given = { dump: tables.dump?.id ?? null, accepted, ahead, deleted, keepTokens, heardAt }
  return writePromotion(config.stateDir, newPromotion(Date.now(), given))
}

/**
 * What moved on a primary that still serves, since it was asked; what was ahead once stays so, also when it is gone.
 * @throws BackupError PROMOTION_STOPPED when it has been silent for too long since a run that was not told so
 */
async function learnAhead(
  config: BackupConfig,
  promotion: Promotion,
  startedAt: number,
  signal: AbortSignal,
): Promise<Promotion> {
  const found = await librariesAhead(config, promotion, startedAt, signal)
  if (found.silence && !promotion.accepted.includes('libraries')) throw notCertain([found.silence])
  const ahead = [...new Set([...promotion.ahead, ...found.ahead])]
  const { heardAt } = found
  if (ahead.length === promotion.ahead.length && heardAt === promotion.heardAt) return promotion
  return writePromotion(config.stateDir, { ...promotion, ahead, heardAt })
}

/**
 * Before anything is fenced: the dump is read to its end, and the account may make and write its databases, and replay
 * what came after it. @throws BackupError DUMP_DAMAGED, noted beside the dump; RESTORE_FAILED
 */
async function expectImportable(
  { stateDir, database }: BackupConfig,
  tables: TablesPlan | null,
  signal: AbortSignal,
): Promise<void> {
  if (!tables?.dump) return
  const { dump, between } = tables
  const store = new DumpStore(stateDir)
  const damage = await damageOf(store, dump, signal)
  if (damage !== null) {
    await store.judge(dump.id, { at: Date.now(), damage })
    throw new BackupError('DUMP_DAMAGED', damage)
  }
  if (database.type !== 'mysql') return
  using client = new MysqlClient(database)
  const probe = (name: string) =>
    `CREATE DATABASE IF NOT EXISTS ${quote(name)}; CREATE TABLE IF NOT EXISTS ${quote(name)}.seaf_backup_probe (n INT);
     INSERT INTO ${quote(name)}.seaf_backup_probe VALUES (1); DROP TABLE ${quote(name)}.seaf_backup_probe;`
  await client.ask(dump.databases.map(probe).join('\n'), signal)
  if (between.replay) await expectReplayable(client, between.replay, signal)
}

function notCertain(stopped: readonly Check[]): BackupError {
  const losses = [...new Set(stopped.flatMap(({ loss }) => loss ?? []))]
  const what = stopped.map(({ what, message }) => `${what}: ${message}`).join('; ')
  const mustMend = stopped.some(({ verdict }) => verdict === 'stop')
  const keep = stopped.some(({ what }) => what === DELETED) ? ', or keep what was deleted: --with-deleted' : ''
  const nextStep = mustMend
    ? 'mend what the message names first'
    : `to go on all the same, name what is given up: --accept-loss ${losses.join(',')}${keep}`
  return new BackupError('PROMOTION_STOPPED', `promote: ${what}`, { nextStep })
}

/** As they are before the dump's own, older ones take their place. */
async function saveRows(config: BackupConfig, signal: AbortSignal): Promise<string> {
  await using catalog = await openCatalog(config.database, silentLog, { create: true })
  const lines: string[] = []
  for (const { repo } of await catalog.listing(signal)) {
    const rows = (await catalog.read(repo, signal))?.rows
    if (rows) lines.push(JSON.stringify(rows))
  }
  await writeDurably(join(config.stateDir, ROWS_FILE), Buffer.from(lines.map(line => `${line}\n`).join(''), 'utf8'))
  return `the rows of ${lines.length} libraries are saved`
}

async function applyRows(config: BackupConfig, promotion: Promotion, signal: AbortSignal): Promise<string> {
  const saved = readFileSync(join(config.stateDir, ROWS_FILE), 'utf8')
    .split('\n')
    .filter(line => line !== '')
    .map(line => parseLibraryRows(JSON.parse(line)))
  const isNewer = dumpIsNewer(config, promotion)
  const deleted = new Set<string>(promotion.deleted)
  await using catalog = await openCatalog(config.database, silentLog, { create: true })
  for (const rows of saved) {
    if (deleted.has(rows.repo)) await catalog.removeRows(rows.repo, true, signal)
    else if (hasHead(rows)) await applyTo(catalog, rows, isNewer(rows.repo), signal)
  }
  const remnants = await catalog.remnants(signal)
  for (const repo of remnants) await catalog.removeRows(repo, false, signal)
  await removeFromTrash(config, signal)
  const count = saved.length - deleted.size
  return `${count} libraries have owner, name and limits as they were last; ${deleted.size} that the primary had deleted are not brought back (their rows are in ${ROWS_FILE}); rows of ${remnants.length} that are not here were removed`
}

/** The newer one of the dump's owner and ours; what we do not know we leave as the dump has it. */
async function applyTo(catalog: CatalogWriter, rows: Headed, isDumpNewer: boolean, signal: AbortSignal): Promise<void> {
  const now = await catalog.read(rows.repo, signal)
  if (!now || now.rows.head !== rows.head) {
    const message = `re-apply the rows of library ${rows.repo}: its head is not the one that was saved; does a server run on this database already?`
    throw new BackupError('HEAD_CONFLICT', message)
  }
  const { owner, info } = now.rows
  const wanted = {
    ...rows,
    owner: isDumpNewer ? (owner ?? rows.owner) : (rows.owner ?? owner),
    info: rows.info ?? info,
  }
  await catalog.moveHead({ rows: wanted, from: rows.head, gcId: now.gcId }, signal)
}

/** Than what was recorded of a library's rows here. */
function dumpIsNewer({ stateDir }: BackupConfig, { dump: id, tablesAsOf }: Promotion): (repo: string) => boolean {
  if (id === null) return () => false
  const asOf = tablesAsOf ?? new DumpStore(stateDir).find(id).askedAt
  using states = new PromotionStates(stateDir)
  const recorded = new Map<string, number | null>(states.libraries().map(({ repo, recordedAt }) => [repo, recordedAt]))
  return repo => asOf > (recorded.get(repo) ?? 0)
}

type Headed = LibraryRows & { readonly head: NonNullable<LibraryRows['head']> }

const hasHead = (rows: LibraryRows): rows is Headed => rows.head !== null
