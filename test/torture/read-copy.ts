/** The rows and the state of a backup, read with bare statements; SQLite files from copies with their journals. */

import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import Database from 'better-sqlite3'
import { sqlOn } from '../support/sql.js'
import type { DatabaseConfig } from '../../src/shared/catalog/database-config.js'
import type { Cell } from '../support/sql.js'

export interface StateRow {
  readonly head: string | null
  readonly vouched: string | null
}

export interface LogRow {
  readonly repo: string
  readonly head: string
  readonly displaced: string | null
}

export interface CopyRows {
  readonly branches: ReadonlyMap<string, string>
  readonly repos: ReadonlySet<string>
  readonly branchNames: ReadonlyMap<string, string>
  readonly owners: ReadonlyMap<string, string>
  readonly origins: ReadonlyMap<string, string>
  readonly limits: ReadonlyMap<string, number>
  readonly states: ReadonlyMap<string, StateRow>
  /** Oldest first. */
  readonly log: readonly LogRow[]
  /** What the databases say of themselves. */
  readonly damage: readonly string[]
}

type Select = (statement: string) => Promise<Cell[][]>

export async function readCopy(place: { stateDir: string; database: DatabaseConfig }): Promise<CopyRows> {
  const scratch = mkdtempSync(join(tmpdir(), 'sbt-'))
  try {
    const state = readState(join(place.stateDir, 'state.db'), scratch)
    if (place.database.type === 'mysql') return { ...state, ...(await readRows(mysqlSelect(place.database))) }
    using rows = openCopy(place.database.path, scratch)
    const { db } = rows
    const select: Select = async statement => (db ? (db.prepare(statement).raw().all() as Cell[][]) : [])
    const made = db !== undefined && (await select("SELECT 1 FROM sqlite_master WHERE name = 'Branch'")).length > 0
    const found = await readRows(made ? select : async () => [])
    return { ...state, ...found, damage: [...state.damage, ...integrity('seafile.db', db)] }
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

/** A backup that was killed before it made its tables has none. */
function mysqlSelect(database: DatabaseConfig): Select {
  const sql = sqlOn(database)
  return async statement => {
    try {
      return await sql.select(statement)
    } catch (error) {
      if ((error as { code?: string }).code === 'ER_NO_SUCH_TABLE') return []
      throw error
    }
  }
}

async function readRows(select: Select): Promise<Omit<CopyRows, 'states' | 'log' | 'damage'>> {
  const pairs = async (statement: string) =>
    new Map((await select(statement)).map(([repo, value]) => [String(repo), String(value)]))
  const limits = await pairs('SELECT repo_id, days FROM RepoHistoryLimit')
  return {
    branches: await pairs("SELECT repo_id, commit_id FROM Branch WHERE name = 'master'"),
    repos: new Set((await select('SELECT repo_id FROM Repo')).map(([repo]) => String(repo))),
    branchNames: await pairs('SELECT repo_id, branch_name FROM RepoHead'),
    owners: await pairs('SELECT repo_id, owner_id FROM RepoOwner'),
    origins: await pairs('SELECT repo_id, origin_repo FROM VirtualRepo'),
    limits: new Map([...limits].map(([repo, days]) => [repo, Number(days)])),
  }
}

/** MariaDB's own check of the tables; empty: all are sound. */
export async function checkTables(database: DatabaseConfig): Promise<string[]> {
  if (database.type === 'sqlite') return []
  const sql = sqlOn(database)
  const tables = await sql.select('SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()')
  if (tables.length === 0) return []
  const rows = await sql.select(`CHECK TABLE ${tables.flat().join(', ')}`)
  return rows.filter(row => row[3] !== 'OK').map(row => row.join(' '))
}

function readState(path: string, scratch: string): Pick<CopyRows, 'states' | 'log' | 'damage'> {
  using copy = openCopy(path, scratch)
  const { db } = copy
  const states = new Map<string, StateRow>()
  const version = db?.pragma('user_version', { simple: true }) ?? 0
  if (!db || version === 0) return { states, log: [], damage: integrity('state.db', db) }
  const rows = db.prepare('SELECT repo, head, vouched FROM library').all() as (StateRow & { repo: string })[]
  for (const { repo, ...state } of rows) states.set(repo, state)
  const log = db.prepare('SELECT repo, head, displaced FROM head_log ORDER BY id').all() as LogRow[]
  return { states, log, damage: integrity('state.db', db) }
}

function integrity(name: string, db: Database.Database | undefined): string[] {
  const said = db?.pragma('integrity_check', { simple: true }) ?? 'ok'
  return said === 'ok' ? [] : [`${name}: ${String(said)}`]
}

function openCopy(path: string, scratch: string): Disposable & { readonly db: Database.Database | undefined } {
  if (!existsSync(path)) return { db: undefined, [Symbol.dispose]() {} }
  const copy = join(scratch, basename(path))
  for (const suffix of ['', '-wal', '-journal'])
    // -shm is made anew from the log
    if (existsSync(path + suffix)) copyFileSync(path + suffix, copy + suffix)
  const db = new Database(copy)
  return { db, [Symbol.dispose]: () => void db.close() }
}
