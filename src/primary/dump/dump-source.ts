/** Who reads Seafile's databases for a dump, and what it gives: bytes, one part after the other. */

import type { DumpHeader } from '../../shared/wire/dump-messages.js'

/** Takes a dump as it is made. Each resolves when more may come. */
export interface DumpSink {
  header(header: DumpHeader): Promise<void>
  part(name: string): Promise<void>
  /** Of the part begun last; not compressed. The bytes may be used again once it has resolved. */
  bytes(chunk: Buffer): Promise<void>
}

/**
 * Reads one consistent state of the databases and gives it to `sink`. Resolves when all of it was given; rejects with
 * DUMP_FAILED, and why, when any of it was not to be had, or when `signal` is aborted. Nothing of it stays here.
 */
export type TakeDump = (sink: DumpSink, signal: AbortSignal) => Promise<void>
