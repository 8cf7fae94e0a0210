/**
 * `seaf-backup-cmd verify`: looks at the copy itself, with no daemon and nothing that a daemon remembers.
 *
 * Reads seafile.conf, the rows and the object files; writes nothing. May run
 * beside the daemon: a head that moves meanwhile is verified as it was.
 */

import { openCatalogReader } from '../../shared/catalog/open-catalog.js'
import { storeIdOf } from '../../shared/catalog/library-tables.js'
import { readBackupConfig } from '../../shared/config.js'
import { silentLog } from '../../shared/log.js'
import { historyRule } from '../../shared/seafile/history-rule.js'
import { DiskObjectReader } from '../../shared/store/disk-object-store.js'
import { findLibrary } from '../find-library.js'
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
  finding(repo: RepoId, finding: Finding): void
  /** After it; a library without a head has nothing to be verified. */
  done(repo: RepoId, head: CommitId | null, counts: CheckCounts, findings: number): void
  /** Often: `done` of `libraries`, and what was looked at in the one that is under way. */
  progress(done: number, libraries: number, repo: RepoId, counts: CheckCounts): void
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
  const repos = await chosen(catalog, order.library, signal)
  for (const [done, repo] of repos.entries()) {
    const library = await describe(catalog, repo, config.historyKeepDays, signal)
    if (!library) continue
    total.libraries += 1
    if (library === 'headless') {
      events.done(repo, null, { commits: 0, fs: 0, blocks: 0, bytes: 0 }, 0)
      continue
    }
    const onTurn = (): void => events.progress(done, repos.length, repo, check.counts)
    const check: LibraryCheck = new LibraryCheck(store, library, order, onTurn)
    onTurn()
    let findings = 0
    for await (const finding of check.findings(signal)) {
      findings += 1
      events.finding(repo, finding)
    }
    events.done(repo, library.head, check.counts, findings)
    total.findings += findings
    if (findings > 0) total.damagedLibraries += 1
    for (const kind of ['commits', 'fs', 'blocks', 'bytes'] as const) total[kind] += check.counts[kind]
  }
  return total
}

async function chosen(catalog: CatalogReader, wanted: string | null, signal: AbortSignal): Promise<RepoId[]> {
  const all = (await catalog.listing(signal)).map(({ repo }) => repo).sort()
  return wanted === null ? all : [findLibrary(all, wanted)]
}

/** Undefined: deleted since it was listed. */
async function describe(
  catalog: CatalogReader,
  repo: RepoId,
  confKeepDays: number | null,
  signal: AbortSignal,
): Promise<CheckedLibrary | 'headless' | undefined> {
  const library = await catalog.read(repo, signal)
  if (!library) return undefined
  const { rows, history } = library
  if (rows.head === null) return 'headless'
  const truncateTime = historyRule({ ...history, confKeepDays }, Math.floor(Date.now() / 1000))
  const baseCommit = rows.virtual?.baseCommit ?? null
  return { repo, head: rows.head, storeId: storeIdOf(rows), baseCommit, truncateTime }
}
