/** A pair whose two sides have one kind of database, with whatever acts on its primary and looks at its copy. */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { LIBRARY_TABLES } from '../../src/shared/catalog/library-tables.js'
import { LibraryWriter } from '../../src/shared/seafile/library-writer.js'
import { mariadbInstalled } from './mariadb.js'
import { Pair } from './pair.js'
import { RawObjects } from './raw-objects.js'
import { ServerActs } from './server-acts.js'
import { mysqlConfig, testDatabase } from './sides.js'
import { sqlOn } from './sql.js'
import type { CatalogWriter } from '../../src/shared/catalog/catalog.js'
import type { RepoId } from '../../src/shared/ids.js'
import type { LibraryStatus, SyncEvent } from '../../src/shared/wire/control-messages.js'
import type { PairOptions } from './pair.js'
import type { RawCommit } from './raw-objects.js'
import type { Engine, TestDatabase } from './sides.js'
import type { Cell, Sql } from './sql.js'

export const OWNER = 'jo@example.com'
const DAY = 86_400
export const daysAgo = (days: number): number => Math.floor(Date.now() / 1000) - days * DAY

/** For tap's `skip`. */
export const noMariadb = (engine: Engine): string | false =>
  engine === 'mysql' && !mariadbInstalled() && 'mariadbd is not installed'

export class Scene implements AsyncDisposable {
  private constructor(
    readonly pair: Pair,
    private readonly catalog: CatalogWriter,
    readonly writer: LibraryWriter,
    readonly acts: ServerActs,
    /** The backup's objects and rows. */
    readonly ours: { readonly objects: RawObjects; readonly sql: Sql },
    readonly database: TestDatabase,
  ) {}

  /** Nothing runs yet. `args`: of the MariaDB that both sides share. */
  static async lay(engine: Engine, { args, ...options }: PairOptions & { args?: string[] } = {}): Promise<Scene> {
    const db = await testDatabase(engine, args)
    await db.server?.query('CREATE DATABASE backup_db')
    const sides = db.server && {
      primary: { ...options.primary, database: mysqlConfig(db.server) },
      backup: { ...options.backup, database: mysqlConfig(db.server, 'backup_db') },
    }
    const pair = await Pair.lay({ ...options, ...sides })
    const acts = new ServerActs(pair.primary.dataDir, pair.primary.database)
    const ours = { objects: new RawObjects(pair.backup.dataDir), sql: sqlOn(pair.backup.database) }
    return new Scene(pair, await pair.catalog(), await pair.writer(), acts, ours, db)
  }

  static async start(engine: Engine, options: PairOptions & { args?: string[] } = {}): Promise<Scene> {
    const scene = await Scene.lay(engine, options)
    await scene.run()
    return scene
  }

  /** Both daemons, until all is copied. */
  async run(): Promise<void> {
    await this.pair.startPrimary()
    await this.pair.startBackup()
    await this.pair.settle()
  }

  /** Writes as of a moment, in Unix seconds. */
  at(seconds: number): LibraryWriter {
    const { catalog, pair } = this
    return new LibraryWriter({ dataDir: pair.primary.dataDir, catalog, now: () => seconds * 1000 })
  }

  /** `seconds`: the commit's age is made so; default now. */
  put(repo: RepoId, path: string, text: string, seconds?: number): Promise<string> {
    const change = { op: 'put', path, content: Buffer.from(text) } as const
    return this.writer.commit(repo, [change], seconds === undefined ? {} : { ctime: seconds })
  }

  /** `SeafileConf` (history, keep_days). */
  async keepDaysByDefault(days: number, sql: Sql = this.acts.sql): Promise<void> {
    const where = "cfg_group = 'history' AND cfg_key = 'keep_days'"
    await sql.run(
      `DELETE FROM SeafileConf WHERE ${where}`,
      `INSERT INTO SeafileConf (cfg_group, cfg_key, value) VALUES ('history', 'keep_days', '${days}')`,
    )
  }

  /** The first block of a file, on the primary. */
  blockOf(repo: string, commit: string, path: string, storeId = repo): string {
    return this.objectOf('blocks', repo, commit, path, storeId)
  }

  objectOf(kind: 'fs' | 'blocks', repo: string, commit: string, path: string, storeId = repo): string {
    const { objects } = this.acts
    const tree = objects.tree(storeId, objects.commit(repo, commit).root_id)
    const [id] = [...tree].find(([, object]) => object.kind === kind && object.path === path) ?? []
    if (id === undefined) throw new Error(`commit ${commit} has no ${path}`)
    return id
  }

  /** Names of all objects that the backup holds in a store. */
  held(storeId: string): string[] {
    return (['commits', 'fs', 'blocks'] as const).flatMap(kind => this.ours.objects.list(kind, storeId)).sort()
  }

  /** Sweeps; resolves to the last event. */
  async sweep(): Promise<SyncEvent | undefined> {
    return (await this.pair.sync(null)).at(-1)
  }

  rowsHere(repo: string): Promise<Record<string, Cell[][]>> {
    return rowsOf(this.ours.sql, repo)
  }

  rowsThere(repo: string): Promise<Record<string, Cell[][]>> {
    return rowsOf(this.acts.sql, repo)
  }

  /** Nobody sees this library of the primary until it is shown: its `Repo` row comes last. */
  async hide(repo: string): Promise<{ show(): Promise<void> }> {
    await this.acts.sql.run(`DELETE FROM Repo WHERE repo_id = '${repo}'`)
    return { show: () => this.acts.sql.run(`INSERT INTO Repo (repo_id) VALUES ('${repo}')`) }
  }

  /** A folder with a file, shared as a library of its own. */
  async virtualOf(origin: RepoId, path: string, name: string): Promise<RepoId> {
    await this.put(origin, `${path}/inside.md`, `inside ${name}`)
    return this.writer.createVirtualLibrary({ origin, path, name })
  }

  /** A writer that knows nothing of what was before. */
  fresh(): LibraryWriter {
    return this.at(daysAgo(0))
  }

  /** A sweep, and everything that it and the events before it brought. */
  async settle(): Promise<void> {
    await this.sweep()
    await this.pair.settle()
    await this.pair.until('quiet', async () => (await this.pair.status()).syncing.length === 0)
  }

  /** The primary's seafile.conf; read when its agent starts. */
  editConf(change: (text: string) => string): void {
    const path = join(this.pair.primary.dir, 'conf', 'seafile.conf')
    writeFileSync(path, change(readFileSync(path, 'utf8')))
  }

  /** By hand: no id is the hash of a commit, so nobody can tell. */
  rewriteCommit(repo: string, id: string, change: Partial<Record<keyof RawCommit, unknown>>): void {
    const path = this.acts.objects.path('commits', repo, id)
    const commit = JSON.parse(readFileSync(path, 'utf8')) as object
    writeFileSync(path, JSON.stringify({ ...commit, ...change }))
  }

  /** What it came to: a late event can begin another sync at any time. */
  async library(repo: string): Promise<LibraryStatus> {
    let library: LibraryStatus | undefined
    await this.pair.until('no longer syncing', async () => {
      library = await this.pair.library(repo)
      return library?.state !== 'syncing'
    })
    if (!library) throw new Error(`the backup knows no library ${repo}`)
    return library
  }

  /** Of everything that the walk from the primary's head keeps, what the backup lacks: [] when it is whole. */
  lacking(repo: string, head: string, truncateTime: number, storeId = repo): string[] {
    const theirs = this.acts.objects
    const lacking: string[] = []
    for (const { commit_id, root_id } of theirs.keptCommits(repo, head, truncateTime)) {
      if (!this.ours.objects.has('commits', repo, commit_id)) lacking.push(`commit ${commit_id}`)
      for (const [id, { kind, path }] of theirs.tree(storeId, root_id))
        if (!this.ours.objects.has(kind, storeId, id)) lacking.push(`${kind} ${id} of ${path}`)
    }
    return lacking
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pair[Symbol.asyncDispose]()
    await this.database[Symbol.asyncDispose]()
  }
}

/** Table by table; MySQL's own ids are left out. */
async function rowsOf(sql: Sql, repo: string): Promise<Record<string, Cell[][]>> {
  const rows: Record<string, Cell[][]> = {}
  for (const [table, columns] of Object.entries(LIBRARY_TABLES)) {
    const list = ['repo_id', ...columns].join(', ')
    rows[table] = await sql.select(`SELECT ${list} FROM ${table} WHERE repo_id = '${repo}'`)
  }
  return rows
}
