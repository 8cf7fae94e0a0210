/**
 * Whole tables, folded library by library into heads and digests: the set-based half of both catalogs.
 *
 * Rows come one by one, table by table, and nothing of them is kept but a head of 20 bytes and a digest of 8: a hundred
 * thousand libraries cost some megabytes, whatever their names are.
 */

import { EMPTY_ID, ID_BYTES } from '../ids.js'
import { cellsOf, extendDigest, finishDigest } from './library-tables.js'
import type { LibraryListing } from './catalog.js'
import type { CommitId, RepoId } from '../ids.js'
import type { Log } from '../log.js'
import type { LibraryTable, Value } from './library-tables.js'

/** Which library a stored id means to a database; undefined: it is malformed. */
export type IdReader = (stored: Value | undefined) => RepoId | undefined

/** So many malformed ids are named; a table full of them is one problem, not a million lines. */
const MALFORMED_LOGGED_MAX = 10

export class ListingMaker {
  readonly #malformed = new Set<string>()

  constructor(
    private readonly log: Log,
    private readonly idOf: IdReader,
  ) {}

  begin(): ListingFold {
    return new ListingFold(this.idOf, id => this.#report(id))
  }

  #report(id: string): void {
    if (this.#malformed.has(id) || this.#malformed.size >= MALFORMED_LOGGED_MAX) return
    this.#malformed.add(id)
    this.log.warn({ id: id.slice(0, 80) }, 'row with a malformed library id left out')
  }
}

const DIGEST_BYTES = 8

/** One listing. Tables are added in the order of LIBRARY_TABLES: `Repo` first, which says what libraries there are. */
export class ListingFold {
  /** Place of each library in the two buffers. */
  readonly #places = new Map<RepoId, number>()
  #heads = Buffer.alloc(1_024 * ID_BYTES)
  #digests = Buffer.alloc(1_024 * DIGEST_BYTES)
  readonly #origins = new Map<RepoId, RepoId>()
  readonly #limits = new Map<RepoId, number>()

  constructor(
    private readonly idOf: IdReader,
    private readonly malformed: (id: string) => void,
  ) {}

  /** `row`: repo id first, then the columns of LIBRARY_TABLES. */
  add(table: LibraryTable, row: readonly Value[]): void {
    const place = this.#places.get(row[0] as RepoId) // as it stands, nearly always
    const repo = place === undefined ? this.idOf(row[0]) : (row[0] as RepoId)
    if (!repo) return this.malformed(String(row[0]))
    if (table === 'Repo') return this.#addLibrary(repo)
    const cells = cellsOf(table, row.slice(1))
    if (!cells) return
    if (table === 'RepoHistoryLimit') this.#limits.set(repo, cells[0] as number)
    if (table === 'VirtualRepo') this.#origins.set(repo, cells[0] as RepoId)
    this.#extend(place ?? this.#places.get(repo), table, cells)
  }

  /** `defaultDays`: see `HistoryRows`. */
  listing(defaultDays: number | null): LibraryListing[] {
    return [...this.#places].map(([repo, place]) => {
      const head = this.#heads.toString('hex', place * ID_BYTES, (place + 1) * ID_BYTES)
      const days = this.#limits.get(this.#origins.get(repo) ?? repo) ?? defaultDays
      return {
        repo,
        head: head === EMPTY_ID ? null : (head as CommitId),
        digest: finishDigest(this.#digest(place), repo, days),
      }
    })
  }

  #addLibrary(repo: RepoId): void {
    if (this.#places.has(repo)) return
    const place = this.#places.size
    this.#places.set(repo, place)
    if (place * DIGEST_BYTES < this.#digests.byteLength) return
    this.#heads = doubled(this.#heads)
    this.#digests = doubled(this.#digests)
  }

  /** A row of a library without a row in `Repo` is nobody's. */
  #extend(place: number | undefined, table: LibraryTable, cells: readonly Value[]): void {
    if (place === undefined) return
    if (table === 'Branch') return void this.#heads.write(cells[0] as CommitId, place * ID_BYTES, 'hex')
    this.#digests.write(extendDigest(this.#digest(place), table, cells), place * DIGEST_BYTES, 'hex')
  }

  #digest(place: number): string {
    return this.#digests.toString('hex', place * DIGEST_BYTES, (place + 1) * DIGEST_BYTES)
  }
}

function doubled(buffer: Buffer): Buffer<ArrayBuffer> {
  return Buffer.concat([buffer, Buffer.alloc(buffer.byteLength)])
}
