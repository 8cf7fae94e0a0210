/**
 * Where a block lies that another library may need too: copies between libraries are common in Seafile.
 *
 * A hint and no more: whoever finds a block here reads and verifies it. So the
 * file needs no fsync and no lock, may be torn, removed or of another time, and
 * two threads may write it at once. Its size is bounded: buckets of four places
 * chosen by the id, and a full bucket forgets one of its blocks. What is
 * forgotten is fetched from the primary. Finding or noting takes some tens of microseconds.
 */

import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs'
import { ID_BYTES } from '../../shared/ids.js'
import type { RepoId } from '../../shared/ids.js'

/** For two million blocks, 16 TiB at the 8 MiB that Seafile's servers cut: up to 48 MiB. Of half a million 4 in 1,000 are forgotten. */
const BUCKETS = 2 ** 19
const PLACES = 4
/** Of the id, what the choice of the bucket did not use. */
const TAG_BYTES = 8
const STORE_BYTES = 16
const PLACE_BYTES = TAG_BYTES + STORE_BYTES
const BUCKET_BYTES = PLACES * PLACE_BYTES

export class BlockIndex implements Disposable {
  /** Undefined: it cannot be had, and finds nothing. */
  readonly #fd: number | undefined
  readonly #key = Buffer.alloc(ID_BYTES)
  readonly #bucket = Buffer.alloc(BUCKET_BYTES)

  constructor(file: string) {
    try {
      this.#fd = openSync(file, constants.O_RDWR | constants.O_CREAT, 0o600)
    } catch {
      this.#fd = undefined // a full disk is no reason not to start
    }
  }

  /** The store that was last noted to hold this block; undefined: none is known. */
  find(id: string): RepoId | undefined {
    this.#load(id)
    const at = this.#placeOf(this.#tag)
    if (at === undefined) return undefined
    const hex = this.#bucket.toString('hex', at + TAG_BYTES, at + PLACE_BYTES)
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5') as RepoId
  }

  note(id: string, storeId: RepoId): void {
    this.#load(id)
    const place = Buffer.alloc(PLACE_BYTES)
    this.#tag.copy(place)
    place.write(storeId.replaceAll('-', ''), TAG_BYTES, 'hex')
    const forgotten = ((this.#key[ID_BYTES - 1] ?? 0) % PLACES) * PLACE_BYTES
    const at = this.#placeOf(this.#tag) ?? this.#placeOf(NOTHING) ?? forgotten
    if (this.#bucket.compare(place, 0, PLACE_BYTES, at, at + PLACE_BYTES) === 0) return
    try {
      if (this.#fd !== undefined) writeSync(this.#fd, place, 0, PLACE_BYTES, this.#offset + at)
    } catch {
      // no room, or a failing disk: a block that is not noted is fetched
    }
  }

  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
  }

  get #tag(): Buffer {
    return this.#key.subarray(4, 4 + TAG_BYTES)
  }

  get #offset(): number {
    return (this.#key.readUInt32BE(0) % BUCKETS) * BUCKET_BYTES
  }

  #load(id: string): void {
    if (this.#key.write(id, 'hex') !== ID_BYTES) throw new RangeError('not an object id')
    let read = 0
    try {
      if (this.#fd !== undefined) read = readSync(this.#fd, this.#bucket, 0, BUCKET_BYTES, this.#offset)
    } catch {
      // as if it held nothing
    }
    this.#bucket.fill(0, read)
  }

  #placeOf(tag: Buffer): number | undefined {
    for (let at = 0; at < BUCKET_BYTES; at += PLACE_BYTES)
      if (this.#bucket.compare(tag, 0, TAG_BYTES, at, at + TAG_BYTES) === 0) return at
    return undefined
  }
}

const NOTHING = Buffer.alloc(TAG_BYTES)
