/** A library as it lies in the state database. */

import { isErrorCode } from '../../shared/errors.js'
import { parseCommitId, parseRepoId } from '../../shared/ids.js'
import type { CommitId, RepoId } from '../../shared/ids.js'
import type { DamagedObject } from '../../shared/wire/control-messages.js'
import type { Failure, KnownHole, Library, LibrarySummary } from './library-state.js'

export interface LibraryRow {
  repo: RepoId
  head: CommitId | null
  recorded_at: number | null
  /** Null: nothing of the summary is known. */
  store: string | null
  name: string | null
  owner: string | null
  size_bytes: number | null
  update_time: number | null
  base_commit: string | null
  digest: string | null
  vouched: CommitId | null
  vouched_since: number | null
  vouched_gc: string | null
  primary_head: CommitId | null
  deleted: number
  failure: string | null
}

export interface HoleRow {
  repo: RepoId
  id: string
  kind: DamagedObject['kind']
  problem: DamagedObject['problem']
  path: string | null
  place: DamagedObject['where']
  accepted: number
}

export function unknownLibrary(repo: RepoId): Library {
  return {
    repo,
    head: null,
    recordedAt: null,
    summary: null,
    digest: null,
    vouched: null,
    vouchedGc: null,
    primaryHead: null,
    primaryDigest: null,
    deleted: false,
    failure: null,
    holes: [],
    heardAt: undefined,
    behindSince: undefined,
    seenBehindAt: undefined,
    told: undefined,
    progress: null,
    syncing: false,
    looked: true,
  }
}

export function stored(library: Library): object {
  return {
    repo: library.repo,
    head: library.head,
    recordedAt: library.recordedAt,
    store: library.summary?.storeId ?? null,
    name: library.summary?.name ?? null,
    owner: library.summary?.owner ?? null,
    sizeBytes: library.summary?.sizeBytes ?? null,
    updateTime: library.summary?.updateTime ?? null,
    baseCommit: library.summary?.baseCommit ?? null,
    digest: library.digest,
    vouched: library.vouched?.commit ?? null,
    since: library.vouched?.since ?? null,
    vouchedGc: library.vouchedGc,
    primaryHead: library.primaryHead,
    deleted: library.deleted ? 1 : 0,
    failure: library.failure && JSON.stringify({ code: library.failure.code, message: library.failure.message }),
  }
}

/** A hundred thousand of these stay in memory: texts that are equal are one. */
export function loaded(row: LibraryRow, owners: Map<string, string>): Library {
  const { head } = row
  const vouched = row.vouched === head ? head : row.vouched
  return {
    ...unknownLibrary(row.repo),
    head,
    recordedAt: row.recorded_at,
    summary: loadedSummary(row, owners),
    digest: row.digest,
    vouched: vouched === null ? null : { commit: vouched, since: row.vouched_since ?? -1 },
    vouchedGc: row.vouched_gc,
    primaryHead: row.primary_head === head ? head : row.primary_head,
    deleted: row.deleted === 1,
    failure: loadedFailure(row.failure),
    looked: vouched === null,
  }
}

/** Throws TypeError for what no program of ours has written. */
function loadedSummary(row: LibraryRow, owners: Map<string, string>): LibrarySummary | null {
  if (row.store === null) return null
  const owner = textIn(row.owner)
  if (owner !== null && !owners.has(owner)) owners.set(owner, owner)
  return {
    storeId: row.store === row.repo ? row.repo : parseRepoId(row.store),
    name: textIn(row.name),
    owner: owner && (owners.get(owner) ?? owner),
    sizeBytes: numberIn(row.size_bytes),
    updateTime: numberIn(row.update_time),
    baseCommit: row.base_commit === null ? null : parseCommitId(row.base_commit),
  }
}

function textIn(column: unknown): string | null {
  if (column !== null && typeof column !== 'string') throw new TypeError('a text that is none')
  return column
}

function numberIn(column: unknown): number | null {
  if (column !== null && !Number.isSafeInteger(column)) throw new TypeError('a number that is none')
  return column as number | null
}

/** It is shown until the next attempt, which the first sweep brings. */
function loadedFailure(json: string | null): Failure | null {
  if (json === null) return null
  const { code, message } = JSON.parse(json) as { code: unknown; message: unknown }
  return { code: isErrorCode(code) ? code : 'INTERNAL', message: String(message), attempts: 1, retryAt: undefined }
}

export function holeOf({ id, kind, problem, path, place, accepted }: HoleRow): KnownHole {
  return { id, kind, problem, path, where: place, accepted: accepted === 1 }
}
