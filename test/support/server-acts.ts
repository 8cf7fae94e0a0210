/**
 * What a Seafile server, its tools and its administrator do to a primary besides committing.
 *
 * The same rows and files change, in the same order, as when the real ones do
 * it (format sheet, sections 5 to 7); tables that a replica has no business
 * with are left alone.
 */

import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { RawObjects } from './raw-objects.js'
import { quoted, sqlOn } from './sql.js'
import type { DatabaseConfig } from '../../src/shared/catalog/database-config.js'
import type { Cell, Sql } from './sql.js'

const DAY_SECONDS = 86_400
/** Left after a library was moved to the trash; `RepoFileCount` stays as it is. */
const TRASHED_FROM = [
  'Repo',
  'RepoHead',
  'Branch',
  'RepoOwner',
  'RepoHistoryLimit',
  'RepoValidSince',
  'RepoSize',
  'RepoInfo',
]
const VIRTUAL_FROM = ['Branch', 'Repo', 'RepoHead', 'RepoInfo', 'RepoOwner', 'RepoSize', 'VirtualRepo']

/** What the trash remembers. */
export interface Trashed {
  readonly repo: string
  readonly rows: Readonly<Record<string, Cell[] | undefined>>
}

export interface Collected {
  readonly blocks: number
  readonly fs: number
}

export class ServerActs {
  readonly sql: Sql
  readonly objects: RawObjects
  readonly #mysql: boolean

  constructor(
    readonly dataDir: string,
    database: DatabaseConfig,
    private readonly now: () => number = Date.now,
  ) {
    this.sql = sqlOn(database)
    this.objects = new RawObjects(dataDir)
    this.#mysql = database.type === 'mysql'
  }

  async head(repo: string): Promise<string> {
    return String(await this.#one(`SELECT commit_id FROM Branch WHERE name = 'master' AND repo_id = ${quoted(repo)}`))
  }

  /** `UPDATE Branch` and nothing else, as seaf-fsck and a restored table do. */
  moveBranch(repo: string, head: string): Promise<void> {
    return this.sql.run(
      `UPDATE Branch SET commit_id = ${quoted(head)} WHERE name = 'master' AND repo_id = ${quoted(repo)}`,
    )
  }

  /**
   * seaf-gc of one library: narrows its history first, then deletes what nothing kept reaches; with `fs` (-R) fs
   * objects too. `beforeDeleting` runs in between. Libraries that keep everything are skipped.
   */
  async gc(
    repo: string,
    { fs = false, beforeDeleting }: { fs?: boolean; beforeDeleting?: () => Promise<void> } = {},
  ): Promise<Collected> {
    const limit = await this.truncateTime(repo)
    if (limit < 0) return { blocks: 0, fs: 0 }
    const head = await this.head(repo)
    const since = limit === 0 ? this.objects.commit(repo, head).ctime : limit
    if (since > Number((await this.#one(validSinceOf(repo))) ?? -1))
      await this.#replace('RepoValidSince', 'timestamp', repo, since)
    if (this.#mysql) await this.#replace('GCID', 'gc_id', repo, randomUUID())
    const reached = this.#reach(repo, head, limit)
    for (const [virtual, base] of await this.#virtualsOf(repo)) {
      const own = limit === 0 ? 0 : Math.max(limit, Number((await this.#one(validSinceOf(virtual))) ?? -1))
      for (const id of this.#reach(virtual, await this.head(virtual), own, repo)) reached.add(id)
      if (fs) for (const id of this.#reach(repo, base, 0)) reached.add(id)
    }
    await beforeDeleting?.()
    const drop = (kind: 'blocks' | 'fs'): number => {
      const dead = this.objects.list(kind, repo).filter(id => !reached.has(id))
      for (const id of dead) rmSync(this.objects.path(kind, repo, id))
      return dead.length
    }
    return { blocks: drop('blocks'), fs: fs ? drop('fs') : 0 }
  }

  /** -1: all history, 0: the head alone, else Unix seconds. */
  async truncateTime(repo: string): Promise<number> {
    const own = await this.#one(`SELECT days FROM RepoHistoryLimit WHERE repo_id = ${quoted(repo)}`)
    const everywhere = await this.#one(
      "SELECT value FROM SeafileConf WHERE cfg_group = 'history' AND cfg_key = 'keep_days'",
    )
    const days = Number(own ?? everywhere ?? -1)
    const since = Number((await this.#one(validSinceOf(repo))) ?? -1)
    if (days === 0) return 0
    return days > 0 ? Math.max(Math.floor(this.now() / 1000) - days * DAY_SECONDS, since) : since
  }

  /** The deletion is no transaction: `pause` runs after each statement. Virtual libraries of it go for good. */
  async trash(repo: string, pause: () => Promise<void> = async () => {}): Promise<Trashed> {
    const rows: Record<string, Cell[] | undefined> = {}
    for (const table of TRASHED_FROM) {
      const columns = COLUMNS[table] ?? ''
      rows[table] = (await this.sql.select(`SELECT ${columns} FROM ${table} WHERE repo_id = ${quoted(repo)}`))[0]
    }
    for (const table of TRASHED_FROM) {
      await this.sql.run(`DELETE FROM ${table} WHERE repo_id = ${quoted(repo)}`)
      await pause()
    }
    for (const [virtual] of await this.#virtualsOf(repo)) await this.removeVirtual(virtual)
    return { repo, rows }
  }

  /** In one transaction; history limit and valid-since do not come back. */
  async restore({ rows }: Trashed): Promise<void> {
    const tables = ['Repo', 'RepoOwner', 'Branch', 'RepoHead', 'RepoSize', 'RepoInfo']
    const inserts = tables.flatMap(table => {
      const row = rows[table]
      if (!row) return []
      return `INSERT INTO ${table} (${COLUMNS[table]}) VALUES (${row.map(literal).join(', ')})`
    })
    await this.sql.run(this.#mysql ? 'START TRANSACTION' : 'BEGIN', ...inserts, 'COMMIT')
  }

  /** Out of the trash; its objects go with the next full GC. */
  async purge(repo: string): Promise<void> {
    await this.sql.run(`DELETE FROM RepoFileCount WHERE repo_id = ${quoted(repo)}`)
  }

  /** What a full seaf-gc does to a purged library. */
  removeObjects(repo: string): void {
    for (const kind of ['commits', 'fs', 'blocks'] as const)
      rmSync(`${this.dataDir}/storage/${kind}/${repo}`, { recursive: true, force: true })
  }

  async removeVirtual(virtual: string): Promise<void> {
    for (const table of VIRTUAL_FROM) await this.sql.run(`DELETE FROM ${table} WHERE repo_id = ${quoted(virtual)}`)
  }

  /** To another owner; its virtual libraries go for good. */
  async transferOwner(repo: string, owner: string): Promise<void> {
    await this.#replace('RepoOwner', 'owner_id', repo, owner)
    for (const [virtual] of await this.#virtualsOf(repo)) await this.removeVirtual(virtual)
  }

  async #virtualsOf(origin: string): Promise<[virtual: string, base: string][]> {
    const rows = await this.sql.select(
      `SELECT repo_id, base_commit FROM VirtualRepo WHERE origin_repo = ${quoted(origin)}`,
    )
    return rows.map(([virtual, base]) => [String(virtual), String(base)])
  }

  #reach(repo: string, head: string, limit: number, storeId = repo): Set<string> {
    const reached = new Set<string>()
    for (const { root_id } of this.objects.keptCommits(repo, head, limit))
      for (const id of this.objects.tree(storeId, root_id).keys()) reached.add(id)
    return reached
  }

  async #replace(table: string, column: string, repo: string, value: Cell): Promise<void> {
    await this.sql.run(`REPLACE INTO ${table} (repo_id, ${column}) VALUES (${quoted(repo)}, ${literal(value)})`)
  }

  async #one(statement: string): Promise<Cell | undefined> {
    return (await this.sql.select(statement))[0]?.[0]
  }
}

const COLUMNS: Readonly<Record<string, string>> = {
  Repo: 'repo_id',
  RepoHead: 'repo_id, branch_name',
  Branch: 'repo_id, name, commit_id',
  RepoOwner: 'repo_id, owner_id',
  RepoHistoryLimit: 'repo_id, days',
  RepoValidSince: 'repo_id, timestamp',
  RepoSize: 'repo_id, size, head_id',
  RepoInfo: 'repo_id, name, update_time, version, is_encrypted, last_modifier, status, type',
}

const validSinceOf = (repo: string): string => `SELECT timestamp FROM RepoValidSince WHERE repo_id = ${quoted(repo)}`

const literal = (value: Cell): string =>
  value === null ? 'NULL' : typeof value === 'number' ? String(value) : quoted(value)
