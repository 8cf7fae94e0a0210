/** Libraries by the hundred thousand, each with its rows and its first, empty commit: what a sweep and a start have to look at. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { EMPTY_ID, parseRepoId } from '../../src/shared/ids.js'
import { encodeCommit, SERVER_CREATOR } from '../../src/shared/seafile/encode.js'
import { quoted, sqlOn } from '../../test/support/sql.js'
import { Seeded } from './seeded.js'
import { OWNER } from './source.js'
import type { DatabaseConfig } from '../../src/shared/catalog/database-config.js'
import type { CommitId, FsId, RepoId } from '../../src/shared/ids.js'

const CREATED_AT = Date.UTC(2026, 0, 1) / 1000
/** A statement stays far below what a server takes. */
const ROWS_PER_INSERT = 500

interface Library {
  readonly repo: RepoId
  readonly name: string
  readonly head: CommitId
}

/** The objects go to `dataDir`, the rows to the database, whose tables must be there. */
export async function makeLibraries(dataDir: string, database: DatabaseConfig, count: number): Promise<void> {
  const seeded = new Seeded('many libraries')
  const libraries = Array.from({ length: count }, (_, n) => makeLibrary(dataDir, seeded, n))
  const sql = sqlOn(database)
  for (let at = 0; at < count; at += ROWS_PER_INSERT) {
    await sql.run('BEGIN', ...inserts(libraries.slice(at, at + ROWS_PER_INSERT)), 'COMMIT')
  }
}

function makeLibrary(dataDir: string, seeded: Seeded, n: number): Library {
  const repo = uuid(seeded.bytes(16))
  const name = `Library ${n}`
  const { id, bytes } = encodeCommit('c', {
    repoId: repo,
    rootId: EMPTY_ID as FsId,
    parentId: null,
    secondParentId: null,
    creator: SERVER_CREATOR,
    creatorName: OWNER,
    description: 'Created library',
    ctime: CREATED_AT,
    repoName: name,
    repoDesc: '',
    encryption: null,
  })
  const path = join(dataDir, 'storage', 'commits', repo, id.slice(0, 2), id.slice(2))
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, bytes)
  return { repo, name, head: id }
}

/** In all tables where a server has a row of every library. */
function inserts(libraries: readonly Library[]): string[] {
  const rows = (columns: string, values: (library: Library) => string) =>
    `INSERT INTO ${columns} VALUES ${libraries.map(library => `(${values(library)})`).join(', ')}`
  const owner = quoted(OWNER)
  return [
    rows('Branch (name, repo_id, commit_id)', ({ repo, head }) => `'master', '${repo}', '${head}'`),
    rows('RepoHead (repo_id, branch_name)', ({ repo }) => `'${repo}', 'master'`),
    rows('Repo (repo_id)', ({ repo }) => `'${repo}'`),
    rows('RepoOwner (repo_id, owner_id)', ({ repo }) => `'${repo}', ${owner}`),
    rows('RepoSize (repo_id, size, head_id)', ({ repo, head }) => `'${repo}', 0, '${head}'`),
    rows('RepoFileCount (repo_id, file_count)', ({ repo }) => `'${repo}', 0`),
    rows(
      'RepoInfo (repo_id, name, update_time, version, is_encrypted, last_modifier, status)',
      ({ repo, name }) => `'${repo}', ${quoted(name)}, ${CREATED_AT}, 1, 0, ${owner}, 0`,
    ),
  ]
}

function uuid(bytes: Buffer): RepoId {
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  return parseRepoId(bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'))
}
