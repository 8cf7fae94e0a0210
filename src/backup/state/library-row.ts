/** A library as it lies in the state database. */

import { isErrorCode } from '../../shared/errors.js'
import { parseLibraryRows } from '../../shared/wire/rows-codec.js'
import type { CommitId, RepoId } from '../../shared/ids.js'
import type { DamagedObject } from '../../shared/wire/control-messages.js'
import type { Failure, KnownHole, Library } from './library-state.js'

export interface LibraryRow {
  repo: RepoId
  head: CommitId | null
  recorded_at: number | null
  rows: string | null
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
    rows: null,
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
  }
}

export function stored(library: Library): object {
  return {
    repo: library.repo,
    head: library.head,
    recordedAt: library.recordedAt,
    rows: library.rows && JSON.stringify(library.rows),
    digest: library.digest,
    vouched: library.vouched?.commit ?? null,
    since: library.vouched?.since ?? null,
    vouchedGc: library.vouchedGc,
    primaryHead: library.primaryHead,
    deleted: library.deleted ? 1 : 0,
    failure: library.failure && JSON.stringify({ code: library.failure.code, message: library.failure.message }),
  }
}

export function loaded(row: LibraryRow): Library {
  return {
    ...unknownLibrary(row.repo),
    head: row.head,
    recordedAt: row.recorded_at,
    rows: row.rows === null ? null : parseLibraryRows(JSON.parse(row.rows)),
    digest: row.digest,
    vouched: row.vouched === null ? null : { commit: row.vouched, since: row.vouched_since ?? -1 },
    vouchedGc: row.vouched_gc,
    primaryHead: row.primary_head,
    deleted: row.deleted === 1,
    failure: loadedFailure(row.failure),
  }
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
