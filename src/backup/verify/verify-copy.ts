/**
 * `seaf-backup-cmd verify`: looks at the copy itself, with no daemon and nothing that a daemon remembers.
 *
 * Reads seafile.conf, the rows and the object files; writes nothing. May run
 * beside the daemon: a head that moves meanwhile is verified as it was.
 */

import { openCatalogReader } from '../../shared/catalog/open-catalog.js'
import { storeIdOf } from '../../shared/catalog/library-tables.js'
import { readBackupConfig } from '../../shared/config.js'
import { BackupError } from '../../shared/errors.js'
import { silentLog } from '../../shared/log.js'
import { historyRule } from '../../shared/seafile/history-rule.js'
import { IdSet } from '../../shared/seafile/id-set.js'
import { DiskObjectReader } from '../../shared/store/disk-object-store.js'
import { LibraryCheck } from './library-check.js'
import type { CatalogReader } from '../../shared/catalog/catalog.js'
import type { DirectoryFlags } from '../../shared/directories.js'
import type { CommitId, RepoId } from '../../shared/ids.js'
import type { CheckCounts, CheckedLibrary, CheckOptions, Finding } from './library-check.js'

export interface VerifyOrder extends CheckOptions {
  /** An id or the beginning of one; null: all. */
  readonly library: string | null
}

export interface VerifyEvents {
  /** Before a library is looked at. */
  library(library: { readonly repo: RepoId; readonly name: string | null }): void
  finding(repo: RepoId, finding: Finding): void
  /** After it; a library without a head has nothing to be verified. */
  done(repo: RepoId, head: CommitId | null, counts: CheckCounts, findings: number): void
}

export interface Verified extends CheckCounts {
  libraries: number
  damagedLibraries: number
  findings: number
}

/** @throws BackupError CONFIG_INVALID, DATABASE_…, LIBRARY_UNKNOWN, LIBRARY_AMBIGUOUS */
export async function verifyCopy(
  flags: DirectoryFlags,
  order: VerifyOrder,
  events: VerifyEvents,
  signal: AbortSignal,
): Promise<Verified> {
  const config = readBackupConfig(flags)
  await using catalog = await openCatalogReader(config.database, silentLog)
  const store = new DiskObjectReader(config.dataDir)
  const total: Verified = { libraries: 0, damagedLibraries: 0, findings: 0, commits: 0, fs: 0, blocks: 0, bytes: 0 }
  const seen = new Map<RepoId, IdSet>()
  for (const repo of await chosen(catalog, order.library, signal)) {
    const library = await describe(catalog, repo, config.historyKeepDays, signal)
    if (!library) continue
    events.library({ repo, name: library.name })
    total.libraries += 1
    if (!library.checked) {
      events.done(repo, null, { commits: 0, fs: 0, blocks: 0, bytes: 0 }, 0)
      continue
    }
    const { storeId, head } = library.checked
    const known = seen.get(storeId) ?? new IdSet()
    seen.set(storeId, known)
    const check = new LibraryCheck(store, library.checked, order, known)
    let findings = 0
    for await (const finding of check.findings(signal)) {
      findings += 1
      events.finding(repo, finding)
    }
    events.done(repo, head, check.counts, findings)
    total.findings += findings
    if (findings > 0) total.damagedLibraries += 1
    for (const kind of ['commits', 'fs', 'blocks', 'bytes'] as const) total[kind] += check.counts[kind]
  }
  return total
}

/** Libraries that share a store stand together, the origin first, so that what they share is counted with it. */
async function chosen(catalog: CatalogReader, wanted: string | null, signal: AbortSignal): Promise<RepoId[]> {
  const all = (await catalog.listing(signal)).map(({ repo }) => repo).sort()
  if (wanted === null) return all
  const candidates = all.filter(repo => repo.startsWith(wanted.toLowerCase()))
  if (candidates.length === 1 || candidates[0] === wanted.toLowerCase()) return candidates.slice(0, 1)
  const why = candidates.length === 0 ? 'no row of the backup begins so' : `${candidates.length} ids begin so`
  throw new BackupError(
    candidates.length === 0 ? 'LIBRARY_UNKNOWN' : 'LIBRARY_AMBIGUOUS',
    `find library ${JSON.stringify(wanted.slice(0, 60))}: ${why}`,
    { candidates: candidates.slice(0, 20) },
  )
}

interface Described {
  readonly name: string | null
  /** Undefined: no head. */
  readonly checked: CheckedLibrary | undefined
}

/** Undefined: deleted since it was listed. */
async function describe(
  catalog: CatalogReader,
  repo: RepoId,
  confKeepDays: number | null,
  signal: AbortSignal,
): Promise<Described | undefined> {
  const library = await catalog.read(repo, signal)
  if (!library) return undefined
  const { rows, history } = library
  const name = rows.info?.name ?? null
  if (rows.head === null) return { name, checked: undefined }
  const truncateTime = historyRule({ ...history, confKeepDays }, Math.floor(Date.now() / 1000))
  const baseCommit = rows.virtual?.baseCommit ?? null
  return { name, checked: { repo, head: rows.head, storeId: storeIdOf(rows), baseCommit, truncateTime } }
}
