/**
 * A set of object ids that costs 20 bytes an id, not a JavaScript string of a hundred.
 *
 * Open addressing over one buffer: the ids are SHA-1 sums, so their first bytes
 * are the hash. All forty hex digits are compared; nothing is forgotten and
 * nothing is taken for present that is not. The id of forty zeros (`EMPTY_ID`)
 * marks a free slot and cannot be a member: no object has it.
 */

import { ID_BYTES } from '../ids.js'

const SLOTS_MIN = 1024
/** Probes stay short up to here. */
const LOAD_MAX = 0.7

export class IdSet {
  #slots = SLOTS_MIN
  #table = Buffer.alloc(SLOTS_MIN * ID_BYTES)
  #key = Buffer.alloc(ID_BYTES)
  #size = 0

  get size(): number {
    return this.#size
  }

  /** True when the id is new. */
  add(id: string): boolean {
    this.#load(id)
    const at = this.#find(this.#key)
    if (this.#taken(at)) return false
    this.#key.copy(this.#table, at)
    this.#size += 1
    if (this.#size > this.#slots * LOAD_MAX) this.#grow()
    return true
  }

  has(id: string): boolean {
    this.#load(id)
    return this.#taken(this.#find(this.#key))
  }

  #load(id: string): void {
    if (this.#key.write(id, 'hex') !== ID_BYTES) throw new RangeError('not an object id')
  }

  /** Byte offset of the slot that holds the key, or of the free one where it belongs. */
  #find(key: Buffer): number {
    let slot = key.readUInt32BE(0) % this.#slots
    for (;;) {
      const at = slot * ID_BYTES
      if (!this.#taken(at) || this.#table.compare(key, 0, ID_BYTES, at, at + ID_BYTES) === 0) return at
      slot = slot + 1 === this.#slots ? 0 : slot + 1
    }
  }

  #taken(at: number): boolean {
    // most ids differ from zero in their first four bytes; the rest is looked at only when they do not
    if (this.#table.readUInt32LE(at) !== 0) return true
    for (let i = at + 4; i < at + ID_BYTES; i++) if (this.#table[i] !== 0) return true
    return false
  }

  #grow(): void {
    const old = this.#table
    this.#slots *= 2
    this.#table = Buffer.alloc(this.#slots * ID_BYTES)
    for (let at = 0; at < old.byteLength; at += ID_BYTES) {
      const key = old.subarray(at, at + ID_BYTES)
      if (key.every(byte => byte === 0)) continue
      key.copy(this.#table, this.#find(key))
    }
  }
}
