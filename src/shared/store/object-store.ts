/**
 * Where commits, fs objects and blocks live.
 *
 * Objects are immutable and named by content, so a store has no update and no
 * order of its own. That an object is present says nothing about the objects
 * it refers to: only a recorded head (or a checkpoint written with the same
 * care) vouches for a whole history.
 */

import type { VerifiedObject } from './verify.js'

export type ObjectKind = 'commits' | 'fs' | 'blocks'

export interface ObjectRef {
  readonly kind: ObjectKind
  /** The directory that holds it: for fs objects and blocks of a virtual library the origin's id, else the library's own. */
  readonly storeId: string
  /** 40 lower-case hex characters. */
  readonly id: string
}

/** What a reader finds under a name. */
export type ReadObject =
  | { readonly state: 'whole'; readonly object: VerifiedObject }
  | { readonly state: 'missing' }
  /** Bytes are there but are not what their name says. */
  | { readonly state: 'corrupt'; readonly why: string }
  /** The bytes could not be read (EIO, EACCES). */
  | { readonly state: 'unreadable'; readonly why: string }

export interface ObjectReader {
  /** Never gives bytes that fail verification. */
  read(ref: ObjectRef): ReadObject | Promise<ReadObject>
}

/** One block as it comes. What never ends is dropped with its batch. */
export interface IncomingBlock {
  write(part: Buffer): void
  /** All of it has come: as put. @throws NotWhatItsNameSays, and nothing of it stays */
  end(): void | Promise<void>
}

/** Objects on their way into the store. One writer at a time; nothing is durable before `commit` resolves. */
export interface ObjectBatch {
  /** Takes what `verify` passed. An object that is there and whole is left as it is. May block; awaits only when it must. */
  put(object: VerifiedObject): void | Promise<void>

  /** As put, of a block that comes in parts: it is verified on its way, and needs no memory. */
  begin(ref: ObjectRef): IncomingBlock

  /**
   * As put, with what `from` holds: the same block in another store directory. Its bytes are shared where the disk can
   * share them. Undefined: it is not there, or not whole.
   */
  share(ref: ObjectRef, from: ObjectRef): Promise<VerifiedObject | undefined>

  /** A reader found this whole: as good as put. Who placed it may have been killed, or have yet to make it durable. */
  found(ref: ObjectRef): void

  /** When it resolves, everything put so far survives a power cut under its name. */
  commit(signal: AbortSignal): Promise<void>

  /** Drops what was not committed. What a large batch has placed already stays, whole, and nothing vouches for it. */
  discard(): Promise<void>
}

export interface ObjectStore extends ObjectReader {
  openBatch(): ObjectBatch

  /** Every object of one kind in one store directory, each once, in no order, none of them read. Temp files are not objects. */
  list(kind: ObjectKind, storeId: string): AsyncIterable<ObjectRef>
}
