/** The two SQLite databases of a crash state, recovered by SQLite itself from a copy, and what they say. */

import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { FileNode } from './disk-model.js'
import type { CrashState } from './crash-state.js'

export interface Rows {
  readonly heads: ReadonlyMap<string, string>
  readonly virtuals: ReadonlyMap<string, { readonly origin: string; readonly base: string }>
}

export interface Remembered {
  readonly libraries: readonly {
    readonly repo: string
    readonly head: string | null
    readonly vouched: string | null
    readonly since: number | null
  }[]
  /** Of each library, oldest first. */
  readonly headLog: ReadonlyMap<string, readonly string[]>
  readonly holes: number
}

/** What was read of one content is not read again: between two writes there are many crash states. */
const KEPT = 200

export class DatabaseReader<T> {
  readonly #known = new Map<string, T | Error>()

  constructor(
    private readonly path: string,
    private readonly scratch: string,
    private readonly select: (db: Database.Database) => T,
  ) {
    mkdirSync(scratch, { recursive: true })
  }

  /** Throws when it is damaged. */
  read(state: CrashState): T {
    const parts = ['', '-journal', '-wal'].map(suffix => {
      const file = state.find(this.path + suffix)
      return { suffix, content: file instanceof FileNode ? state.content(file) : undefined }
    })
    const key = parts.map(({ content }) => content?.key).join(' ')
    let found = this.#known.get(key)
    if (found === undefined) {
      found = this.#recover(parts)
      if (this.#known.size >= KEPT) this.#known.clear()
      this.#known.set(key, found)
    }
    if (found instanceof Error) throw found
    return found
  }

  #recover(parts: readonly { readonly suffix: string; readonly content: { readonly bytes: Buffer } | undefined }[]) {
    const file = join(this.scratch, 'copy.db')
    for (const suffix of ['', '-journal', '-wal', '-shm']) rmSync(file + suffix, { force: true })
    for (const { suffix, content } of parts) if (content) writeFileSync(file + suffix, content.bytes)
    const db = new Database(file)
    try {
      const check = db.pragma('integrity_check', { simple: true })
      if (check !== 'ok') return new Error(`integrity_check: ${String(check)}`)
      return this.select(db)
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error))
    } finally {
      db.close()
    }
  }
}

/** None when the tables are not made yet. */
function all<T>(db: Database.Database, table: string, sql: string): T[] {
  const made = db.prepare('SELECT 1 FROM sqlite_master WHERE name = ?').get(table)
  return made ? (db.prepare(sql).all() as T[]) : []
}

export function readRows(db: Database.Database): Rows {
  const heads = all<{ repo_id: string; commit_id: string }>(
    db,
    'Branch',
    "SELECT repo_id, commit_id FROM Branch WHERE name = 'master'",
  )
  const virtuals = all<{ repo_id: string; origin_repo: string; base_commit: string }>(
    db,
    'VirtualRepo',
    'SELECT repo_id, origin_repo, base_commit FROM VirtualRepo',
  )
  return {
    heads: new Map(heads.map(row => [row.repo_id, row.commit_id])),
    virtuals: new Map(virtuals.map(row => [row.repo_id, { origin: row.origin_repo, base: row.base_commit }])),
  }
}

export function readState(db: Database.Database): Remembered {
  const headLog = new Map<string, string[]>()
  for (const { repo, head } of all<{ repo: string; head: string }>(
    db,
    'head_log',
    'SELECT repo, head FROM head_log ORDER BY id',
  ))
    headLog.set(repo, [...(headLog.get(repo) ?? []), head])
  const libraries = all<Remembered['libraries'][number]>(
    db,
    'library',
    'SELECT repo, head, vouched, vouched_since AS since FROM library',
  )
  return { libraries, headLog, holes: all(db, 'hole', 'SELECT id FROM hole').length }
}
