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
import { isLately, wentTogether } from '../restore/went-together.js'
import { PrimaryClient, readCa } from '../sync/primary-client.js'
import { NO_TABLES, newestTables } from './promoted-tables.js'
import { unlikeHere } from './target-server.js'
import type { BackupConfig } from '../../shared/config.js'
import type { RepoId } from '../../shared/ids.js'
import type { Dump } from '../dumps/dump-manifest.js'
import type { TablesPlan } from '../restore/tables-plan.js'
import type { Gone } from '../restore/went-together.js'
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
  /** That the primary had deleted, and that do not come back. */
  readonly deleted: readonly RepoId[]
  /** Unix ms: when the primary was asked; null: it does not answer. */
  readonly heardAt: number | null
}

/** A dump that young was taken for this. */
const FRESH_DUMP_MS = 10 * 60_000
const ASK_MS_MAX = 15_000
const NAMED_MAX = 20
const TABLES = 'the other tables'

export interface Wanted {
  /** Those of the dump are not. */
  readonly withoutTables: boolean
  /** Libraries that the primary had deleted, too. */
  readonly withDeleted: boolean
  /** The primary served nobody since it was heard last, says the administrator: however long ago that is. */
  readonly keepTokens: boolean
}

export async function checkPromotion(
  config: BackupConfig,
  { withoutTables, withDeleted, keepTokens }: Wanted,
  signal: AbortSignal,
): Promise<Checklist> {
  using states = new PromotionStates(config.stateDir)
  const known = states.libraries()
  const primary = await askPrimary(config, signal)
  const own = await ownHeads(config, signal)
  const gone = goneOf(known, primary.heads)
  const deleted = withDeleted ? [] : gone.map(({ repo }) => repo)
  const silence = silenceOf(primary, states.contactAt(), config, Date.now())
  const live = without(known, deleted)
  const libraries = checkLibraries(live, primary.heads, own.heads)
  const ahead = silence === null || keepTokens ? libraries.ahead : live.map(({ repo }) => repo)
  const tables = withoutTables ? NO_TABLES : await newestTables(config, signal)
  const checks = [
    own.check,
    checkPrimary(primary, states.newestRecord()),
    libraries.check,
    ...(silence === null ? [] : [checkSilence(silence, live.length, keepTokens)]),
    ...(withDeleted ? checkBack(gone) : checkDeleted(gone, known.length - gone.length)),
    ...(withoutTables ? [acceptable('tables', TABLES, 'users, groups and shares are left out, as was asked')] : []),
    ...(withoutTables ? [] : checkTables(config, tables, primary.heads !== undefined)),
    ...(await checkServer(config, tables.dump, signal)),
  ]
  return { checks, tables, ahead, deleted, heardAt: primary.at }
}

/** What of a promotion that is under way matters for who is ahead. */
interface Asked {
  readonly deleted: readonly RepoId[]
  readonly keepTokens: boolean
  readonly heardAt: number | null
}

/**
 * Of which libraries clients may be ahead of this host, as of now; and that nobody knows it, when that was agreed to or
 * not. `at`: Unix ms, when whoever asks began. @throws BackupError when its own database does not answer
 */
export async function librariesAhead(
  config: BackupConfig,
  { deleted, keepTokens, heardAt }: Asked,
  at: number,
  signal: AbortSignal,
): Promise<{ readonly ahead: readonly RepoId[]; readonly silence: Check | null; readonly heardAt: number | null }> {
  using states = new PromotionStates(config.stateDir)
  const primary = await askPrimary(config, signal)
  await using catalog = await openCatalogReader(config.database, silentLog)
  const live = without(states.libraries(), deleted)
  const { ahead } = checkLibraries(live, primary.heads, await catalog.heads(signal))
  const heardUntil = Math.max(states.contactAt() ?? -Infinity, heardAt ?? -Infinity)
  const silence = silenceOf(primary, Number.isFinite(heardUntil) ? heardUntil : null, config, at)
  const asked = { heardAt: primary.at ?? heardAt }
  if (silence === null) return { ...asked, ahead, silence }
  return {
    ...asked,
    ahead: keepTokens ? ahead : live.map(({ repo }) => repo),
    silence: checkSilence(silence, live.length, keepTokens),
  }
}

const good = (what: string, message: string): Check => ({ what, verdict: 'good', loss: null, message })
const stop = (what: string, message: string): Check => ({ what, verdict: 'stop', loss: null, message })
const acceptable = (loss: Loss, what: string, message: string): Check => ({ what, verdict: 'loss', loss, message })

interface AskedPrimary {
  /** Unix ms, when it was asked; null: it does not answer. */
  readonly at: number | null
  /** Undefined: it does not answer. */
  readonly heads: ReadonlyMap<RepoId, string | null> | undefined
  readonly why: string
}

async function askPrimary(config: BackupConfig, signal: AbortSignal): Promise<AskedPrimary> {
  const { primaryUrls, syncTokens, caFile } = config
  await using client = new PrimaryClient({ urls: primaryUrls.map(url => url.href), syncTokens, ca: readCa(caFile) })
  const at = Date.now()
  try {
    const listing = await client.listing(AbortSignal.any([signal, AbortSignal.timeout(ASK_MS_MAX)]))
    return { at, heads: new Map([...listing].map(({ repo, head }) => [repo, head])), why: '' }
  } catch (error) {
    if (signal.aborted) throw error
    return { at: null, heads: undefined, why: reason(error) }
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

/** For longer than `rpo` nobody has heard of the primary. */
interface Silence {
  /** Unix ms: until when all that it had was heard of; null: nobody noted it. */
  readonly since: number | null
  readonly rpoMs: number
}

/** Null: it answers, or has until just before `at`. A clock that was set back since then proves nothing. */
function silenceOf({ heads }: AskedPrimary, since: number | null, { rpoMs }: BackupConfig, at: number): Silence | null {
  if (heads !== undefined) return null
  return since !== null && since <= Date.now() && at - since <= rpoMs ? null : { since, rpoMs }
}

/** What is here is what it had then: nobody knows of which libraries clients have sent it more since. */
function checkSilence({ since, rpoMs }: Silence, count: number, keepTokens: boolean): Check {
  const what = 'libraries since then'
  const until =
    since === null
      ? 'nobody noted until when all that the primary had was heard of'
      : `all that the primary had was heard of until ${new Date(since).toISOString()}, ${ago(Date.now() - since)} (rpo ${duration(rpoMs)})`
  const clients = keepTokens
    ? 'clients stay signed in, as was asked: if it did serve, they take what is not here for deleted'
    : `so clients of all ${count} libraries must sign in again; if it served nobody since then: --keep-tokens`
  return acceptable(
    'libraries',
    what,
    `${until}: what it took in later is not here, and nobody can say of which libraries, ${clients}`,
  )
}

const ago = (age: number): string => (age < 0 ? 'by a clock that ran ahead' : `${duration(age)} ago`)

function without(known: readonly KnownLibrary[], deleted: readonly RepoId[]): KnownLibrary[] {
  const left = new Set(deleted)
  return known.filter(({ repo }) => !left.has(repo))
}

/** Of each library what is known of the primary's head, now or when it was last heard, beside ours. */
function checkLibraries(
  live: readonly KnownLibrary[],
  theirs: AskedPrimary['heads'],
  ours: ReadonlyMap<RepoId, string>,
): { readonly check: Check; readonly ahead: RepoId[] } {
  const heardOf = new Set(live.map(({ repo }) => repo))
  const unknown = [...(theirs?.keys() ?? [])].filter(repo => !heardOf.has(repo))
  const wanted = (library: KnownLibrary) => {
    const head = theirs?.get(library.repo) // undefined also of one that it has no more, and that comes back
    return head === undefined ? library.primaryHead : head
  }
  const behind = live.filter(library => wanted(library) !== (ours.get(library.repo) ?? null)).map(({ repo }) => repo)
  const unseen = live
    .filter(({ repo, vouched }) => ours.has(repo) && vouched !== ours.get(repo))
    .map(({ repo }) => repo)
  const damaged = live.filter(({ holes }) => holes > 0).map(({ repo }) => repo)
  const ahead = [...behind, ...unknown]
  const lacking = new Set([...ahead, ...unseen, ...damaged])
  if (lacking.size === 0)
    return {
      check: good(
        'libraries',
        `all ${live.length} are here as the primary ${theirs ? 'has' : 'was last known to have'} them`,
      ),
      ahead,
    }
  const parts = [
    named(behind, 'not here as the primary has or had them', asOf(live)),
    named(unknown, 'not here at all'),
    named(unseen, 'of which nobody has seen that all is here'),
    named(damaged, 'with objects missing or damaged'),
  ].filter(part => part !== '')
  return {
    check: acceptable('libraries', 'libraries', `of ${live.length + unknown.length}: ${parts.join('; ')}`),
    ahead,
  }
}

/** What the check of them is called. */
export const DELETED = 'deleted libraries'

/** On the primary they are in its trash, or were lost: nobody here can know. Those of long ago nobody will miss. */
function checkDeleted(gone: readonly Gone[], present: number): Check[] {
  const now = Date.now()
  const lately = gone.filter(one => isLately(one, now))
  const older = gone.length - lately.length
  const together = wentTogether(gone, present, now)
  const missed = [...lately, ...gone.filter(one => together.has(one.repo) && !isLately(one, now))]
  if (missed.length === 0)
    return older === 0 ? [] : [good(DELETED, `${older} that the primary had deleted over a month ago do not come back`)]
  const list = missed.slice(0, NAMED_MAX).map(({ repo, since }) => `${repo} (${shownSince(since)})`)
  const more = missed.length > NAMED_MAX ? ` and ${missed.length - NAMED_MAX} more` : ''
  const doubt = together.size > 0 ? `${together.size} of them at once, which is most: was its table lost? ` : ''
  const message = `${missed.length} that the primary has no more do not come back: ${list.join(' ')}${more}. ${doubt}With --with-deleted they come back`
  return [acceptable('libraries', DELETED, message)]
}

const shownSince = (since: number | null): string =>
  since === null ? 'not noticed before' : `since ${new Date(since).toISOString()}`

const checkBack = (gone: readonly Gone[]): Check[] =>
  gone.length === 0 ? [] : [good(DELETED, `${gone.length} that the primary had deleted come back`)]

const goneOf = (known: readonly KnownLibrary[], theirs: AskedPrimary['heads']): Gone[] =>
  known
    .filter(({ repo, deleted }) => (theirs ? !theirs.has(repo) : deleted))
    .map(({ repo, deletedSince }) => ({ repo, since: deletedSince }))

/** Of when what is here of a library is. */
function asOf(live: readonly KnownLibrary[]): (repo: RepoId) => string {
  const recorded = new Map(live.map(({ repo, recordedAt }) => [repo, recordedAt]))
  return repo => {
    const at = recorded.get(repo) ?? null
    return at === null ? repo : `${repo} (here as of ${new Date(at).toISOString()}, ${ago(Date.now() - at)})`
  }
}

function named(repos: readonly RepoId[], what: string, shown: (repo: RepoId) => string = repo => repo): string {
  if (repos.length === 0) return ''
  const more = repos.length > NAMED_MAX ? ` and ${repos.length - NAMED_MAX} more` : ''
  return `${repos.length} ${what}: ${repos.slice(0, NAMED_MAX).map(shown).join(' ')}${more}`
}

function checkTables(config: BackupConfig, tables: NewestTables, answers: boolean): Check[] {
  const what = TABLES
  const { dump } = tables
  if (!dump) return [acceptable('tables', what, 'there is no dump: no users, groups or shares')]
  const checks = [checkAge(tables, dump, answers)]
  if (tables.obstacle !== null)
    checks.push(acceptable('tables', what, `nothing after the dump is replayed: ${tables.obstacle}`))
  if (dump.absent.length > 0)
    checks.push(
      acceptable('tables', what, `the dump has no ${dump.absent.join(', ')}: the primary had none, or elsewhere`),
    )
  return [...checks, ...checkDatabase(config, dump)]
}

/** A dump alone is young enough where another one can be taken; where nobody answers, whatever came after it is lost. */
function checkAge(tables: NewestTables, dump: Dump, answers: boolean): Check {
  const what = TABLES
  const { replay, short } = tables.between
  const asOf = tablesAsOf(tables) ?? 0
  const age = Date.now() - asOf
  const since = new Date(asOf).toISOString()
  const from = replay
    ? `dump ${dump.id} and ${replay.transactions} transactions of the binlog after it`
    : `dump ${dump.id}`
  if ((answers || replay) && age >= 0 && age <= FRESH_DUMP_MS)
    return good(what, replay ? `as of ${since}, ${duration(age)} ago: ${from}` : `${from}, ${duration(age)} old`)
  const message = `what was changed in users, groups and shares since ${since} (${ago(age)}) is lost: they are as of ${from}${dump.position && short !== null && tables.obstacle === null ? `; ${short}` : ''}`
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

/** Whether its server can read what the primary's server wrote. */
async function checkServer({ database }: BackupConfig, dump: Dump | null, signal: AbortSignal): Promise<Check[]> {
  if (dump?.engine !== 'mysql' || database.type !== 'mysql' || findProgram(['mariadb', 'mysql']) === undefined)
    return []
  const why = await unlikeHere(dump.server, database, signal)
  return why === null ? [] : [stop('the database', why)]
}

/** What keeps a promotion from going on, with what was accepted. */
export const open = ({ checks }: Checklist, accepted: readonly string[]): Check[] =>
  checks.filter(({ verdict, loss }) => verdict === 'stop' || (loss !== null && !accepted.includes(loss)))
