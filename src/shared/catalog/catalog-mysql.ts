/**
 * Seafile's rows in MySQL or MariaDB.
 *
 * A read is one round trip: a consistent snapshot of all tables in one packet.
 * A head move is two: what is there now, locked, then what changes, with the
 * commit. The reader needs SELECT and nothing else. A connection that broke is
 * replaced and the call made once more; the compare-and-set makes that safe.
 */

import { createPool } from 'mysql2'
import { format } from 'mysql2/promise'
import { BackupError, systemCode } from '../errors.js'
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
  repoIdOf,
  storeIdOf,
  toLibraryRows,
  writesFor,
} from './library-tables.js'
import { ListingMaker } from './listing.js'
import { connectionLost, mysqlError, mustRetry } from './mysql-errors.js'
import { orRollBack, rowByRow } from './mysql-rows.js'
import { MYSQL_SCHEMA } from './schema.js'
import type { Pool, PoolConnection } from 'mysql2/promise'
import type { CatalogWriter, HeadMove, LibraryListing, LibraryRead, LibraryRows } from './catalog.js'
import type { MysqlConfig } from './database-config.js'
import type { CommitId, RepoId } from '../ids.js'
import type { Log } from '../log.js'
import type { LibraryTable, TableRows, Value, Write } from './library-tables.js'
import type { ResultRow } from './mysql-rows.js'

const CONNECTIONS_MAX = 8
const CONNECT_MS_MAX = 10_000
/** A deadlock's victim tries again; more often than this is no accident. */
const ATTEMPTS_MAX = 5
const SNAPSHOT = 'START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY'
const BACKSLASH_ESCAPES = "SET SESSION sql_mode = REPLACE(@@sql_mode, 'NO_BACKSLASH_ESCAPES', '')"

const quote = (name: string): string => `\`${name}\``
const ofMaster = (table: LibraryTable): string => (table === 'Branch' ? ` AND name = '${MASTER}'` : '')

export class MysqlCatalog implements CatalogWriter {
  readonly #pool: Pool
  readonly #config: MysqlConfig
  readonly #listings: ListingMaker
  #shapes = new TableShapes(new Map())

  private constructor(config: MysqlConfig, log: Log) {
    this.#config = config
    this.#listings = new ListingMaker(log, repoIdOf)
    const { host, port, unixSocket, user, password, dbName } = config
    const pool = createPool({
      ...(unixSocket === undefined ? { host, port } : { socketPath: unixSocket }),
      user,
      password,
      database: dbName,
      charset: 'utf8mb4',
      connectionLimit: CONNECTIONS_MAX,
      connectTimeout: CONNECT_MS_MAX,
      multipleStatements: true, // every statement is made here; values go through `format`
      rowsAsArray: true,
      supportBigNumbers: true,
    })
    // `format` escapes with backslashes, which a server can be told to take for letters
    pool.on('connection', connection => connection.query(BACKSLASH_ESCAPES, error => error && connection.destroy()))
    this.#pool = pool.promise()
  }

  /** Rejects with DATABASE_DOWN, DATABASE_REFUSED or DATABASE_SCHEMA. */
  static async open(config: MysqlConfig, log: Log, options: { create: boolean }): Promise<MysqlCatalog> {
    const catalog = new MysqlCatalog(config, log)
    try {
      await catalog.#readShapes()
      if (options.create && catalog.#shapes.empty) {
        await catalog.#with(async connection => void (await connection.query(MYSQL_SCHEMA.join(';'))), never)
        await catalog.#readShapes()
      }
      catalog.#expectTables()
      return catalog
    } catch (error) {
      await catalog[Symbol.asyncDispose]()
      throw error
    }
  }

  async listing(signal: AbortSignal): Promise<LibraryListing[]> {
    await this.#readShapes() // an upgrade of Seafile may have run since
    const tables = this.#readable()
    const selects = tables.map(({ table, list }) => `SELECT ${list} FROM ${table} WHERE TRUE${ofMaster(table)}`)
    const sql = [SNAPSHOT, ...selects, this.#selectDefaultDays(), 'COMMIT'].join(';')
    return this.#with(async connection => {
      const fold = this.#listings.begin()
      const defaultDays: ResultRow[] = []
      await rowByRow(connection, sql, (row, statement) => {
        const table = tables[statement - 1]?.table
        if (table) fold.add(table, row)
        else defaultDays.push(row)
      })
      return fold.listing(firstNumber(defaultDays))
    }, signal)
  }

  async heads(signal: AbortSignal): Promise<Map<RepoId, CommitId>> {
    const sql = `SELECT b.repo_id, b.commit_id FROM Branch b JOIN Repo r ON r.repo_id = b.repo_id WHERE b.name = '${MASTER}'`
    const rows = await this.#with(
      async connection => (await connection.query(sql))[0] as unknown as ResultRow[],
      signal,
    )
    const heads = new Map<RepoId, CommitId>()
    for (const [id, commit] of rows) {
      const [repo, head] = [repoIdOf(id), commitIdOf(commit)]
      if (repo && head) heads.set(repo, head)
    }
    return heads
  }

  version(): Promise<null> {
    return Promise.resolve(null)
  }

  async gcId(storeId: RepoId, signal: AbortSignal): Promise<string | null> {
    await this.#lookForGcid()
    if (!this.#shapes.has('GCID')) return null
    const sql = format('SELECT gc_id FROM GCID WHERE repo_id = ?', [storeId])
    const rows = await this.#with(
      async connection => (await connection.query(sql))[0] as unknown as ResultRow[],
      signal,
    )
    return gcIdIn(rows)
  }

  async read(repo: RepoId, signal: AbortSignal): Promise<LibraryRead | undefined> {
    await this.#lookForGcid()
    const tables = this.#readable()
    const store = format('COALESCE((SELECT origin_repo FROM VirtualRepo WHERE repo_id = ?), ?)', [repo, repo])
    const storeSql = this.#shapes.has('VirtualRepo') ? store : format('?', [repo])
    const results = await this.#snapshot(
      [
        ...tables.map(({ table, list }) => selectOne(table, list, repo)),
        this.#shapes.has('RepoHistoryLimit') ? `SELECT days FROM RepoHistoryLimit WHERE repo_id = ${storeSql}` : 'DO 0',
        this.#shapes.has('GCID') ? `SELECT gc_id FROM GCID WHERE repo_id = ${storeSql}` : 'DO 0',
        this.#selectDefaultDays(),
      ],
      signal,
    )
    const found = toTableRowsOf(tables, results)
    if (!found.Repo) return undefined
    const rows = toLibraryRows(repo, found)
    const [limit, gc, conf] = results.slice(tables.length)
    const history = {
      limitDays: firstNumber(limit),
      defaultDays: firstNumber(conf),
      validSince: rows.validSince,
    }
    return { rows, history, gcId: gcIdIn(gc), digest: digestOf(rows, history.limitDays ?? history.defaultDays) }
  }

  moveHead(move: HeadMove, signal: AbortSignal): Promise<void> {
    const { rows, from, gcId } = move
    return this.#change(rows.repo, storeIdOf(rows), signal, (have, gcNow) => {
      expectFence(rows, { head: have.Branch ? commitIdOf(have.Branch[0]) : null, gcId: gcNow }, { from, gcId })
      return writesFor(this.#shapes, have, rows)
    })
  }

  async createLibrary(rows: LibraryRows & { readonly head: CommitId }, signal: AbortSignal): Promise<void> {
    await this.moveHead({ rows, from: null, gcId: await this.gcId(storeIdOf(rows), signal) }, signal)
  }

  async updateBranch(repo: RepoId, from: CommitId, to: CommitId, signal: AbortSignal): Promise<boolean> {
    const sql = format(`UPDATE Branch SET commit_id = ? WHERE name = '${MASTER}' AND repo_id = ? AND commit_id = ?`, [
      to,
      repo,
      from,
    ])
    const result = await this.#with(async connection => (await connection.query(sql))[0], signal)
    return (result as { affectedRows?: number }).affectedRows === 1
  }

  async updateAfterCommit(
    repo: RepoId,
    { info, size, fileCount }: Pick<LibraryRows, 'info' | 'size' | 'fileCount'>,
    signal: AbortSignal,
  ): Promise<void> {
    if (info) await this.#edit(repo, rows => ({ ...rows, info }), signal)
    if (size || fileCount !== null) {
      const change = (rows: LibraryRows) => ({
        ...rows,
        size: size ?? rows.size,
        fileCount: fileCount ?? rows.fileCount,
      })
      await this.#edit(repo, change, signal)
    }
  }

  updateVirtual(repo: RepoId, virtual: NonNullable<LibraryRows['virtual']>, signal: AbortSignal): Promise<void> {
    return this.#edit(repo, rows => ({ ...rows, virtual }), signal)
  }

  setHistory(
    repo: RepoId,
    history: { readonly limitDays?: number | null; readonly validSince?: number | null },
    signal: AbortSignal,
  ): Promise<void> {
    const { limitDays, validSince } = history
    const change = (rows: LibraryRows): LibraryRows => ({
      ...rows,
      ...(limitDays !== undefined && { historyLimitDays: limitDays }),
      ...(validSince !== undefined && { validSince }),
    })
    return this.#edit(repo, change, signal)
  }

  setOwner(repo: RepoId, owner: string, signal: AbortSignal): Promise<void> {
    return this.#edit(repo, rows => ({ ...rows, owner }), signal)
  }

  async remnants(signal: AbortSignal): Promise<RepoId[]> {
    const tables = this.#readable()
    const results = await this.#snapshot(
      tables.map(({ table }) => `SELECT repo_id FROM ${table}`),
      signal,
    )
    return remnantsIn(new Map(tables.map(({ table }, i) => [table, (results[i] ?? []).map(([repo]) => repo as Value)])))
  }

  async remnant(repo: RepoId, signal: AbortSignal): Promise<LibraryRows> {
    const tables = this.#readable()
    const results = await this.#snapshot(
      tables.map(({ table, list }) => selectOne(table, list, repo)),
      signal,
    )
    return toLibraryRows(repo, toTableRowsOf(tables, results))
  }

  removeRows(repo: RepoId, evenListed: boolean, signal: AbortSignal): Promise<void> {
    return this.#change(repo, repo, signal, have => removalsFor(have, evenListed))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.end()
  }

  #edit(repo: RepoId, change: (rows: LibraryRows) => LibraryRows, signal: AbortSignal): Promise<void> {
    return this.#change(repo, repo, signal, have => editsFor(this.#shapes, repo, have, change))
  }

  /** Reads the library under lock, then writes what `decide` wants, all in one transaction. */
  #change(
    repo: RepoId,
    storeId: RepoId,
    signal: AbortSignal,
    decide: (have: TableRows, gcId: string | null) => Write[],
  ): Promise<void> {
    return this.#with(async connection => {
      const tables = this.#readable()
      const gc = this.#shapes.has('GCID')
        ? format('SELECT gc_id FROM GCID WHERE repo_id = ? FOR UPDATE', [storeId])
        : 'DO 0'
      const locked = tables.map(
        ({ table, list }) => selectOne(table, list, repo) + (table === 'Branch' ? ' FOR UPDATE' : ''),
      )
      try {
        const [results] = await connection.query(['START TRANSACTION', gc, ...locked].join(';'))
        const [, gcRows, ...rows] = results as unknown as ResultRow[][]
        const have = toTableRowsOf(tables, rows)
        const writes = decide(have, gcIdIn(gcRows))
        signal.throwIfAborted()
        await connection.query([...writes.map(write => statementOf(repo, write)), 'COMMIT'].join(';'))
      } catch (error) {
        await connection.query('ROLLBACK').catch(() => connection.destroy())
        throw error
      }
    }, signal)
  }

  async #snapshot(selects: readonly string[], signal: AbortSignal): Promise<(readonly ResultRow[])[]> {
    const sql = [SNAPSHOT, ...selects, 'COMMIT'].join(';')
    const results = await this.#with(
      connection => orRollBack(connection, async () => (await connection.query(sql))[0] as unknown[]),
      signal,
    )
    // statements without rows (DO 0, COMMIT) answer with a header
    return results.slice(1, -1).map(result => (Array.isArray(result) ? (result as ResultRow[]) : []))
  }

  #readable(): { readonly table: LibraryTable; readonly list: string }[] {
    return TABLE_NAMES.flatMap(table => {
      const list = this.#shapes.selectList(table, quote)
      return list === undefined ? [] : [{ table, list }]
    })
  }

  /** Made by the first seaf-gc of newer versions: without it there is no fence, so it is looked for each time. */
  async #lookForGcid(): Promise<void> {
    if (!this.#shapes.has('GCID')) await this.#readShapes()
  }

  #selectDefaultDays(): string {
    if (!this.#shapes.has('SeafileConf')) return 'DO 0'
    return "SELECT value FROM SeafileConf WHERE cfg_group = 'history' AND cfg_key = 'keep_days'"
  }

  async #readShapes(): Promise<void> {
    const names = [...Object.keys(LIBRARY_TABLES), 'SeafileConf', 'GCID']
    const sql = format('SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = ?', [
      this.#config.dbName,
    ])
    const rows = await this.#with(async connection => (await connection.query(sql))[0] as unknown as ResultRow[], never)
    const columns = new Map<string, Set<string>>()
    for (const [found, column] of rows) {
      // lower_case_table_names makes them lower-case on some servers
      const table = names.find(name => name.toLowerCase() === String(found).toLowerCase())
      if (table) columns.set(table, (columns.get(table) ?? new Set<string>()).add(String(column)))
    }
    this.#shapes = this.#shapes.with(new TableShapes(columns))
  }

  #expectTables(): void {
    const missing = this.#shapes.missing()
    if (missing.length === 0) return
    throw new BackupError(
      'DATABASE_SCHEMA',
      `open database ${this.#config.dbName}: table ${missing.join(' and ')} is missing or may not be read; is this Seafile's seafile_db, and has the account SELECT on it?`,
    )
  }

  async #with<T>(work: (connection: PoolConnection) => Promise<T>, signal: AbortSignal): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      signal.throwIfAborted()
      let connection: PoolConnection | undefined
      try {
        connection = await this.#pool.getConnection()
        return await work(connection)
      } catch (error) {
        if (connectionLost(error)) connection?.destroy()
        const again =
          attempt < ATTEMPTS_MAX && (mustRetry(error) || (connectionLost(error) && connection !== undefined))
        if (again) continue
        if (error instanceof BackupError || (signal.aborted && systemCode(error) === undefined)) throw error
        throw mysqlError(this.#config, error)
      } finally {
        connection?.release()
      }
    }
  }
}

const never = new AbortController().signal

const selectOne = (table: LibraryTable, list: string, repo: RepoId): string =>
  format(`SELECT ${list} FROM ${table} WHERE repo_id = ?`, [repo]) + ofMaster(table)

function toTableRowsOf(
  tables: readonly { readonly table: LibraryTable }[],
  results: readonly (readonly ResultRow[])[],
): TableRows {
  const rows: Partial<Record<LibraryTable, readonly Value[]>> = {}
  tables.forEach(({ table }, i) => {
    const row = results[i]?.[0]
    if (row) rows[table] = row.slice(1)
  })
  return rows
}

function statementOf(repo: RepoId, write: Write): string {
  const { table } = write
  const where = format('WHERE repo_id = ?', [repo]) + ofMaster(table)
  if (write.kind === 'delete') return `DELETE FROM ${table} ${where}`
  const pairs = write.columns.map((c, i) => `${quote(c)} = ${format('?', [write.values[i] ?? null])}`)
  if (write.kind === 'update') return pairs.length === 0 ? 'DO 0' : `UPDATE ${table} SET ${pairs.join(', ')} ${where}`
  const own = table === 'Branch' ? [`name = '${MASTER}'`] : []
  return `INSERT INTO ${table} SET ${[format('repo_id = ?', [repo]), ...own, ...pairs].join(', ')}`
}

const firstNumber = (rows: readonly ResultRow[] | undefined): number | null => {
  const value = rows?.[0]?.[0]
  return value === undefined || value === null ? null : Number.parseInt(String(value), 10)
}

function gcIdIn(rows: readonly ResultRow[] | undefined): string | null {
  const value = Array.isArray(rows) ? (rows[0] as ResultRow | undefined)?.[0] : undefined
  return value === undefined || value === null ? null : String(value).trimEnd()
}
