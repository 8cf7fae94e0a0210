/**
 * Seafile's rows in SQLite (`seafile-data/seafile.db`).
 *
 * On a primary the file belongs to the running server, which writes it in
 * rollback-journal mode: it is opened read-only, transactions are short, and a
 * lock is waited for without blocking the event loop. On a backup head moves
 * are IMMEDIATE transactions with synchronous=EXTRA, those of one moment in one.
 */

import { existsSync } from 'node:fs'
import type Database from 'better-sqlite3'
import { BackupError, systemCode } from '../errors.js'
import { isRepoId } from '../ids.js'
import { sleep } from '../timing.js'
import { expectFence } from './fence.js'
import {
  LIBRARY_TABLES,
  MASTER,
  TABLE_NAMES,
  TableShapes,
  commitIdOf,
  digestOf,
  editsFor,
  remnantsIn,
  removalsFor,
  storeIdOf,
  toLibraryRows,
  writesFor,
} from './library-tables.js'
import { ListingMaker } from './listing.js'
import { SQLITE_SCHEMA } from './schema.js'
import { columnsIn, fileAt, openDatabase, sqliteError } from './sqlite-file.js'
import { Together } from './together.js'
import type { CatalogWriter, HeadMove, LibraryListing, LibraryRead, LibraryRows } from './catalog.js'
import type { CommitId, RepoId } from '../ids.js'
import type { Log } from '../log.js'
import type { LibraryTable, TableRows, Value, Write } from './library-tables.js'

/** The server holds its lock for milliseconds. Who reads beside it is not blocked for them: the call is made again. */
const BUSY_MS = { reading: 0, writing: 20 }
const LOCKED_MS_MAX = 10_000
const LOCKED_RETRY_MS = 1

interface MoveOrder {
  readonly move: HeadMove
  readonly signal: AbortSignal
}

const quote = (name: string): string => `"${name}"`
/** SQLite compares letter by letter: what is spelled otherwise no query of a server, nor ours, would find again. */
const exactRepoId = (stored: Value | undefined): RepoId | undefined => (isRepoId(stored) ? stored : undefined)

export class SqliteCatalog implements CatalogWriter {
  readonly #path: string
  readonly #options: Database.Options
  #db: Database.Database
  #file: string | undefined
  readonly #listings: ListingMaker
  #knownShapes: TableShapes | undefined
  /** When the shapes were read last. */
  #schemaSeen: number | undefined
  /** Connections so far. */
  #opened = 1
  readonly #statements = new Map<string, Database.Statement>()
  readonly #moves = new Together<MoveOrder>(orders => this.#moveHeads(orders))

  private constructor(path: string, options: Database.Options, log: Log) {
    this.#path = path
    this.#options = options
    const file = fileAt(path)
    this.#db = open(path, options)
    this.#file = file ?? fileAt(path)
    this.#listings = new ListingMaker(log, exactRepoId)
  }

  /** Rejects with DATABASE_DOWN when the file is not there, DATABASE_SCHEMA when it is no Seafile database. */
  static async openReader(path: string, log: Log): Promise<SqliteCatalog> {
    const catalog = new SqliteCatalog(path, { readonly: true, fileMustExist: true }, log)
    await catalog.#orClose(() => catalog.#shapes())
    return catalog
  }

  static async open(path: string, log: Log, options: { create: boolean }): Promise<SqliteCatalog> {
    const isNew = !existsSync(path)
    const catalog = new SqliteCatalog(path, { fileMustExist: !options.create }, log)
    if (options.create) {
      await catalog.#orClose(() => {
        if (!isNew && !catalog.#readShapes().empty) return
        catalog.#db.transaction(() => catalog.#db.exec(SQLITE_SCHEMA)).immediate() // all, or tried again
        catalog.#knownShapes = undefined
      })
    }
    await catalog.#orClose(() => catalog.#shapes())
    return catalog
  }

  listing(signal: AbortSignal): Promise<LibraryListing[]> {
    return this.#unlocked(signal, () =>
      this.#db.transaction(() => {
        this.#renewShapes() // an upgrade of Seafile may have run since
        const fold = this.#listings.begin()
        for (const table of TABLE_NAMES) for (const row of this.#selectAll(table)) fold.add(table, row)
        return fold.listing(this.#defaultDays())
      })(),
    )
  }

  heads(signal: AbortSignal): Promise<Map<RepoId, CommitId>> {
    const sql = `SELECT b.repo_id, b.commit_id FROM Branch b JOIN Repo r ON r.repo_id = b.repo_id WHERE b.name = '${MASTER}'`
    return this.#unlocked(signal, () => {
      const heads = new Map<RepoId, CommitId>()
      for (const [id, commit] of this.#statement(sql).raw().iterate() as Iterable<Value[]>) {
        const [repo, head] = [exactRepoId(id), commitIdOf(commit)]
        if (repo && head) heads.set(repo, head)
      }
      return heads
    })
  }

  version(signal: AbortSignal): Promise<string> {
    return this.#unlocked(signal, () => {
      const version = this.#db.pragma('data_version', { simple: true }) as number // counted anew by each connection
      return `${this.#opened}.${version}`
    })
  }

  gcId(storeId: RepoId, signal: AbortSignal): Promise<string | null> {
    return this.#unlocked(signal, () => this.#gcId(storeId))
  }

  read(repo: RepoId, signal: AbortSignal): Promise<LibraryRead | undefined> {
    return this.#unlocked(signal, () => this.#db.transaction(() => this.#read(repo))())
  }

  moveHead(move: HeadMove, signal: AbortSignal): Promise<void> {
    return this.#moves.add({ move, signal })
  }

  /** In one transaction: its half dozen fsyncs are most of what a move costs. Each takes place by itself, or not at all. */
  #moveHeads(orders: readonly MoveOrder[]): Promise<Array<BackupError | undefined>> {
    const { signal } = orders[0] as MoveOrder
    return this.#write(signal, () => orders.map(({ move }) => this.#tryToMove(move)))
  }

  #tryToMove(move: HeadMove): BackupError | undefined {
    try {
      this.#db.transaction(() => this.#move(move))() // a savepoint
      return undefined
    } catch (error) {
      if (!this.#db.inTransaction) throw error // a full or failing disk takes back all of them
      return error instanceof BackupError ? error : sqliteError(this.#path, error)
    }
  }

  #move({ rows, from, gcId }: HeadMove): void {
    const have = this.#selectLibrary(rows.repo)
    const head = have.Branch ? commitIdOf(have.Branch[0]) : null
    expectFence(rows, { head, gcId: this.#gcId(storeIdOf(rows)) }, { from, gcId })
    for (const write of writesFor(this.#shapes(), have, rows)) this.#apply(rows.repo, write)
  }

  async createLibrary(rows: LibraryRows & { readonly head: CommitId }, signal: AbortSignal): Promise<void> {
    await this.moveHead({ rows, from: null, gcId: await this.gcId(storeIdOf(rows), signal) }, signal)
  }

  updateBranch(repo: RepoId, from: CommitId, to: CommitId, signal: AbortSignal): Promise<boolean> {
    const sql = `UPDATE Branch SET commit_id = ? WHERE name = '${MASTER}' AND repo_id = ? AND commit_id = ?`
    return this.#write(signal, () => this.#statement(sql).run(to, repo, from).changes === 1)
  }

  async updateAfterCommit(
    repo: RepoId,
    { info, size, fileCount }: Pick<LibraryRows, 'info' | 'size' | 'fileCount'>,
    signal: AbortSignal,
  ): Promise<void> {
    if (info) await this.#change(repo, rows => ({ ...rows, info }), signal)
    if (size || fileCount !== null) {
      const change = (rows: LibraryRows) => ({
        ...rows,
        size: size ?? rows.size,
        fileCount: fileCount ?? rows.fileCount,
      })
      await this.#change(repo, change, signal)
    }
  }

  updateVirtual(repo: RepoId, virtual: NonNullable<LibraryRows['virtual']>, signal: AbortSignal): Promise<void> {
    return this.#change(repo, rows => ({ ...rows, virtual }), signal)
  }

  setHistory(
    repo: RepoId,
    history: { readonly limitDays?: number | null; readonly validSince?: number | null },
    signal: AbortSignal,
  ): Promise<void> {
    const { limitDays, validSince } = history
    return this.#change(
      repo,
      rows => ({
        ...rows,
        ...(limitDays !== undefined && { historyLimitDays: limitDays }),
        ...(validSince !== undefined && { validSince }),
      }),
      signal,
    )
  }

  setOwner(repo: RepoId, owner: string, signal: AbortSignal): Promise<void> {
    return this.#change(repo, rows => ({ ...rows, owner }), signal)
  }

  remnants(signal: AbortSignal): Promise<RepoId[]> {
    const idsOf = (table: LibraryTable) => [...this.#selectAll(table)].map(([repo]) => repo)
    return this.#unlocked(signal, () =>
      this.#db.transaction(() => remnantsIn(new Map(TABLE_NAMES.map(table => [table, idsOf(table)]))))(),
    )
  }

  remnant(repo: RepoId, signal: AbortSignal): Promise<LibraryRows> {
    return this.#unlocked(signal, () => toLibraryRows(repo, this.#db.transaction(() => this.#selectLibrary(repo))()))
  }

  removeRows(repo: RepoId, evenListed: boolean, signal: AbortSignal): Promise<void> {
    return this.#write(signal, () => {
      for (const write of removalsFor(this.#selectLibrary(repo), evenListed)) this.#apply(repo, write)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#db.close()
  }

  /** Changes rows of a library in one transaction; what is equal stays untouched. */
  async #change(repo: RepoId, change: (rows: LibraryRows) => LibraryRows, signal: AbortSignal): Promise<void> {
    await this.#write(signal, () => {
      const have = this.#selectLibrary(repo)
      for (const write of editsFor(this.#shapes(), repo, have, change)) this.#apply(repo, write)
    })
  }

  #read(repo: RepoId): LibraryRead | undefined {
    const found = this.#selectLibrary(repo)
    if (!found.Repo) return undefined
    const rows = toLibraryRows(repo, found)
    const storeId = storeIdOf(rows)
    const origin =
      storeId === repo ? rows.historyLimitDays : Number(this.#selectRow('RepoHistoryLimit', storeId)?.[0] ?? NaN)
    const history = {
      limitDays: Number.isNaN(origin) ? null : origin,
      defaultDays: this.#defaultDays(),
      validSince: rows.validSince,
    }
    return {
      rows,
      history,
      gcId: this.#gcId(storeId),
      digest: digestOf(rows, history.limitDays ?? history.defaultDays),
    }
  }

  #selectLibrary(repo: RepoId): TableRows {
    const rows: Partial<Record<LibraryTable, readonly Value[]>> = {}
    for (const table of TABLE_NAMES) {
      const row = this.#selectRow(table, repo)
      if (row) rows[table] = row
    }
    return rows
  }

  #selectRow(table: LibraryTable, repo: RepoId): readonly Value[] | undefined {
    const list = this.#shapes().selectList(table, quote)
    if (list === undefined) return undefined
    const sql = `SELECT ${list} FROM ${table} WHERE repo_id = ?${table === 'Branch' ? ` AND name = '${MASTER}'` : ''}`
    return (this.#statement(sql).raw().get(repo) as Value[] | undefined)?.slice(1)
  }

  #selectAll(table: LibraryTable): Iterable<Value[]> {
    const list = this.#shapes().selectList(table, quote)
    if (list === undefined) return []
    const sql = `SELECT ${list} FROM ${table}${table === 'Branch' ? ` WHERE name = '${MASTER}'` : ''}`
    return this.#statement(sql).raw().iterate() as Iterable<Value[]>
  }

  #gcId(storeId: RepoId): string | null {
    // made by the first seaf-gc of newer versions: without it there is no fence, so it is looked for each time
    if (!this.#shapes().has('GCID') && this.#schemaVersion() !== this.#schemaSeen) this.#renewShapes()
    if (!this.#shapes().has('GCID')) return null
    return (
      (this.#statement('SELECT gc_id FROM GCID WHERE repo_id = ?').pluck().get(storeId) as string | undefined) ?? null
    )
  }

  #defaultDays(): number | null {
    if (!this.#shapes().has('SeafileConf')) return null
    const sql = "SELECT value FROM SeafileConf WHERE cfg_group = 'history' AND cfg_key = 'keep_days'"
    const value = this.#statement(sql).pluck().get() as string | undefined
    return value === undefined ? null : Number.parseInt(value, 10)
  }

  #apply(repo: RepoId, write: Write): void {
    const { table } = write
    const branch = table === 'Branch'
    const where = `WHERE repo_id = ?${branch ? ` AND name = '${MASTER}'` : ''}`
    if (write.kind === 'delete') {
      this.#statement(`DELETE FROM ${table} ${where}`).run(repo)
    } else if (write.kind === 'update') {
      const set = write.columns.map(c => `${quote(c)} = ?`).join(', ')
      if (set !== '') this.#statement(`UPDATE ${table} SET ${set} ${where}`).run(...write.values, repo)
    } else {
      const columns = ['repo_id', ...write.columns, ...(branch ? ['name'] : [])]
      const values = [repo, ...write.values, ...(branch ? [MASTER] : [])]
      const places = columns.map(() => '?').join(', ')
      this.#statement(`INSERT INTO ${table} (${columns.map(quote).join(', ')}) VALUES (${places})`).run(...values)
    }
  }

  /** Made once: parsing a statement costs more than running it. SQLite makes it anew when a table has changed. */
  #statement(sql: string): Database.Statement {
    let statement = this.#statements.get(sql)
    if (!statement) this.#statements.set(sql, (statement = this.#db.prepare(sql)))
    return statement
  }

  #shapes(): TableShapes {
    if (this.#knownShapes) return this.#knownShapes
    const shapes = this.#readShapes()
    const missing = shapes.missing()
    if (missing.length > 0) {
      const what = `table ${missing.join(' and ')} is missing`
      throw new BackupError('DATABASE_SCHEMA', `use ${this.#path}: ${what}; is this Seafile's seafile.db?`)
    }
    return (this.#knownShapes = shapes)
  }

  #schemaVersion(): number {
    return this.#db.pragma('schema_version', { simple: true }) as number
  }

  #renewShapes(): void {
    this.#schemaSeen = this.#schemaVersion()
    this.#knownShapes = this.#shapes().with(this.#readShapes())
  }

  #readShapes(): TableShapes {
    return new TableShapes(columnsIn(this.#db, [...Object.keys(LIBRARY_TABLES), 'SeafileConf', 'GCID']))
  }

  /** For opening: a catalog that cannot be used is not left open. */
  async #orClose<T>(work: () => T): Promise<T> {
    try {
      return await this.#unlocked(new AbortController().signal, work)
    } catch (error) {
      this.#db.close()
      throw error
    }
  }

  /** A file that was put in the place of ours (a restored dump) is the database now; ours would never change again. */
  #followFile(): void {
    const file = fileAt(this.#path)
    if (file === this.#file) return
    if (file === undefined) throw new BackupError('DATABASE_DOWN', `use ${this.#path}: the file is not there`)
    const db = open(this.#path, this.#options)
    this.#db.close()
    this.#db = db
    this.#file = file
    this.#opened += 1
    this.#knownShapes = undefined
    this.#schemaSeen = undefined
    this.#statements.clear()
  }

  #write<T>(signal: AbortSignal, work: () => T): Promise<T> {
    return this.#unlocked(signal, () => {
      // FULL does not sync the directory once the journal is removed: after a power cut it may be there again, and undo
      this.#db.pragma('synchronous = EXTRA')
      return this.#db.transaction(work).immediate()
    })
  }

  /** Runs `work` again while another process holds the lock. Errors leave with a code. */
  async #unlocked<T>(signal: AbortSignal, work: () => T): Promise<T> {
    const until = performance.now() + LOCKED_MS_MAX
    for (;;) {
      signal.throwIfAborted()
      try {
        this.#followFile()
        return work()
      } catch (error) {
        if (error instanceof BackupError) throw error
        const busy = systemCode(error)?.startsWith('SQLITE_BUSY') === true
        if (!busy || performance.now() > until) throw sqliteError(this.#path, error)
      }
      await sleep(LOCKED_RETRY_MS, signal)
    }
  }
}

const open = (path: string, options: Database.Options): Database.Database =>
  openDatabase(path, { ...options, timeout: options.readonly ? BUSY_MS.reading : BUSY_MS.writing })
