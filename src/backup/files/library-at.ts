/** One library of the backup as it was at an instant, opened for reading: with no daemon, or beside one. */

import { openCatalogReader } from '../../shared/catalog/open-catalog.js'
import { storeIdOf } from '../../shared/catalog/library-tables.js'
import { readBackupConfig } from '../../shared/config.js'
import { BackupError } from '../../shared/errors.js'
import { isObjectId, short } from '../../shared/ids.js'
import { silentLog } from '../../shared/log.js'
import { readEncryption } from '../../shared/seafile/write/encrypt.js'
import { DiskObjectReader } from '../../shared/store/disk-object-store.js'
import { findLibrary } from '../find-library.js'
import { hostTimeZone, parseInstant } from '../restore/instant.js'
import { PastStates } from '../state/past-states.js'
import type { DirectoryFlags } from '../../shared/directories.js'
import type { CommitId, RepoId } from '../../shared/ids.js'
import type { Encryption } from '../../shared/seafile/encode.js'
import type { Commit, FsObject } from '../../shared/seafile/objects.js'

export interface LibraryAt {
  readonly repo: RepoId
  readonly storeId: RepoId
  readonly commit: Commit
  /** Unix ms: since when it was the head; null: not known. */
  readonly since: number | null
  readonly encryption: Encryption | null
  /** @throws BackupError OBJECT_MISSING, OBJECT_CORRUPT */
  fs(id: string, path: string): FsObject
  /** Verified bytes as they are stored. @throws BackupError OBJECT_MISSING, OBJECT_CORRUPT */
  block(id: string, path: string): Buffer
}

/** As much of a commit's id as `log` shows. */
const COMMIT_PREFIX = /^[0-9a-f]{8,40}$/
const LOG_LOOKED_AT_MAX = 100_000

/**
 * Of the same library, one for each of `ats`: an instant as a person writes it, `latest`, or the beginning of a commit's
 * id as `seaf-backup-cmd log` shows it.
 * @throws BackupError LIBRARY_UNKNOWN, LIBRARY_AMBIGUOUS, BAD_REQUEST, OBJECT_MISSING, OBJECT_CORRUPT; those of the database
 */
export async function openLibraryAt(
  flags: DirectoryFlags,
  library: string,
  ats: readonly string[],
  signal: AbortSignal,
): Promise<LibraryAt[]> {
  const config = readBackupConfig(flags)
  await using catalog = await openCatalogReader(config.database, silentLog)
  const repo = findLibrary(
    (await catalog.listing(signal)).map(listed => listed.repo),
    library,
  )
  const rows = (await catalog.read(repo, signal))?.rows
  if (!rows || rows.head === null) {
    throw new BackupError('OBJECT_MISSING', `open library ${repo}: it has no head here yet`, {
      nextStep: fetchIt(repo),
    })
  }
  const { head } = rows
  using past = new PastStates(config.stateDir)
  const store = new DiskObjectReader(config.dataDir)
  const storeId = storeIdOf(rows)
  return ats.map(at => opened(store, repo, storeId, headOf(past, repo, head, at)))
}

function headOf(past: PastStates, repo: RepoId, now: CommitId, at: string): { head: CommitId; since: number | null } {
  const text = at.trim().toLowerCase()
  if (COMMIT_PREFIX.test(text)) return recordedHead(past, repo, now, text)
  const instant = parseInstant(at, hostTimeZone(), Date.now())
  if (instant === null) return { head: now, since: past.headsUntil(repo, Number.MAX_SAFE_INTEGER, 1)[0]?.since ?? null }
  const found = past.headAt(repo, instant, now)
  if (found) return found
  const when = new Date(instant).toISOString()
  throw new BackupError('BAD_REQUEST', `open library ${repo} as of ${when}: it had no head then`, {
    nextStep: `see its heads: seaf-backup-cmd log ${repo}`,
  })
}

function recordedHead(past: PastStates, repo: RepoId, now: CommitId, text: string) {
  const heads = past.headsUntil(repo, Number.MAX_SAFE_INTEGER, LOG_LOOKED_AT_MAX)
  const found = new Map(heads.filter(({ head }) => head.startsWith(text)).map(entry => [entry.head, entry]))
  const [only] = found.values()
  if (only && found.size === 1) return only
  if (now.startsWith(text)) return { head: now, since: null }
  // any commit of the library that is here can be looked into
  if (isObjectId(text)) return { head: text as CommitId, since: null }
  const why = found.size > 1 ? `${found.size} of its heads begin so` : 'none of its heads begins so'
  throw new BackupError('BAD_REQUEST', `open library ${repo} at ${text}: ${why}`, {
    nextStep: `see its heads: seaf-backup-cmd log --json ${repo}`,
  })
}

/** @throws BackupError OBJECT_MISSING, OBJECT_CORRUPT of the commit */
export function opened(
  store: DiskObjectReader,
  repo: RepoId,
  storeId: RepoId,
  { head, since }: { readonly head: CommitId; readonly since: number | null },
): LibraryAt {
  const commit = store.read({ kind: 'commits', storeId: repo, id: head })
  if (commit.state !== 'whole' || commit.object.is !== 'commit') throw damaged(repo, `commit ${head}`, commit)
  return {
    repo,
    storeId,
    commit: commit.object.commit,
    since,
    encryption: readEncryption(commit.object.bytes),
    fs(id, path) {
      const read = store.read({ kind: 'fs', storeId, id })
      if (read.state === 'whole' && read.object.is === 'fs') return read.object.fs
      throw damaged(repo, `${path} (fs object ${short(id)})`, read)
    },
    block(id, path) {
      const read = store.read({ kind: 'blocks', storeId, id })
      if (read.state === 'whole') return read.object.bytes
      throw damaged(repo, `${path} (block ${short(id)})`, read)
    },
  }
}

function damaged(repo: RepoId, what: string, read: { readonly state: string; readonly why?: string }): BackupError {
  const code = read.state === 'missing' ? 'OBJECT_MISSING' : 'OBJECT_CORRUPT'
  const why = read.why ?? (read.state === 'missing' ? 'is not there' : 'is another kind of object')
  return new BackupError(code, `read ${what} of library ${repo}: it ${why}`, { nextStep: fetchIt(repo) })
}

const fetchIt = (repo: RepoId): string =>
  `fetch what is lacking from the primary, if it still has it: seaf-backup-cmd sync --full ${repo}`
