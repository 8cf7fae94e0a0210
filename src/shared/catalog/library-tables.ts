/**
 * Which tables and columns make up a library, and how rows become `LibraryRows` and back.
 *
 * The same for both engines: they only fetch and write what is named here. A
 * table or column that an older Seafile does not have is read as null and not
 * written; only `Repo` and `Branch` are indispensable.
 */

import { hash } from 'node:crypto'
import { EMPTY_ID, isObjectId, isRepoId } from '../ids.js'
import type { CommitId, RepoId } from '../ids.js'
import type { LibraryRows } from './catalog.js'

export const LIBRARY_TABLES = {
  Repo: [],
  Branch: ['commit_id'],
  RepoHead: ['branch_name'],
  VirtualRepo: ['origin_repo', 'path', 'base_commit'],
  RepoOwner: ['owner_id'],
  RepoInfo: ['name', 'update_time', 'version', 'is_encrypted', 'last_modifier', 'status', 'type'],
  RepoSize: ['size', 'head_id'],
  RepoFileCount: ['file_count'],
  RepoHistoryLimit: ['days'],
  RepoValidSince: ['timestamp'],
} as const satisfies Record<string, readonly string[]>

export type LibraryTable = keyof typeof LIBRARY_TABLES
export const TABLE_NAMES = Object.keys(LIBRARY_TABLES) as LibraryTable[]
export const NEEDED_TABLES: readonly LibraryTable[] = ['Repo', 'Branch']

/** Other tables that are read when they are there. */
export const SIDE_TABLES = ['SeafileConf', 'GCID'] as const

/** Branches other than this one are only on clients. */
export const MASTER = 'master'

/**
 * Order of writing: objects are there already, and a reader that comes in between must not take a virtual library for
 * one with its own store, nor list a library without a head.
 */
export const WRITE_ORDER: readonly LibraryTable[] = [
  'VirtualRepo',
  'Branch',
  'RepoHead',
  'Repo',
  'RepoOwner',
  'RepoInfo',
  'RepoSize',
  'RepoFileCount',
  'RepoHistoryLimit',
  'RepoValidSince',
]

export type Value = string | number | null
/** Values in the order of LIBRARY_TABLES; undefined: there is no such row. */
export type TableRows = Readonly<Partial<Record<LibraryTable, readonly Value[]>>>

/** CHAR columns can carry trailing spaces, and ids made by hand upper-case hex. */
const clean = (value: Value | undefined): string =>
  String(value ?? '')
    .trimEnd()
    .toLowerCase()

export function repoIdOf(value: Value | undefined): RepoId | undefined {
  const text = clean(value)
  return isRepoId(text) ? text : undefined
}

export function commitIdOf(value: Value | undefined): CommitId | null {
  const text = clean(value)
  return isObjectId(text) && text !== EMPTY_ID ? (text as CommitId) : null
}

const text = (value: Value | undefined): string | null =>
  value === null || value === undefined ? null : String(value).trimEnd()
/** Columns of SQLite take anything; what is no whole number would be refused by whoever the rows are sent to. */
function number(value: Value | undefined): number | null {
  const read = value === null || value === undefined ? NaN : Number(value)
  return Number.isSafeInteger(read) ? read : null
}

type Row = readonly (Value | undefined)[]

/** What a stored row says, in the order of LIBRARY_TABLES; null: as much as no row. */
const CELLS = {
  Repo: () => [] as const,
  Branch: ([commit]: Row) => one(commitIdOf(commit)),
  RepoHead: ([branch]: Row) => one(text(branch)),
  VirtualRepo: ([origin, path, base]: Row) => {
    const originRepo = repoIdOf(origin)
    return originRepo ? ([originRepo, String(path ?? ''), commitIdOf(base)] as const) : null
  },
  RepoOwner: ([owner]: Row) => one(text(owner)),
  RepoInfo: ([name, time, version, encrypted, modifier, status, type]: Row) =>
    [
      String(name ?? ''),
      number(time),
      number(version),
      number(encrypted),
      text(modifier),
      number(status),
      text(type),
    ] as const,
  RepoSize: ([bytes, head]: Row) => [number(bytes) ?? 0, text(head)] as const,
  RepoFileCount: ([count]: Row) => one(number(count)),
  RepoHistoryLimit: ([days]: Row) => one(number(days)),
  RepoValidSince: ([time]: Row) => one(number(time)),
} satisfies Record<LibraryTable, (row: Row) => readonly Value[] | null>

const one = <T extends Value>(value: T | null): readonly [T] | null => (value === null ? null : [value])

export const cellsOf = (table: LibraryTable, row: Row): readonly Value[] | null => CELLS[table](row)

export function toLibraryRows(repo: RepoId, rows: TableRows): LibraryRows {
  const virtual = rows.VirtualRepo && CELLS.VirtualRepo(rows.VirtualRepo)
  const info = rows.RepoInfo && CELLS.RepoInfo(rows.RepoInfo)
  const size = rows.RepoSize && CELLS.RepoSize(rows.RepoSize)
  const only = <T extends Value>(cells: readonly [T] | null | undefined): T | null => cells?.[0] ?? null
  return {
    repo,
    head: only(rows.Branch && CELLS.Branch(rows.Branch)),
    branchName: only(rows.RepoHead && CELLS.RepoHead(rows.RepoHead)),
    virtual: virtual ? { originRepo: virtual[0], path: virtual[1], baseCommit: virtual[2] } : null,
    owner: only(rows.RepoOwner && CELLS.RepoOwner(rows.RepoOwner)),
    info: info
      ? {
          name: info[0],
          updateTime: info[1],
          version: info[2],
          isEncrypted: info[3],
          lastModifier: info[4],
          status: info[5],
          type: info[6],
        }
      : null,
    size: size ? { bytes: size[0], head: size[1] } : null,
    fileCount: only(rows.RepoFileCount && CELLS.RepoFileCount(rows.RepoFileCount)),
    historyLimitDays: only(rows.RepoHistoryLimit && CELLS.RepoHistoryLimit(rows.RepoHistoryLimit)),
    validSince: only(rows.RepoValidSince && CELLS.RepoValidSince(rows.RepoValidSince)),
  }
}

/** What each table must hold; null: no row. */
export function toTableRows(rows: LibraryRows): Record<LibraryTable, readonly Value[] | null> {
  const { virtual, info, size } = rows
  return {
    Repo: [],
    Branch: one(rows.head),
    RepoHead: one(rows.branchName),
    VirtualRepo: virtual && [virtual.originRepo, virtual.path, virtual.baseCommit],
    RepoOwner: one(rows.owner),
    RepoInfo: info && [
      info.name,
      info.updateTime,
      info.version,
      info.isEncrypted,
      info.lastModifier,
      info.status,
      info.type,
    ],
    RepoSize: size && [size.bytes, size.head],
    RepoFileCount: one(rows.fileCount),
    RepoHistoryLimit: one(rows.historyLimitDays),
    RepoValidSince: one(rows.validSince),
  }
}

/** All but the head: a listing brings that beside the digest. */
const DIGEST_TABLES = TABLE_NAMES.filter(table => table !== 'Repo' && table !== 'Branch')

/** Of a library without any of DIGEST_TABLES, before `finishDigest`. */
const DIGEST_START = '0000000000000000'

/** 16 hex characters over `digest` and what one more table says of the library; tables come in the order of DIGEST_TABLES. */
export const extendDigest = (digest: string, table: LibraryTable, cells: readonly Value[]): string =>
  hash('sha1', `${digest}${table}${JSON.stringify(cells)}`, 'hex').slice(0, 16)

/** `keepDays`: the limit that counts, which may be the origin's or the default: another one can require more than before. */
export const finishDigest = (digest: string, repo: RepoId, keepDays: number | null): string =>
  hash('sha1', `${digest}${repo}${keepDays}`, 'hex').slice(0, 16)

/** 16 hex characters over everything but the head; equal rows have equal digests on every engine. `keepDays`: see `finishDigest`. */
export function digestOf(
  rows: LibraryRows,
  keepDays: number | null = rows.virtual ? null : rows.historyLimitDays,
): string {
  const stored = toTableRows(rows)
  const whole = DIGEST_TABLES.reduce((digest, table) => {
    const cells = stored[table]
    return cells ? extendDigest(digest, table, cells) : digest
  }, DIGEST_START)
  return finishDigest(whole, rows.repo, keepDays)
}

/** The store that a library's fs objects and blocks lie in. */
export const storeIdOf = (rows: LibraryRows): RepoId => rows.virtual?.originRepo ?? rows.repo

/** Which of the wanted columns a database has. */
export class TableShapes {
  readonly #columns: ReadonlyMap<string, ReadonlySet<string>>

  constructor(columns: ReadonlyMap<string, ReadonlySet<string>>) {
    this.#columns = columns
  }

  /**
   * With what has appeared since (an upgrade of Seafile makes tables and columns). What is gone is not forgotten: a
   * table that is away for the moment of a restore must not read as rows that were removed.
   */
  with(found: TableShapes): TableShapes {
    const columns = new Map(this.#columns)
    for (const [table, names] of found.#columns) columns.set(table, new Set([...(columns.get(table) ?? []), ...names]))
    return new TableShapes(columns)
  }

  get empty(): boolean {
    return this.#columns.size === 0
  }

  has(table: string): boolean {
    return this.#columns.has(table)
  }

  /** Select list in the order of LIBRARY_TABLES: absent columns as NULL. Undefined: no such table. */
  selectList(table: LibraryTable, quote: (name: string) => string): string | undefined {
    const present = this.#columns.get(table)
    if (!present) return undefined
    return ['repo_id', ...LIBRARY_TABLES[table]].map(c => (present.has(c) ? quote(c) : 'NULL')).join(', ')
  }

  /** Columns that can be written, with their place in the row. */
  writable(table: LibraryTable): readonly { readonly name: string; readonly at: number }[] {
    const present = this.#columns.get(table)
    return LIBRARY_TABLES[table].flatMap((name, at) => (present?.has(name) ? [{ name, at }] : []))
  }

  missing(): LibraryTable[] {
    return NEEDED_TABLES.filter(table => !this.#columns.has(table))
  }
}

export type Write =
  | {
      readonly kind: 'insert' | 'update'
      readonly table: LibraryTable
      readonly columns: readonly string[]
      readonly values: readonly Value[]
    }
  | { readonly kind: 'delete'; readonly table: LibraryTable }

/** The fewest statements that turn `have` into `want`: what is equal already is left alone. */
export function writesFor(shapes: TableShapes, have: TableRows, want: LibraryRows): Write[] {
  const wanted = toTableRows(want)
  const writes: Write[] = []
  for (const table of WRITE_ORDER) {
    if (!shapes.has(table)) continue
    const [before, after] = [have[table], wanted[table]]
    const columns = shapes.writable(table)
    if (after === null) {
      if (before) writes.push({ kind: 'delete', table })
      continue
    }
    if (before && columns.every(({ at }) => same(before[at], after[at]))) continue
    const kind = before ? 'update' : 'insert'
    writes.push({ kind, table, columns: columns.map(c => c.name), values: columns.map(c => after[c.at] ?? null) })
  }
  return writes
}

/** Libraries that stand in any other of the tables, and not in Repo. `idsIn`: the first column of each row. */
export function remnantsIn(idsIn: ReadonlyMap<LibraryTable, readonly (Value | undefined)[]>): RepoId[] {
  const listed = new Set((idsIn.get('Repo') ?? []).map(repoIdOf))
  const others = [...idsIn.values()].flatMap(ids => ids.flatMap(id => repoIdOf(id) ?? []))
  return [...new Set(others)].filter(repo => !listed.has(repo)).sort()
}

/** The row that lists it first. Nothing of a library that has one, unless `evenListed`. */
export const removalsFor = (have: TableRows, evenListed: boolean): Write[] =>
  have.Repo && !evenListed
    ? []
    : ['Repo' as const, ...WRITE_ORDER.filter(table => table !== 'Repo')]
        .filter(table => have[table])
        .map(table => ({ kind: 'delete', table }))

/** As `writesFor`, but only in tables that `change` changes: a row that cannot be understood is no reason to delete it. */
export function editsFor(
  shapes: TableShapes,
  repo: RepoId,
  have: TableRows,
  change: (rows: LibraryRows) => LibraryRows,
): Write[] {
  const before = toLibraryRows(repo, have)
  const after = change(before)
  const [was, wanted] = [toTableRows(before), toTableRows(after)]
  return writesFor(shapes, have, after).filter(({ table }) => !sameRow(was[table], wanted[table]))
}

const sameRow = (a: readonly Value[] | null, b: readonly Value[] | null): boolean =>
  a === b || (a !== null && b !== null && a.every((value, i) => same(value, b[i])))

/** MySQL gives a BIGINT as number or string. */
const same = (a: Value | undefined, b: Value | undefined): boolean =>
  a === b || (a !== null && b !== null && a !== undefined && b !== undefined && String(a) === String(b))
