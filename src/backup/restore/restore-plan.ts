/**
 * What a restore of an instant consists of: which libraries at which heads, which dump, and what its users would lose.
 *
 * Pure reading: rows and objects of the backup, the head log, the dumps that are kept. Nothing is promised of a
 * closure here; copying it proves it (copy-library.ts).
 */

import { storeIdOf } from '../../shared/catalog/library-tables.js'
import { BackupError } from '../../shared/errors.js'
import { historyRule } from '../../shared/seafile/history-rule.js'
import { IdSet } from '../../shared/seafile/id-set.js'
import { findLibrary } from '../find-library.js'
import { baseOf } from './virtual-base.js'
import { wentTogether } from './went-together.js'
import type { CatalogReader, LibraryRows } from '../../shared/catalog/catalog.js'
import type { CommitId, RepoId } from '../../shared/ids.js'
import type { Commit } from '../../shared/seafile/objects.js'
import type { DiskObjectReader } from '../../shared/store/disk-object-store.js'
import type { PastStates } from '../state/past-states.js'
import type { TablesOrder, TablesPlan } from './tables-plan.js'

export interface PlannedLibrary {
  readonly repo: RepoId
  readonly name: string | null
  /** As they will stand in the restored database. */
  readonly rows: LibraryRows & { readonly head: CommitId }
  readonly truncateTime: number
  /** Unix ms: since when this was its head; null: not known. */
  readonly since: number | null
  /** Null: its head is the one recorded now. */
  readonly goesBack: LostWork | null
  /** Unix ms: when its rows were recorded here last; null: not known. */
  readonly recordedAt: number | null
  /** The primary has it no more; since when is not known. */
  readonly deletedSometime: boolean
}

/** What was done after the head that is restored. */
export interface LostWork {
  /** At most COMMITS_COUNTED_MAX; then there are more. */
  readonly commits: number
  /** Unix seconds, of the newest. */
  readonly until: number | null
}

export interface RestorePlan extends TablesPlan {
  /** Unix ms; null: all that is here now. */
  readonly at: number | null
  readonly libraries: readonly PlannedLibrary[]
  /** Known here, and not part of it: with why. */
  readonly leftOut: readonly LeftOut[]
}

export interface LeftOut {
  readonly repo: RepoId
  readonly name: string | null
  readonly why: string
  /** It ought to be there. */
  readonly isLoss: boolean
}

export const COMMITS_COUNTED_MAX = 10_000

export interface PlanParts {
  readonly catalog: CatalogReader
  readonly past: PastStates
  readonly store: DiskObjectReader
  readonly tables: TablesPlan
  readonly confKeepDays: number | null
}

export interface RestoreOrder extends TablesOrder {
  /** Ids or beginnings of ids; empty: all. What is named comes also when the primary has it no more. */
  readonly libraries: readonly string[]
  readonly withDeleted: boolean
}

/** @throws BackupError LIBRARY_UNKNOWN, LIBRARY_AMBIGUOUS; what the catalog throws */
export async function planRestore(parts: PlanParts, order: RestoreOrder, signal: AbortSignal): Promise<RestorePlan> {
  const all = (await parts.catalog.listing(signal)).map(({ repo }) => repo).sort()
  const named = new Set(order.libraries.map(text => findLibrary(all, text)))
  const libraries: PlannedLibrary[] = []
  const leftOut: LeftOut[] = []
  for (const repo of named.size > 0 ? [...named].sort() : all) {
    const planned = await planOne(parts, order, repo, named.has(repo), signal)
    if (!planned) continue
    if ('why' in planned) leftOut.push(planned)
    else libraries.push(planned)
  }
  const withLosses = lostTogether(parts.past, leftOut, libraries.length, order.at ?? Date.now())
  return { at: order.at, ...parts.tables, libraries: libraries.toSorted(originsFirst), leftOut: withLosses }
}

const DELETED = 'the primary had deleted it'

/** That a table of the primary was lost must not make its libraries deleted ones that nobody misses. */
function lostTogether(past: PastStates, leftOut: readonly LeftOut[], restored: number, at: number): LeftOut[] {
  const gone = leftOut
    .filter(({ why }) => why === DELETED)
    .map(({ repo }) => ({ repo, since: past.goneSince(repo, at) }))
  const together = wentTogether(gone, restored + leftOut.length - gone.length, at)
  const why = 'the primary has it no more, as all others or most: was its table lost? --with-deleted restores it'
  return leftOut.map(left => (together.has(left.repo) ? { ...left, why, isLoss: true } : left))
}

/** The objects of a virtual library lie in its origin's store. */
const originsFirst = (a: PlannedLibrary, b: PlannedLibrary): number =>
  Number(a.rows.virtual !== null) - Number(b.rows.virtual !== null) || (a.repo < b.repo ? -1 : 1)

async function planOne(
  parts: PlanParts,
  { at, withDeleted }: RestoreOrder,
  repo: RepoId,
  isNamed: boolean,
  signal: AbortSignal,
): Promise<PlannedLibrary | LeftOut | undefined> {
  const read = await parts.catalog.read(repo, signal)
  if (!read) return undefined // it went since it was listed
  const { rows, history } = read
  const name = rows.info?.name ?? null
  const out = (why: string, isLoss: boolean): LeftOut => ({ repo, name, why, isLoss })
  if (rows.head === null) return out('it has no head here', true)
  const present = at === null ? !parts.past.isDeleted(repo) : parts.past.wasPresent(repo, at)
  if (present === false && !isNamed && !withDeleted) return out(DELETED, false)
  const past = at === null ? { head: rows.head, since: null } : parts.past.headAt(repo, at, rows.head)
  if (!past) return outBefore(parts, repo, rows.head, at ?? 0, out)
  const now = Math.floor((at ?? Date.now()) / 1000)
  const truncateTime = historyRule({ ...history, confKeepDays: parts.confKeepDays }, now)
  const recordedAt = parts.past.recordedAt(repo)
  const common = { repo, truncateTime, since: past.since, recordedAt, deletedSometime: present === null }
  if (past.head === rows.head) {
    const virtual = at === null ? rows.virtual : virtualAt(parts, rows, at)
    return { ...common, name, rows: { ...rows, head: rows.head, virtual }, goesBack: null }
  }
  const commit = commitOf(parts.store, repo, past.head)
  if (!commit) return out(`its head of that time, commit ${past.head}, is missing or damaged here`, true)
  const then = rowsAt(parts, rows, commit, at ?? Date.now())
  return { ...common, name: commit.repoName, rows: then, goesBack: lostSince(parts.store, repo, rows.head, commit) }
}

export function commitOf(store: DiskObjectReader, repo: RepoId, id: CommitId): Commit | undefined {
  const read = store.read({ kind: 'commits', storeId: repo, id })
  return read.state === 'whole' && read.object.is === 'commit' ? read.object.commit : undefined
}

/** Whether it was there before our log of it begins: then its head of that time is not known, and it is a loss. */
function outBefore(
  { store }: PlanParts,
  repo: RepoId,
  head: CommitId,
  at: number,
  out: (why: string, isLoss: boolean) => LeftOut,
): LeftOut {
  const visited = new IdSet()
  const todo: CommitId[] = [head]
  for (let id = todo.shift(), looked = 0; id && looked < COMMITS_COUNTED_MAX; id = todo.shift()) {
    if (!visited.add(id)) continue
    looked += 1
    const commit = commitOf(store, repo, id)
    if (!commit) continue
    if ((commit.ctime + 1) * 1000 <= at) return out('its head of that time is not known here: it came here later', true)
    for (const parent of [commit.parentId, commit.secondParentId]) if (parent) todo.push(parent)
  }
  return out('it had no head yet', false)
}

/** Its own head is as now; its origin's may go back behind what is merged now. */
function virtualAt(parts: PlanParts, rows: LibraryRows, at: number): LibraryRows['virtual'] {
  const { virtual, head, repo } = rows
  const commit = virtual && head && commitOf(parts.store, repo, head)
  return virtual && commit ? { ...virtual, baseCommit: baseOf(parts, virtual, commit, at) } : virtual
}

/** Seafile counts size and files anew at the next commit; the rest of RepoInfo is what the head commit says. */
function rowsAt(parts: PlanParts, rows: LibraryRows, commit: Commit, at: number): PlannedLibrary['rows'] {
  const { virtual, info } = rows
  return {
    ...rows,
    head: commit.id,
    virtual: virtual && { ...virtual, baseCommit: baseOf(parts, virtual, commit, at) },
    info: info && {
      ...info,
      name: commit.repoName,
      updateTime: commit.ctime,
      lastModifier: commit.creatorName ?? info.lastModifier,
    },
    size: null,
    fileCount: null,
  }
}

function lostSince(store: DiskObjectReader, repo: RepoId, now: CommitId, then: Commit): LostWork {
  const visited = new IdSet()
  const todo: CommitId[] = [now]
  let commits = 0
  let until: number | null = null
  for (let id = todo.shift(); id && commits < COMMITS_COUNTED_MAX; id = todo.shift()) {
    if (id === then.id || !visited.add(id)) continue
    const commit = commitOf(store, repo, id)
    if (!commit || commit.ctime < then.ctime) continue
    commits += 1
    until = Math.max(until ?? 0, commit.ctime)
    for (const parent of [commit.parentId, commit.secondParentId]) if (parent) todo.push(parent)
  }
  return { commits, until }
}

/** @throws BackupError BAD_REQUEST when there is nothing to restore */
export function expectSomething({ libraries, dump, between, at, leftOut }: RestorePlan): void {
  if (libraries.length > 0 || dump) return
  const nothing = between.short === null ? 'no library and no dump' : 'no library, and no other table is wanted,'
  const when = at === null ? 'here' : `that was here at ${new Date(at).toISOString()}`
  const lost = leftOut.filter(({ isLoss }) => isLoss)
  const why = lost.length > 0 ? `; ${lost.length} are left out: ${lost[0]?.repo}: ${lost[0]?.why}` : ''
  throw new BackupError('BAD_REQUEST', `plan the restore: there is ${nothing} ${when}${why}`)
}

export const checkedOf = ({ repo, rows, truncateTime }: PlannedLibrary) => ({
  repo,
  head: rows.head,
  storeId: storeIdOf(rows),
  baseCommit: rows.virtual?.baseCommit ?? null,
  truncateTime,
})
