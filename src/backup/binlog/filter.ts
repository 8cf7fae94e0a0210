/**
 * From the events of an archived binlog those that are replayed, as bytes that the servers' own tool reads again.
 *
 * Each event with rows goes with the description of its table and ends its own
 * statement: so it does not matter which of a statement's tables are left out,
 * and no statement is longer than an event of the primary.
 */

import { ROWS_END, beginLike, inZone, readGtid, readRows, readTableMap } from './event-bodies.js'
import { FLAGS_AT } from '../../shared/binlog-events.js'
import { SYSTEM } from '../../shared/system-zone.js'
import { EVENT, withFlag } from './events.js'
import { judgeStatement, keepsRows } from './scope.js'
import type { MariadbGtid, Query, XaStep } from './event-bodies.js'
import type { BinlogEvent } from './events.js'
import type { Place } from './groups.js'
import type { Scope } from './scope.js'
import type { MadeObject } from './statement.js'

/** A statement that is not to go to its session's database. */
const WITHOUT_USE = 0x8

const OF_LOAD_DATA = 'it is of LOAD DATA'
const OF_XA = 'it is of a distributed transaction (XA)'
const OF_UNKNOWN_ZONE =
  'it is a statement with times in the time zone of the database server, which the agent did not tell: it was too old'
const PART_OF_JSON = 'it is a part of a JSON value (binlog_row_value_options)'
/** By name: the server said something that cannot be replayed by anybody, or not by this, and of no table that is named. */
const REFUSED: Readonly<Record<number, string>> = {
  [EVENT.incident]: 'the server says itself that changes are missing in its binlog there',
  [EVENT.transactionPayload]: 'the server compresses transactions (binlog_transaction_compression)',
  ...Object.fromEntries([6, 7, 8, 10, 12].map(type => [type, OF_LOAD_DATA])), // of servers before 5.0
}
/** The last of them says where it goes. */
const LOADED: readonly number[] = [EVENT.beginLoad, EVENT.appendBlock, EVENT.deleteFile]
const BEFORE_STATEMENT: readonly number[] = [EVENT.intvar, EVENT.rand, EVENT.userVar]
/** The server's notes to itself and to its replicas. */
const IGNORED: readonly number[] = [3, 4, 15, 27, 28, 29, 35, 36, 37, 41, 160, 161, 163]
const NAMES_MAX = 100_000
/** People name one or two. */
const ZONES_MAX = 100
/** As +02:00 and Europe/Paris: in SQL it stands for itself. */
const ZONE = /^[A-Za-z0-9_+:/-]{1,64}$/

/** What was written by what was kept. */
export interface Kept {
  transactions: number
  bytes: number
  /** `database.table` each. */
  readonly tables: Set<string>
  readonly made: MadeObject[]
  /** Time zones of its statements, each once. */
  readonly zones: string[]
}

export const noneKept = (): Kept => ({ transactions: 0, bytes: 0, tables: new Set(), made: [], zones: [] })

/** Gives it up. The message is for a person. */
export class CannotReplay extends Error {
  override readonly name = 'CannotReplay'
}

/** This dump cannot be gone on from; an older one may be. */
export class CannotGoOn extends CannotReplay {}

/** No snapshot covers what is defined in a database: a dump has it as it was when its turn came. */
export class DefinedMeanwhile extends CannotGoOn {
  constructor(writes: readonly string[]) {
    super(`${writes.join(', ')} was made, changed or removed while the dump was taken, which may have it so or so`)
  }
}

/** A snapshot has nothing of what was prepared before it and is committed later. */
export class PreparedBefore extends CannotGoOn {
  constructor() {
    super('it commits a distributed transaction (XA) that was begun before the dump, and may have written any table')
  }
}

export class BinlogFilter {
  /** What stands for the time zone of the server that wrote the log; null: nobody knows which that was. */
  systemZone: string | null = SYSTEM
  /** What frames a transaction, until something of it is kept. */
  #frame: Buffer[] = []
  #isKept = false
  /** What the server says of its statement is that it is not done there. */
  #isUndone = false
  #before: Buffer[] = []
  /** The transaction is a distributed one, of which nothing is replayed; its name, when that is known. */
  #xa: { name: string | null } | null = null
  /** Those that wait for their end, and have written nothing that is replayed. */
  readonly #prepared = new Set<string>()
  readonly #tables = new Map<string, { readonly bytes: Buffer; readonly name: string; readonly isKept: boolean }>()

  constructor(
    private readonly scope: Scope,
    private readonly kept: Kept,
    /** Up to then, in Unix seconds by the server's clock, the dump may have what was defined meanwhile. */
    private readonly dumpedUntil = -Infinity,
  ) {}

  /** The bytes to be replayed for it, as long as the event's are there. Throws CannotReplay; RangeError for what is none. */
  push(event: BinlogEvent, place: Place): Buffer[] {
    const refused = REFUSED[event.type]
    if (refused !== undefined) throw new CannotReplay(refused)
    if (!place.within) return this.#outside(event)
    if (place.first) this.#begin()
    const given = place.frames ? this.#frames(event, place) : this.#content(event, place.query)
    for (const { byteLength } of given) this.kept.bytes += byteLength
    return given
  }

  #outside({ type }: BinlogEvent): Buffer[] {
    if (IGNORED.includes(type)) return []
    throw new CannotReplay(`events of kind ${type} are not known here`)
  }

  #begin(): void {
    this.#frame = []
    this.#isKept = false
    this.#isUndone = false
    this.#before = []
    this.#xa = null
    this.#tables.clear()
  }

  #frames(event: BinlogEvent, { last, query, xa }: Place): Buffer[] {
    if (event.type === EVENT.gtid) this.#noteGtid(readGtid(event))
    if (event.type === EVENT.xaPrepare) this.#notePrepared()
    if (xa) this.#noteXa(xa)
    if (this.#xa || (last && !this.#isKept)) return []
    // BEGIN and COMMIT of a session in another database
    const given = query ? withFlag(event, FLAGS_AT, WITHOUT_USE) : event.type === EVENT.xid ? event.bytes : begun(event)
    if (last && given) return [given]
    if (given) this.#frame.push(given)
    return []
  }

  #noteGtid({ isXa, isUndone }: MariadbGtid): void {
    if (isXa) this.#xa = { name: null }
    this.#isUndone = isUndone
  }

  /** Rolled back it has written nothing, whenever it was begun. */
  #noteXa({ does, name }: XaStep): void {
    if (does === 'COMMIT' && !this.#prepared.has(name)) throw new PreparedBefore()
    if (does === 'COMMIT' || does === 'ROLLBACK') this.#prepared.delete(name)
    this.#xa = { name: does === 'END' ? name : null }
  }

  #notePrepared(): void {
    const name = this.#xa?.name ?? null
    if (name !== null && this.#prepared.size < NAMES_MAX) this.#prepared.add(name)
  }

  #content(event: BinlogEvent, query: Query | null): Buffer[] {
    if (query) return event.type === EVENT.executeLoad ? this.#loaded(query) : this.#statement(event, query)
    if (LOADED.includes(event.type)) return []
    if (BEFORE_STATEMENT.includes(event.type)) {
      this.#before.push(Buffer.from(event.bytes))
      return []
    }
    if (event.type === EVENT.tableMap) return this.#described(event)
    return this.#rows(event)
  }

  #statement(event: BinlogEvent, query: Query): Buffer[] {
    const before = this.#before
    this.#before = []
    if (this.#isUndone) return []
    const verdict = judgeStatement(this.scope, query)
    if (verdict.do === 'refuse') throw new CannotReplay(verdict.why)
    if (verdict.do === 'drop') return []
    if (this.#xa && verdict.writes.length === 0) return [] // a savepoint
    if (verdict.defines && event.timestamp <= this.dumpedUntil) throw new DefinedMeanwhile(verdict.writes)
    for (const table of verdict.writes) this.#noteTable(table)
    if (this.kept.made.length < NAMES_MAX) this.kept.made.push(...verdict.made)
    const bytes = this.#zoned(event, query.timeZone)
    const flags = verdict.isElsewhere ? WITHOUT_USE : 0
    return this.#keep([
      ...before,
      bytes === event.bytes && flags === 0 ? bytes : withFlag({ ...event, bytes }, FLAGS_AT, flags),
    ])
  }

  /** Its checksum may not be right any more. */
  #zoned(event: BinlogEvent, zone: string | null): Buffer {
    if (zone === null) return event.bytes
    if (!ZONE.test(zone)) throw new CannotReplay(`its time zone has a name that is none: ${JSON.stringify(zone)}`)
    const { zones } = this.kept
    if (!zones.includes(zone)) zones.push(zone)
    if (zones.length > ZONES_MAX) throw new CannotReplay(`its statements have more than ${ZONES_MAX} time zones`)
    if (zone !== SYSTEM || this.systemZone === SYSTEM) return event.bytes
    if (this.systemZone === null) throw new CannotReplay(OF_UNKNOWN_ZONE)
    return inZone(event, this.systemZone)
  }

  /** Its bytes came before it, and are in no statement. */
  #loaded(query: Query): Buffer[] {
    this.#before = []
    if (judgeStatement(this.scope, query).do !== 'drop') throw new CannotReplay(OF_LOAD_DATA)
    return []
  }

  #described(event: BinlogEvent): Buffer[] {
    const map = readTableMap(event)
    this.#tables.set(map.id, {
      bytes: Buffer.from(event.bytes),
      name: `${map.database}.${map.table}`,
      isKept: keepsRows(this.scope, map),
    })
    return []
  }

  #rows(event: BinlogEvent): Buffer[] {
    const { id, endsStatement } = readRows(event)
    const table = this.#tables.get(id)
    if (!table && id !== ENDS_ALONE) throw new RangeError('it has rows of a table that is not described')
    if (table?.isKept === true && event.type === EVENT.partialUpdateRows) throw new CannotReplay(PART_OF_JSON)
    const given = table?.isKept === true ? this.#keep([table.bytes, withFlag(event, ROWS_END.at, ROWS_END.flag)]) : []
    if (table?.isKept === true) this.#noteTable(table.name)
    if (endsStatement) this.#tables.clear()
    return given
  }

  #keep(bytes: Buffer[]): Buffer[] {
    if (this.#xa) throw new CannotReplay(OF_XA)
    const frame = this.#isKept ? [] : this.#frame
    if (!this.#isKept) this.kept.transactions += 1
    this.#isKept = true
    return [...frame, ...bytes]
  }

  #noteTable(name: string): void {
    if (this.kept.tables.size < NAMES_MAX) this.kept.tables.add(name)
  }
}

/** The primary's numbers of transactions are nothing to the target, which gives its own: where they say BEGIN, that is said. */
const begun = (event: BinlogEvent): Buffer | undefined =>
  event.type === EVENT.gtid && !readGtid(event).isStandalone ? beginLike(event, WITHOUT_USE) : undefined

/** Rows of no table: MySQL writes them to say that a statement ends. */
const ENDS_ALONE = 'ffffff000000'
