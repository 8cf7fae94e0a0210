/**
 * Sync tokens of clients that may hold what the server will not have: with its old token a client takes what is lacking
 * there for deleted, and deletes it with its user; with a new one it asks first.
 */

import { IdSet } from '../../shared/seafile/id-set.js'
import { quote } from './core-tables.js'
import { MysqlClient } from './mysql-client.js'
import { COMMITS_COUNTED_MAX, commitOf } from './restore-plan.js'
import { removeSqliteTokens } from './sqlite-tokens.js'
import type { DatabaseConfig } from '../../shared/catalog/database-config.js'
import type { CommitId, RepoId } from '../../shared/ids.js'
import type { DiskObjectReader } from '../../shared/store/disk-object-store.js'
import type { PlannedLibrary } from './restore-plan.js'

/**
 * Of these libraries the ones that go back, and those of which the primary, for all that is known, had another head than
 * the one that is restored or one before it. `primaryHeads`: as they were heard of last.
 */
export function mayBeAhead(
  libraries: readonly PlannedLibrary[],
  primaryHeads: ReadonlyMap<RepoId, CommitId | null>,
  store: DiskObjectReader,
): RepoId[] {
  const isAhead = ({ repo, rows, goesBack }: PlannedLibrary): boolean => {
    const theirs = primaryHeads.get(repo) ?? null
    return goesBack !== null || theirs === null || !hasInHistory(store, repo, rows.head, theirs)
  }
  return libraries.filter(isAhead).map(({ repo }) => repo)
}

/** Of a history with more commits than are looked at, what is not found is said not to be in it. */
function hasInHistory(store: DiskObjectReader, repo: RepoId, head: CommitId, wanted: CommitId): boolean {
  const visited = new IdSet()
  const todo: CommitId[] = [head]
  for (let id = todo.shift(), looked = 0; id && looked < COMMITS_COUNTED_MAX; id = todo.shift()) {
    if (id === wanted) return true
    if (!visited.add(id)) continue
    looked += 1
    const commit = commitOf(store, repo, id)
    for (const parent of [commit?.parentId, commit?.secondParentId]) if (parent) todo.push(parent)
  }
  return false
}

/** May be done again. A database without such a table has none. */
export async function removeTokens(
  database: DatabaseConfig,
  repos: readonly RepoId[],
  signal: AbortSignal,
): Promise<void> {
  if (repos.length === 0) return
  if (database.type === 'sqlite') return removeSqliteTokens(database.path, repos)
  using client = new MysqlClient(database)
  const use = `USE ${quote(database.dbName)};`
  const there = (await client.ask(`${use}\nSHOW TABLES LIKE 'RepoUserToken';`, signal)).trim()
  if (there === '') return
  const ids = repos.map(repo => `'${repo}'`).join(', ')
  const sql = [
    use,
    'START TRANSACTION;',
    `DELETE FROM RepoTokenPeerInfo WHERE token IN (SELECT token FROM RepoUserToken WHERE repo_id IN (${ids}));`,
    `DELETE FROM RepoUserToken WHERE repo_id IN (${ids});`,
    'COMMIT;',
    '',
  ]
  await client.ask(sql.join('\n'), signal)
}
