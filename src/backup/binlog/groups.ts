/**
 * Where a transaction begins in a binlog and where it ends: a group of events that is replayed as a whole or not at all.
 *
 *   MariaDB: GTID (it stands for BEGIN, or says that one statement is all), …, XID or COMMIT
 *   MySQL:   GTID, BEGIN, …, XID or COMMIT; or GTID and one statement
 *   XA:      GTID (MySQL: and XA START), …, XA END, that it is prepared; later GTID and XA COMMIT or XA ROLLBACK
 */

import { isQuery, isRows, readGtid, readQuery, xaStepOf } from './event-bodies.js'
import { EVENT } from './events.js'
import type { Query, XaStep } from './event-bodies.js'
import type { BinlogEvent } from './events.js'

export interface Place {
  /** It belongs to a transaction, and is the first or the last of it. */
  readonly within: boolean
  readonly first: boolean
  readonly last: boolean
  /** It is one that says where a transaction begins or ends. */
  readonly frames: boolean
  /** The statement, if it is one. */
  readonly query: Query | null
  /** What that does to a distributed transaction, if it does. */
  readonly xa: XaStep | null
}

const GTIDS: readonly number[] = [EVENT.gtidMysql, EVENT.anonymousGtid, EVENT.gtidTagged]
const OF_STATEMENT: readonly number[] = [EVENT.intvar, EVENT.rand, EVENT.userVar, EVENT.tableMap]
/** Bytes for LOAD DATA, or that they are not wanted after all. */
const OF_LOAD: readonly number[] = [EVENT.beginLoad, EVENT.appendBlock, EVENT.deleteFile]
const INSIDE: readonly number[] = [...OF_STATEMENT, ...OF_LOAD]
const BEGIN = /^\s*(BEGIN|START\s+TRANSACTION)\s*$/i
const END = /^\s*(COMMIT|ROLLBACK)\s*$/i
/** Nothing that begins or ends a transaction is longer. */
const FRAME_CHARACTERS_MAX = 40

/** `one`: the next statement is all of it. `open`: that, unless it is BEGIN. `many`: until it is said that it ends. */
type State = 'none' | 'one' | 'open' | 'many'

export class Groups {
  #state: State = 'none'

  /** A transaction was begun and has not ended. */
  get isWithin(): boolean {
    return this.#state !== 'none'
  }

  /** The server ended in the middle of one, and has rolled it back. */
  giveUp(): void {
    this.#state = 'none'
  }

  /** Throws RangeError for an event that is not what it says, or not where it may be. */
  place(event: BinlogEvent): Place {
    const before = this.#state
    const query = isQuery(event.type) || event.type === EVENT.executeLoad ? readQuery(event) : null
    const xa = query && isQuery(event.type) ? xaStepOf(query) : null
    const step = this.#step(event, query, xa)
    if (step === undefined) return { within: false, first: false, last: false, frames: false, query, xa }
    this.#state = step.to
    return { within: true, first: before === 'none', last: step.to === 'none', frames: step.frames, query, xa }
  }

  #step(event: BinlogEvent, query: Query | null, xa: XaStep | null): { to: State; frames: boolean } | undefined {
    if (event.type === EVENT.gtid) return this.#begun(readGtid(event).isStandalone ? 'one' : 'many')
    if (GTIDS.includes(event.type)) return this.#begun('open')
    if (event.type === EVENT.xid || event.type === EVENT.xaPrepare) return { to: 'none', frames: true }
    if (xa) return { to: xa.does === 'START' || xa.does === 'END' ? 'many' : 'none', frames: true }
    if (event.type === EVENT.executeLoad) return this.#ofStatement()
    if (query) return this.#ofQuery(query)
    if (isRows(event.type) || INSIDE.includes(event.type)) {
      return { to: this.#state === 'none' ? 'open' : this.#state, frames: false }
    }
    return undefined
  }

  #begun(to: State): { to: State; frames: boolean } {
    if (this.#state !== 'none') throw new RangeError('a transaction begins within another')
    return { to, frames: true }
  }

  #ofQuery({ text }: Query): { to: State; frames: boolean } {
    const isShort = text.length <= FRAME_CHARACTERS_MAX
    if (isShort && BEGIN.test(text)) return { to: 'many', frames: true }
    if (isShort && END.test(text)) return { to: 'none', frames: true }
    return this.#ofStatement()
  }

  #ofStatement(): { to: State; frames: boolean } {
    return { to: this.#state === 'many' ? 'many' : 'none', frames: false }
  }
}
