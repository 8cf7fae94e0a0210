/**
 * What is certain before a promotion, and what would be lost by it: looked at now, on this host, with the primary asked
 * if it answers. Reads only.
 */

import { openCatalogReader } from '../../shared/catalog/open-catalog.js'
import { duration } from '../../shared/duration.js'
import { asBackupError, reason } from '../../shared/errors.js'
import { silentLog } from '../../shared/log.js'
import { findProgram } from '../../shared/mysql-options.js'
import { PromotionStates } from '../state/promotion-states.js'
import { tablesAsOf } from '../restore/tables-plan.js'
import { PrimaryClient, readCa } from '../sync/primary-client.js'
import { NO_TABLES, newestTables } from './promoted-tables.js'
import type { BackupConfig } from '../../shared/config.js'
import type { RepoId } from '../../shared/ids.js'
import type { Dump } from '../dumps/dump-manifest.js'
import type { TablesPlan } from '../restore/tables-plan.js'
import type { NewestTables } from './promoted-tables.js'
import type { KnownLibrary } from '../state/promotion-states.js'

/** What can be agreed to lose, by `--accept-loss`. */
export const LOSSES = ['primary', 'libraries', 'tables'] as const
export type Loss = (typeof LOSSES)[number]

export interface Check {
  readonly what: string
  /** `loss`: goes on when that is accepted; `stop`: not before it is mended. */
  readonly verdict: 'good' | 'loss' | 'stop'
  readonly loss: Loss | null
  readonly message: string
}

export interface Checklist {
  readonly checks: readonly Check[]
  readonly tables: TablesPlan
  /** Libraries of which the primary, for all that is known, has or had a newer state. */
  readonly ahead: readonly RepoId[]
  /** That the primary had deleted. */
  readonly deleted: readonly RepoId[]
}

/** A dump that young was taken for this. */
const FRESH_DUMP_MS = 10 * 60_000
const ASK_MS_MAX = 15_000
const NAMED_MAX = 20

/** `withoutTables`: those of the dump are not wanted. */
export async function checkPromotion(
  config: BackupConfig,
  { withoutTables }: { readonly withoutTables: boolean },
  signal: AbortSignal,
): Promise<Checklist> {
  using states = new PromotionStates(config.stateDir)
  const known = states.libraries()
  const primary = await askPrimary(config, signal)
  const own = await ownHeads(config, signal)
  const libraries = checkLibraries(known, primary.heads, own.heads)
  const tables = withoutTables ? NO_TABLES : await newestTables(config, signal)
  const checks = [
    own.check,
    checkPrimary(primary, states.newestRecord()),
    libraries.check,
    ...checkDeleted(known, primary.heads),
    ...(withoutTables
      ? [acceptable('tables', 'the other tables', 'users, groups and shares are left out, as was asked')]
      : []),
    ...(withoutTables ? [] : checkTables(config, tables)),
  ]
  return { checks, tables, ahead: libraries.ahead, deleted: deletedOf(known, primary.heads) }
}

/**
 * Of which libraries clients may be ahead of this host, as of now. @throws BackupError when its own database does not
 * answer: then nothing is known
 */
export async function librariesAhead(config: BackupConfig, signal: AbortSignal): Promise<readonly RepoId[]> {
  using states = new PromotionStates(config.stateDir)
  const primary = await askPrimary(config, signal)
  await using catalog = await openCatalogReader(config.database, silentLog)
  return checkLibraries(states.libraries(), primary.heads, await catalog.heads(signal)).ahead
}

const good = (what: string, message: string): Check => ({ what, verdict: 'good', loss: null, message })
const stop = (what: string, message: string): Check => ({ what, verdict: 'stop', loss: null, message })
const acceptable = (loss: Loss, what: string, message: string): Check => ({ what, verdict: 'loss', loss, message })

interface AskedPrimary {
  /** Undefined: it does not answer. */
  readonly heads: ReadonlyMap<RepoId, string | null> | undefined
  readonly why: string
}

async function askPrimary(config: BackupConfig, signal: AbortSignal): Promise<AskedPrimary> {
  const { primaryUrls, syncTokens, caFile } = config
  await using client = new PrimaryClient({ urls: primaryUrls.map(url => url.href), syncTokens, ca: readCa(caFile) })
  try {
    const listing = await client.listing(AbortSignal.any([signal, AbortSignal.timeout(ASK_MS_MAX)]))
    return { heads: new Map([...listing].map(({ repo, head }) => [repo, head])), why: '' }
  } catch (error) {
    if (signal.aborted) throw error
    return { heads: undefined, why: reason(error) }
  }
}

async function ownHeads(config: BackupConfig, signal: AbortSignal) {
  try {
    await using catalog = await openCatalogReader(config.database, silentLog)
    const heads = await catalog.heads(signal)
    return { heads, check: good('this host', `its database answers, ${heads.size} libraries have a head in it`) }
  } catch (error) {
    if (signal.aborted) throw error
    return { heads: new Map<RepoId, string>(), check: stop('this host', asBackupError(error).message) }
  }
}

function checkPrimary({ heads, why }: AskedPrimary, newest: number | null): Check {
  const last = newest === null ? 'never' : new Date(newest).toISOString()
  if (heads === undefined) {
    const message = `it does not answer (${why}): what it had beyond the last change that came here (${last}) is lost`
    return acceptable('primary', 'the primary', message)
  }
  const message = 'it answers: what is written there from now on is lost. Stop Seafile there first, and its agent last'
  return acceptable('primary', 'the primary', message)
}

/** Of each library what is known of the primary's head, now or when it was last heard, beside ours. */
function checkLibraries(
  known: readonly KnownLibrary[],
  theirs: AskedPrimary['heads'],
  ours: ReadonlyMap<RepoId, string>,
): { readonly check: Check; readonly ahead: RepoId[] } {
  const live = known.filter(({ repo, deleted }) => (theirs ? theirs.has(repo) : !deleted))
  const heardOf = new Set(known.map(({ repo }) => repo))
  const unknown = [...(theirs?.keys() ?? [])].filter(repo => !heardOf.has(repo))
  const wanted = (library: KnownLibrary) => (theirs ? (theirs.get(library.repo) ?? null) : library.primaryHead)
  const behind = live.filter(library => wanted(library) !== (ours.get(library.repo) ?? null)).map(({ repo }) => repo)
  const unseen = live
    .filter(({ repo, vouched }) => ours.has(repo) && vouched !== ours.get(repo))
    .map(({ repo }) => repo)
  const damaged = live.filter(({ holes }) => holes > 0).map(({ repo }) => repo)
  const ahead = [...behind, ...unknown]
  const lacking = new Set([...ahead, ...unseen, ...damaged])
  if (lacking.size === 0)
    return { check: good('libraries', `all ${live.length} are here as the primary had them`), ahead }
  const parts = [
    named(behind, 'not here as the primary has or had them'),
    named(unknown, 'not here at all'),
    named(unseen, 'of which nobody has seen that all is here'),
    named(damaged, 'with objects missing or damaged'),
  ].filter(part => part !== '')
  return {
    check: acceptable('libraries', 'libraries', `of ${live.length + unknown.length}: ${parts.join('; ')}`),
    ahead,
  }
}

/** On the primary they are in the trash, or nowhere: as the dump has it. */
function checkDeleted(known: readonly KnownLibrary[], theirs: AskedPrimary['heads']): Check[] {
  const gone = deletedOf(known, theirs)
  if (gone.length === 0) return []
  return [good('deleted libraries', `${gone.length} that the primary had deleted do not come back`)]
}

const deletedOf = (known: readonly KnownLibrary[], theirs: AskedPrimary['heads']): RepoId[] =>
  known.filter(({ repo, deleted }) => (theirs ? !theirs.has(repo) : deleted)).map(({ repo }) => repo)

function named(repos: readonly RepoId[], what: string): string {
  if (repos.length === 0) return ''
  const more = repos.length > NAMED_MAX ? ` and ${repos.length - NAMED_MAX} more` : ''
  return `${repos.length} ${what}: ${repos.slice(0, NAMED_MAX).join(' ')}${more}`
}

function checkTables(config: BackupConfig, tables: NewestTables): Check[] {
  const what = 'the other tables'
  const { dump } = tables
  if (!dump) return [acceptable('tables', what, 'there is no dump: no users, groups or shares')]
  const checks = [checkAge(tables, dump, what)]
  if (tables.obstacle !== null)
    checks.push(acceptable('tables', what, `nothing after the dump is replayed: ${tables.obstacle}`))
  if (dump.absent.length > 0)
    checks.push(
      acceptable('tables', what, `the dump has no ${dump.absent.join(', ')}: the primary had none, or elsewhere`),
    )
  return [...checks, ...checkDatabase(config, dump)]
}

function checkAge(tables: NewestTables, dump: Dump, what: string): Check {
  const { replay, short } = tables.between
  const asOf = tablesAsOf(tables) ?? 0
  const age = Date.now() - asOf
  const since = new Date(asOf).toISOString()
  const from = replay
    ? `dump ${dump.id} and ${replay.transactions} transactions of the binlog after it`
    : `dump ${dump.id}`
  if (age >= 0 && age <= FRESH_DUMP_MS)
    return good(what, replay ? `as of ${since}, ${duration(age)} ago: ${from}` : `${from}, ${duration(age)} old`)
  const ago = age < 0 ? 'by a clock that ran ahead' : `${duration(age)} ago`
  const message = `what was changed in users, groups and shares since ${since} (${ago}) is lost: they are as of ${from}${dump.position && short !== null && tables.obstacle === null ? `; ${short}` : ''}`
  return acceptable('tables', what, message)
}

/** Whether the tables of a dump fit the database here. */
export function checkDatabase({ database }: Pick<BackupConfig, 'database'>, dump: Dump): Check[] {
  const checks: Check[] = []
  if (dump.engine !== database.type) {
    checks.push(stop('the database', `the dump is of ${dump.engine}, [database] type here is ${database.type}`))
  } else if (database.type === 'mysql') {
    const [theirs] = dump.databases
    if (theirs !== database.dbName)
      checks.push(
        stop('the database', `the dump calls Seafile's database ${theirs}, db_name here is ${database.dbName}`),
      )
    if (findProgram(['mariadb', 'mysql']) === undefined)
      checks.push(stop('the database', 'neither mariadb nor mysql is installed here: install mariadb-client'))
  }
  return checks
}

/** What keeps a promotion from going on, with what was accepted. */
export const open = ({ checks }: Checklist, accepted: readonly string[]): Check[] =>
  checks.filter(({ verdict, loss }) => verdict === 'stop' || (loss !== null && !accepted.includes(loss)))
