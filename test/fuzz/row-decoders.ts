/** What is read of databases: Seafile's rows, our own state, and the saved position in the binlog. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { LibraryStates } from '../../src/backup/state/library-state.js'
import { openStateDb } from '../../src/backup/state/state-db.js'
import { SavedPosition } from '../../src/primary/changes/binlog-position.js'
import {
  LIBRARY_TABLES,
  TABLE_NAMES,
  digestOf,
  repoIdOf,
  toLibraryRows,
  toTableRows,
} from '../../src/shared/catalog/library-tables.js'
import { ListingMaker } from '../../src/shared/catalog/listing.js'
import { errorCodes, isErrorCode } from '../../src/shared/errors.js'
import { isObjectId, isRepoId } from '../../src/shared/ids.js'
import { silentLog } from '../../src/shared/log.js'
import { parseLibraryRows } from '../../src/shared/wire/rows-codec.js'
import { decodeListing, encodeListing } from '../../src/shared/wire/sync-messages.js'
import { libraryRows, objectId, orNull, repoId } from '../shared/wire/support.js'
import { coded, jsonCases, record } from './decoder.js'
import { oddJson, spoilt } from './mutate.js'
import { roomOf } from './room.js'
import { areRows } from './wire-decoders.js'
import type { Library } from '../../src/backup/state/library-state.js'
import type { LibraryRows } from '../../src/shared/catalog/catalog.js'
import type { LibraryTable, TableRows, Value } from '../../src/shared/catalog/library-tables.js'
import type { RepoId } from '../../src/shared/ids.js'
import type { Case, Decoder } from './decoder.js'

const REPO = '3f1c09aa-0000-4000-8000-000000000001' as RepoId

/** Cells as drivers give them: BIGINT as number or text, BLOB as bytes, and columns of SQLite that keep no type. */
const oddCell: fc.Arbitrary<Value> = fc.oneof(
  fc.constantFrom<Value>(
    null,
    '',
    ' ',
    '0',
    '-1',
    'x',
    '1.5',
    1.5,
    1e300,
    -1e300,
    2 ** 53,
    '9223372036854775807',
    'NaN',
  ),
  fc.constantFrom<Value>(NaN, Infinity, '0x10', '1e3', '\ud800', 'a\u0000b', 'x'.repeat(65_535), '\u202e'),
  fc.constantFrom<Value>(REPO.toUpperCase(), `${REPO}  `, `${REPO}\n`, REPO.slice(1), '0'.repeat(40), 'AB'.repeat(20)),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.double(),
  fc.uint8Array({ maxLength: 20 }).map(bytes => Buffer.from(bytes) as unknown as Value),
)

type WholeTables = Readonly<Partial<Record<LibraryTable, readonly (readonly Value[])[]>>>

/** Rows of each table; JSON cannot say NaN, so that cells travel by number: `odd` is put in the place `at`. */
const tables: fc.Arbitrary<WholeTables> = fc
  .tuple(libraryRows, fc.array(fc.tuple(fc.nat(), oddCell), { maxLength: 4 }), fc.array(fc.nat(), { maxLength: 2 }))
  .map(([rows, odd, missing]) => {
    const stored = toTableRows({ ...rows, repo: REPO })
    const whole: [string, Value[]][] = TABLE_NAMES.flatMap(table => {
      const cells = stored[table]
      return cells ? [[table, [REPO, ...cells]]] : []
    })
    for (const [at, value] of odd) {
      const [, cells] = whole[at % whole.length] as [string, Value[]]
      cells[(at >> 4) % cells.length] = value
    }
    for (const at of missing) if (whole.length > 1) whole.splice(1 + (at % (whole.length - 1)), 1)
    return Object.fromEntries(whole.map(([table, cells]) => [table, [cells]])) as WholeTables
  })

const tagged = (_key: string, value: unknown): unknown => {
  if (typeof value === 'number' && !Number.isFinite(value)) return { $number: String(value) }
  const bytes = value as { type?: unknown; data?: unknown } | null
  return bytes?.type === 'Buffer' ? { $bytes: Buffer.from(bytes.data as number[]).toString('hex') } : value
}
const untagged = (_key: string, value: unknown): unknown => {
  const { $number, $bytes } = (typeof value === 'object' && value !== null ? value : {}) as Record<string, string>
  if ($number !== undefined) return Number($number)
  return $bytes === undefined ? value : Buffer.from($bytes, 'hex')
}

interface Told {
  readonly libraries: readonly LibraryRows[]
  readonly over: readonly LibraryRows[]
  readonly digests: readonly string[]
}

/** Of the one library that there is. */
const rowsOf = (whole: WholeTables): TableRows =>
  Object.fromEntries(
    Object.entries(whole).flatMap(([table, [row]]) => (row && repoIdOf(row[0]) ? [[table, row.slice(1)]] : [])),
  )

/** The whole way of a row: read by the agent, sent in JSON, read by the backup; and the listing beside it. */
function tell(input: Buffer): Told {
  const whole = JSON.parse(input.toString(), untagged) as WholeTables
  const fold = new ListingMaker(silentLog, repoIdOf).begin()
  for (const table of TABLE_NAMES) for (const row of whole[table] ?? []) fold.add(table, row)
  const listing = fold.listing(null)
  const libraries = listing.map(({ repo }) => toLibraryRows(repo, rowsOf(whole)))
  if (!isDeepStrictEqual([...decodeListing(encodeListing(listing))], listing))
    throw new Error('another listing arrives')
  const over = libraries.map(rows => parseLibraryRows(JSON.parse(JSON.stringify(rows))))
  return { libraries, over, digests: over.map(rows => digestOf(rows)) }
}

const rowDecoder: Decoder = {
  name: 'database-rows',
  cases: tables.map(whole => ({ input: Buffer.from(JSON.stringify(whole, tagged)) })),
  decode: tell,
  refuses: () => false,
  right: ({ libraries, over, digests }: Told) =>
    JSON.stringify(over) === JSON.stringify(libraries) && // -0 is 0 to JSON, and to everybody who reads rows
    libraries.every(areRows) &&
    isDeepStrictEqual(
      digests,
      libraries.map(rows => digestOf(rows)),
    ) &&
    over.every(rows =>
      Object.entries(toTableRows(rows)).every(([table, cells]) => cells === null || fits(table, cells)),
    ),
}

const fits = (table: string, cells: readonly unknown[]): boolean =>
  cells.length === LIBRARY_TABLES[table as keyof typeof LIBRARY_TABLES].length

const db = openStateDb(roomOf('state'))
db.pragma('synchronous = OFF')
const put = db.prepare('INSERT OR REPLACE INTO library (repo, store, name, failure) VALUES (?, ?, ?, ?)')

/** What the state remembers of a library: columns of text, one of them JSON. */
const remembered = record({
  store: orNull(repoId),
  name: orNull(fc.string()),
  failure: orNull(
    record({ code: fc.constantFrom(...errorCodes()), message: fc.string() }).map(one => JSON.stringify(one)),
  ),
})
const column = fc.oneof(
  oddJson,
  spoilt(libraryRows).map(String),
  spoilt(record({ code: fc.constant('INTERNAL'), message: fc.string() })).map(String),
)
const stateCases: fc.Arbitrary<Case> = fc
  .oneof(
    remembered.map(columns => ({ columns, means: { value: readable(columns) } })),
    record({ store: orNull(column), name: orNull(column), failure: orNull(column) }).map(columns => ({ columns })),
  )
  .map(({ columns, ...rest }) => ({ input: Buffer.from(JSON.stringify(columns)), ...rest }))

interface Columns {
  readonly store: string | null
  readonly name: string | null
  readonly failure: string | null
}

function readable({ store, name, failure }: Columns): object {
  const { code, message } = JSON.parse(failure ?? '{}') as { code?: string; message?: string }
  return {
    store,
    name: store === null ? null : name,
    failure: failure === null ? null : { code, message, attempts: 1, retryAt: undefined },
  }
}

const stateDecoder: Decoder = {
  name: 'state-columns',
  cases: stateCases,
  decode: input => {
    const { store, name, failure } = JSON.parse(input.toString()) as Columns
    put.run(REPO, store, name, failure)
    const library = new LibraryStates(db).get(REPO)
    return {
      store: library?.summary?.storeId ?? null,
      name: library?.summary?.name ?? null,
      failure: library?.failure,
    }
  },
  refuses: coded('STATE_UNUSABLE'),
  right: ({ store, name, failure }: { store: unknown; name: unknown } & Pick<Library, 'failure'>) =>
    (store === null || isRepoId(store)) &&
    (name === null || typeof name === 'string') &&
    (failure === null || (isErrorCode(failure.code) && typeof failure.message === 'string')),
}

const positionDir = roomOf('position')
const serverId = fc.integer({ min: 0x40000000, max: 0x7fffffff })
const position = record({
  serverId,
  position: orNull(record({ file: fc.stringMatching(/^[a-z-]{1,20}\.\d{6}$/), offset: fc.nat() })),
})

const positionDecoder: Decoder = {
  name: 'binlog-position',
  cases: jsonCases(position),
  decode: async input => {
    writeFileSync(join(positionDir, 'binlog-position.json'), input)
    const { serverId: id, position: at } = await SavedPosition.load(positionDir)
    return { serverId: id, position: at }
  },
  refuses: () => false,
  // a replica's server id has 32 bits, an offset is a number of bytes: with others no stream can be begun
  right: ({ serverId: id, position: at }: Pick<SavedPosition, 'serverId' | 'position'>) =>
    Number.isInteger(id) &&
    id >= 0x40000000 &&
    id <= 0x7fffffff &&
    (at === null || (typeof at.file === 'string' && Number.isSafeInteger(at.offset) && at.offset >= 0)),
}

const idDecoder: Decoder = {
  name: 'stored-ids',
  cases: fc
    .oneof(repoId, objectId)
    .chain(id => fc.constantFrom(id, id.toUpperCase(), `${id}  `, ` ${id}`, `${id}\n`, id.slice(1), `${id}\u0000`))
    .map(id => ({ input: Buffer.from(id) })),
  decode: input => repoIdOf(input.toString()) ?? null,
  refuses: () => false,
  right: (repo: unknown, input) =>
    repo === null
      ? !isRepoId(input.toString().trimEnd().toLowerCase())
      : isRepoId(repo) && !isObjectId(repo) && input.toString().toLowerCase().startsWith(repo),
}

export const ROW_DECODERS: readonly Decoder[] = [rowDecoder, stateDecoder, positionDecoder, idDecoder]
