/** Whole tables, put together library by library: the set-based half of both catalogs. */

import { TABLE_NAMES, digestOf, storeIdOf, toLibraryRows } from './library-tables.js'
import type { LibraryListing, LibraryRows } from './catalog.js'
import type { RepoId } from '../ids.js'
import type { Log } from '../log.js'
import type { LibraryTable, Value } from './library-tables.js'

/** Rows of one table: repo id first, then the columns of LIBRARY_TABLES. */
export type WholeTables = Readonly<Partial<Record<LibraryTable, readonly (readonly Value[])[]>>>

/** So many malformed ids are named; a table full of them is one problem, not a million lines. */
const MALFORMED_LOGGED_MAX = 10

export class ListingMaker {
  readonly #malformed = new Set<string>()

  /** `idOf`: which library a stored id means to this database. */
  constructor(
    private readonly log: Log,
    private readonly idOf: (stored: Value | undefined) => RepoId | undefined,
  ) {}

  /** Every library with a Repo row and a well-formed id. */
  libraries(tables: WholeTables): LibraryRows[] {
    const byTable = TABLE_NAMES.map(table => [table, this.#index(tables[table] ?? [])] as const)
    const repos = byTable.find(([table]) => table === 'Repo')?.[1] ?? new Map<RepoId, readonly Value[]>()
    return [...repos.keys()].map(repo => {
      const rows: Partial<Record<LibraryTable, readonly Value[]>> = {}
      for (const [table, index] of byTable) {
        const row = index.get(repo)
        if (row) rows[table] = row
      }
      return toLibraryRows(repo, rows)
    })
  }

  /** `defaultDays`: see `HistoryRows`. */
  listing(tables: WholeTables, defaultDays: number | null): LibraryListing[] {
    const limits = this.#index(tables.RepoHistoryLimit ?? [])
    return this.libraries(tables).map(rows => {
      const limit = limits.get(storeIdOf(rows))?.[0] ?? null
      return { repo: rows.repo, head: rows.head, digest: digestOf(rows, limit === null ? defaultDays : Number(limit)) }
    })
  }

  #index(rows: readonly (readonly Value[])[]): Map<RepoId, readonly Value[]> {
    const index = new Map<RepoId, readonly Value[]>()
    for (const [id, ...values] of rows) {
      const repo = this.idOf(id)
      if (repo) index.set(repo, values)
      else this.#report(String(id))
    }
    return index
  }

  #report(id: string): void {
    if (this.#malformed.has(id) || this.#malformed.size >= MALFORMED_LOGGED_MAX) return
    this.#malformed.add(id)
    this.log.warn({ id: id.slice(0, 80) }, 'row with a malformed library id left out')
  }
}
