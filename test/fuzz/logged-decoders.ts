/** What a replay reads in the events of an archived binlog: statements, and which of the events are transactions. */

import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { inZone, readQuery } from '../../src/backup/binlog/event-bodies.js'
import { EVENT } from '../../src/backup/binlog/events.js'
import { BinlogFilter, CannotReplay, noneKept } from '../../src/backup/binlog/filter.js'
import { Groups } from '../../src/backup/binlog/groups.js'
import { EVENT_HEADER_BYTES } from '../../src/shared/binlog-events.js'
import { queryBody, rowsBody, tableMapBody } from '../support/binlog-bytes.js'
import { byteCases, isSaid, record } from './decoder.js'
import type { Query } from '../../src/backup/binlog/event-bodies.js'
import type { BinlogEvent } from '../../src/backup/binlog/events.js'
import type { Decoder } from './decoder.js'

const OURS = 'seafile_db'
const FORMAT = { serverVersion: '8.0.36', hasChecksums: false, began: 0, isOfStart: true, bytes: Buffer.alloc(0) }

/** Of a file without checksums. */
function eventOf(type: number, body: Buffer): BinlogEvent {
  const bytes = Buffer.concat([Buffer.alloc(EVENT_HEADER_BYTES), body])
  bytes.writeUInt8(type, 4)
  bytes.writeUInt32LE(bytes.byteLength, 9)
  const read = { timestamp: 1, position: 4, end: 4 + bytes.byteLength, format: FORMAT }
  return { ...read, type, bytes, body: bytes.subarray(EVENT_HEADER_BYTES) }
}

interface Logged {
  readonly type: number
  readonly body: Buffer
}

/** One after the other: its kind, how long it is, itself. */
const packed = (events: readonly Logged[]): Buffer =>
  Buffer.concat(events.flatMap(({ type, body }) => [Buffer.from([type, body.byteLength]), body]))

function* unpacked(input: Buffer): Generator<BinlogEvent> {
  for (let at = 0; at + 2 <= input.byteLength;) {
    const end = at + 2 + input.readUInt8(at + 1)
    yield eventOf(input.readUInt8(at), input.subarray(at + 2, end))
    at = end
  }
}

const says = (text: string, database = ''): Logged => ({ type: EVENT.query, body: queryBody(database, text) })
const rows = (database: string, type: number = EVENT.writeRows): Logged[] => [
  { type: EVENT.tableMap, body: tableMapBody(database, 't') },
  { type, body: rowsBody() },
]
const load = (database: string): Logged[] => [
  { type: EVENT.beginLoad, body: Buffer.from([1, 0, 0, 0, 49]) },
  { type: EVENT.executeLoad, body: queryBody(database, "LOAD DATA INFILE 'x' INTO TABLE `t`", { load: true }) },
]
const begun = { type: EVENT.gtidMysql, body: Buffer.alloc(42) }
const ordinary = (...written: readonly Logged[]): Logged[] => [
  begun,
  says('BEGIN'),
  ...written,
  { type: EVENT.xid, body: Buffer.alloc(8) },
]
const XA = "X'61',X'',1"
const distributed = [
  ...[begun, says(`XA START ${XA}`), ...rows('other'), says(`XA END ${XA}`)],
  ...[{ type: EVENT.xaPrepare, body: Buffer.alloc(14) }, begun, says(`XA COMMIT ${XA}`)],
]

/** With how many transactions of ours each has. */
const KINDS: Readonly<Record<string, { readonly events: readonly Logged[]; readonly ours: number }>> = {
  rows: { events: ordinary(...rows(OURS)), ours: 1 },
  statement: { events: [begun, says('CREATE TABLE x (a INT)', OURS)], ours: 1 },
  mixed: { events: ordinary(...rows('other'), ...rows(OURS), ...load('other')), ours: 1 },
  others: { events: ordinary(...rows('other')), ours: 0 },
  parts: { events: ordinary(...rows('other', EVENT.partialUpdateRows)), ours: 0 },
  load: { events: ordinary(...load('other')), ours: 0 },
  distributed: { events: distributed, ours: 0 },
}

interface Replayed {
  readonly transactions: number
  readonly bytes: number
  readonly tables: readonly string[]
}

function replayed(input: Buffer): Replayed {
  const kept = noneKept()
  const filter = new BinlogFilter({ databases: [OURS] }, kept)
  const groups = new Groups()
  let bytes = 0
  for (const event of unpacked(input))
    for (const piece of filter.push(event, groups.place(event))) bytes += piece.byteLength
  if (bytes !== kept.bytes) throw new Error(`${bytes} bytes were given, and ${kept.bytes} counted`)
  return { transactions: kept.transactions, bytes, tables: [...kept.tables] }
}

const text = fc.string({ maxLength: 60, unit: 'binary-ascii' })
const query: fc.Arbitrary<Query & { readonly load: boolean }> = record({
  database: fc.stringMatching(/^[a-zä]{0,12}$/),
  text,
  ansiQuotes: fc.boolean(),
  backslashEscapes: fc.boolean(),
  timeZone: fc.option(fc.constantFrom('SYSTEM', '+00:00', 'Europe/Paris')),
  load: fc.boolean(),
})

/** As each statement has it. */
const CATALOG = Buffer.from([6, 3, ...Buffer.from('std')])
const zoneVariable = (name: string): Buffer => Buffer.from([5, name.length, ...Buffer.from(name)])

/** The same statement but for its zone, however long that one's name is. */
function rezoned(event: BinlogEvent): Query {
  const query = readQuery(event)
  if (query.timeZone === null) return query
  const other = readQuery(eventOf(event.type, inZone(event, 'Asia/Kathmandu').subarray(EVENT_HEADER_BYTES)))
  if (!isDeepStrictEqual(other, { ...query, timeZone: 'Asia/Kathmandu' })) throw new Error('another statement')
  return query
}

function encodeQuery({ load, database, text, timeZone, ...mode }: Query & { load: boolean }): Buffer {
  const status = Buffer.alloc(14)
  status.writeUInt8(1, 5) // behind the flags, which are of no. 0
  status.writeUInt32LE((mode.ansiQuotes ? 0x4 : 0) | (mode.backslashEscapes ? 0 : 0x100000), 6)
  const variables = Buffer.concat([status, CATALOG, ...(timeZone === null ? [] : [zoneVariable(timeZone)])])
  return Buffer.concat([Buffer.from([load ? 1 : 0]), queryBody(database, text, { status: variables, load })])
}

export const LOGGED_DECODERS: readonly Decoder[] = [
  {
    name: 'logged-statement',
    cases: byteCases(query, encodeQuery, ({ load: _load, ...meant }) => meant),
    decode: input => rezoned(eventOf(input[0] === 1 ? EVENT.executeLoad : EVENT.query, input.subarray(1))),
    refuses: error => error instanceof RangeError,
    right: ({ text, database }: Query, input) => text.length + database.length <= input.byteLength,
  },
  {
    name: 'logged-transactions',
    cases: byteCases(
      fc.array(fc.constantFrom(...Object.keys(KINDS)), { maxLength: 6 }),
      kinds => packed(kinds.flatMap(kind => KINDS[kind]?.events ?? [])),
      kinds => kinds.reduce((sum, kind) => sum + (KINDS[kind]?.ours ?? 0), 0),
    ),
    decode: input => replayed(input).transactions,
    refuses: error => error instanceof RangeError || (error instanceof CannotReplay && isSaid(error.message)),
    right: (transactions: number, input) => transactions <= input.byteLength,
  },
]
