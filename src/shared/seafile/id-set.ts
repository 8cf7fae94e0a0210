/**
 * A set of object ids that costs some 17 bytes an id, not a JavaScript string of a hundred.
 *
 * Kept of an id is a fingerprint: three sums of its ten halfwords times keys that each process draws for itself, modulo
 * a prime. Two ids, whoever chose them, have the same one for one in 2^96 choices of the keys (Carter and Wegman's
 * universal hashing): of five million ids any two do once in 10^16 sets, far below what memory and disks do to a
 * bit. Without keys, or with sums that wrap around, one could choose ids that hide each other. Fingerprints lie in 256
 * tables by their first byte, each grown by itself: no moment holds all of them twice.
 */

import { randomInt } from 'node:crypto'
import { ID_BYTES } from '../ids.js'

const LANES = 3
const HALFWORDS = ID_BYTES / 2
/** The largest below 2^32: ten products of it and a halfword are below 2^53, which a number holds exactly. */
const PRIME = 4_294_967_291
const KEYS = Float64Array.from({ length: LANES * HALFWORDS }, () => randomInt(PRIME))

const SLOTS_MIN = 4
/** Probes stay short up to here: 5 slots for a member, 13 for a stranger, at the worst moment. */
const LOAD_MAX = 0.8
const GROWTH = 1.3

interface Table {
  slots: number
  used: number
  /** LANES numbers a slot; all zero: free. */
  lanes: Int32Array<ArrayBuffer>
}

export class IdSet {
  /** 256, by the first byte of the fingerprint. */
  readonly #tables: Array<Table | undefined> = []
  readonly #bytes = Buffer.from(new ArrayBuffer(ID_BYTES))
  readonly #halfwords = new Uint16Array(this.#bytes.buffer)
  readonly #print = new Int32Array(LANES)
  #size = 0

  get size(): number {
    return this.#size
  }

  /** True when the id is new. Throws RangeError for what is no id. */
  add(id: string): boolean {
    const table = (this.#tables[this.#load(id)] ??= newTable(SLOTS_MIN))
    const at = findIn(table, this.#print)
    if (isTaken(table, at)) return false
    table.lanes.set(this.#print, at)
    table.used += 1
    this.#size += 1
    if (table.used > table.slots * LOAD_MAX) grow(table)
    return true
  }

  has(id: string): boolean {
    const table = this.#tables[this.#load(id)]
    return table !== undefined && isTaken(table, findIn(table, this.#print))
  }

  /** Computes the fingerprint; the number of its table. Of `EMPTY_ID` it is all zeros, and so never a member. */
  #load(id: string): number {
    if (this.#bytes.write(id, 'hex') !== ID_BYTES) throw new RangeError('not an object id')
    for (let lane = 0; lane < LANES; lane++) {
      let sum = 0
      for (let n = 0; n < HALFWORDS; n++) sum += (this.#halfwords[n] ?? 0) * (KEYS[lane * HALFWORDS + n] ?? 0)
      this.#print[lane] = sum % PRIME
    }
    return (this.#print[0] ?? 0) >>> 24
  }
}

const newTable = (slots: number): Table => ({ slots, used: 0, lanes: new Int32Array(slots * LANES) })

/** Index of the first lane of the slot that holds the fingerprint, or of the free one where it belongs. */
function findIn({ slots, lanes }: Table, print: Int32Array): number {
  const [first, second, third] = [print[0], print[1], print[2]]
  let slot = Math.floor((((second ?? 0) >>> 0) / 2 ** 32) * slots)
  for (;;) {
    const at = slot * LANES
    const [a, b, c] = [lanes[at], lanes[at + 1], lanes[at + 2]]
    if ((a === first && b === second && c === third) || (a === 0 && b === 0 && c === 0)) return at
    slot = slot + 1 === slots ? 0 : slot + 1
  }
}

const isTaken = ({ lanes }: Table, at: number): boolean => lanes[at] !== 0 || lanes[at + 1] !== 0 || lanes[at + 2] !== 0

function grow(table: Table): void {
  const old = table.lanes
  table.slots = Math.ceil(table.slots * GROWTH) + 1
  table.lanes = new Int32Array(table.slots * LANES)
  for (let at = 0; at < old.length; at += LANES) {
    const print = old.subarray(at, at + LANES)
    if (print[0] !== 0 || print[1] !== 0 || print[2] !== 0) table.lanes.set(print, findIn(table, print))
  }
  old.buffer.transfer(0) // given back now: the collector would let old tables pile up to 64 MB
}
