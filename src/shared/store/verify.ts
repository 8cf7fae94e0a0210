/**
 * The one question asked of every byte on its way in or out of a store: is it what its name says?
 *
 * A `VerifiedObject` can only be made here, and stores take and give nothing
 * else, so no caller can forget to ask. Verifying means decoding, so the
 * decoded form travels along: nobody inflates twice.
 */

import { createHash, hash } from 'node:crypto'
import { inflateSync } from 'node:zlib'
import { parseCommit, parseFs } from '../seafile/objects.js'
import type { Commit, FsObject } from '../seafile/objects.js'
import type { ObjectRef } from './object-store.js'

/** A directory of a million entries is about 200 MB of JSON; anything larger is a bomb, not a directory. */
const FS_JSON_BYTES_MAX = 256 * 1024 * 1024
/** Far above any commit: they hold one line of text and a few ids. */
const COMMIT_BYTES_MAX = 16 * 1024 * 1024

declare const verified: unique symbol

export type VerifiedObject = { readonly ref: ObjectRef; readonly bytes: Buffer; readonly [verified]: true } & (
  | { readonly is: 'commit'; readonly commit: Commit }
  | { readonly is: 'fs'; readonly fs: FsObject }
  | { readonly is: 'block' }
)

/** What is wrong with the bytes, in words that follow the object's name: "holds 77aa01f3". */
export class NotWhatItsNameSays extends Error {
  override readonly name = 'NotWhatItsNameSays'
}

/**
 * Throws `NotWhatItsNameSays`. A commit is taken at its word (`commit_id` equals its name): the C and the Go
 * server hash it differently and legal commits match neither (seafile-server never checks it).
 */
export function verify(ref: ObjectRef, bytes: Buffer): VerifiedObject {
  try {
    return decode(ref, bytes) as VerifiedObject
  } catch (error) {
    if (error instanceof NotWhatItsNameSays) throw error
    throw new NotWhatItsNameSays(error instanceof Error ? error.message : String(error), { cause: error })
  }
}

/** The same question of a block that comes in parts. */
export class BlockVerifier {
  readonly #hash = createHash('sha1')
  #isEmpty = true

  constructor(private readonly ref: ObjectRef) {}

  update(part: Buffer): void {
    this.#hash.update(part)
    this.#isEmpty &&= part.byteLength === 0
  }

  /** Throws `NotWhatItsNameSays`. */
  end(): void {
    expectName(this.ref, this.#hash.digest('hex'), this.#isEmpty)
  }
}

function decode(ref: ObjectRef, bytes: Buffer) {
  switch (ref.kind) {
    case 'blocks': // named by its bytes, ciphertext in an encrypted library
      expectHash(ref, bytes)
      return { ref, bytes, is: 'block' as const }
    case 'fs': {
      // named by its JSON before compression: the deflate bytes differ between writers
      const json = inflate(bytes)
      expectHash(ref, json)
      return { ref, bytes, is: 'fs' as const, fs: parseFs(json) }
    }
    case 'commits':
      if (bytes.byteLength > COMMIT_BYTES_MAX) throw new NotWhatItsNameSays(`has ${bytes.byteLength} bytes`)
      return { ref, bytes, is: 'commit' as const, commit: parseCommit(ref.id, bytes) }
  }
}

function inflate(bytes: Buffer): Buffer {
  if (bytes.byteLength === 0) throw new NotWhatItsNameSays('is empty')
  try {
    return inflateSync(bytes, { maxOutputLength: FS_JSON_BYTES_MAX, chunkSize: roomFor(bytes.byteLength) })
  } catch (cause) {
    throw new NotWhatItsNameSays('cannot be inflated', { cause })
  }
}

/** Output is given room in such pieces: the 16 KiB that zlib takes for each of some hundred bytes cost more than inflating them. */
const ROOM = { times: 6, min: 1_024, max: 16 * 1_024 }

const roomFor = (packed: number): number => Math.min(ROOM.max, Math.max(ROOM.min, ROOM.times * packed))

function expectHash(ref: ObjectRef, bytes: Buffer): void {
  expectName(ref, hash('sha1', bytes, 'hex'), bytes.byteLength === 0)
}

function expectName({ id }: ObjectRef, actual: string, isEmpty: boolean): void {
  if (actual !== id) throw new NotWhatItsNameSays(isEmpty ? 'is empty' : `holds ${actual.slice(0, 8)}`)
}
