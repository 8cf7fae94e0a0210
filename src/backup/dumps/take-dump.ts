/**
 * One dump, from the primary to the disk: written as it comes, made durable, read again, and only then kept.
 */

import { createHash } from 'node:crypto'
import { BackupError } from '../../shared/errors.js'
import { FRAME, broken } from '../../shared/wire/frames.js'
import {
  DUMP_PARTS_MAX,
  DUMPED_BYTES_MAX,
  decodeDumpFailure,
  decodeDumpHeader,
  decodeDumpPart,
} from '../../shared/wire/dump-messages.js'
import { readApart } from './read-apart.js'
import type { Hash } from 'node:crypto'
import type { Frame } from '../../shared/wire/frames.js'
import type { DumpHeader } from '../../shared/wire/dump-messages.js'
import type { Dump, KeptPart } from './dump-manifest.js'
import type { DumpStore, IncomingDump } from './dump-store.js'

/** Who gives a dump: the primary. Resolves when all of it has come and is proved to be the primary's. */
export interface DumpSource {
  dump(onFrame: (frame: Frame) => void | Promise<void>, signal: AbortSignal): Promise<unknown>
}

export interface TakingDump {
  readonly source: DumpSource
  readonly store: DumpStore
  /** Unix ms. */
  readonly now: () => number
}

/**
 * @throws BackupError DUMP_FAILED with the primary's reason; DUMP_DAMAGED when it does not read as it should; the codes
 * of the store and of the line. Nothing of it is kept then.
 */
export async function takeDump(
  { source, store, now }: TakingDump,
  cause: Dump['cause'],
  onBytes: (bytes: number) => void,
  signal: AbortSignal,
): Promise<Dump> {
  const askedAt = now()
  await using incoming = store.begin(askedAt)
  const intake = new Intake(incoming, onBytes)
  try {
    await source.dump(frame => intake.take(frame), signal)
  } catch (error) {
    throw tooOld(error) ?? error
  }
  const { header, parts } = await intake.end()
  const { id, dir } = incoming
  using scratch = store.scratch(id)
  const { tables, position } = await readApart(
    { dump: { id, engine: header.engine, parts, dir }, scratch: scratch.dir },
    signal,
  )
  const dump: Dump = { id, ...header, askedAt, endedAt: now(), cause, parts, tables, position }
  await incoming.complete(dump)
  return dump
}

/** An agent of before there were dumps says that it knows no such request. */
function tooOld(error: unknown): BackupError | undefined {
  if (!(error instanceof BackupError) || error.code !== 'PRIMARY_FAILED') return undefined
  if (error.details['code'] !== 'BAD_REQUEST') return undefined
  const message = 'ask for a dump: the agent on the primary is older than this daemon and gives none'
  return new BackupError('PROTOCOL_VERSION', message, {}, { cause: error })
}

/** Frames of one dump; what comes in another order than it should is refused. */
class Intake {
  #header: DumpHeader | undefined
  readonly #parts: KeptPart[] = []
  #part: { readonly name: string; readonly hash: Hash; bytes: number } | undefined
  #bytes = 0
  #failure: BackupError | undefined

  constructor(
    private readonly incoming: IncomingDump,
    private readonly onBytes: (bytes: number) => void,
  ) {}

  take({ type, payload }: Frame): void | Promise<void> {
    switch (type) {
      case FRAME.alive:
        return
      case FRAME.dump:
        if (this.#header) throw broken('a second beginning of a dump')
        this.#header = decodeDumpHeader(payload)
        return
      case FRAME.part:
        return this.#begin(decodeDumpPart(payload).name)
      case FRAME.dumped:
        return this.#write(payload)
      case FRAME.failed:
        this.#failure = decodeDumpFailure(payload)
        return
      default:
        throw broken(`a frame of type ${type} in a dump`)
    }
  }

  async end(): Promise<{ readonly header: DumpHeader; readonly parts: readonly KeptPart[] }> {
    if (this.#failure) throw this.#failure
    await this.#endPart()
    if (!this.#header || this.#parts.length === 0) throw broken('a dump without anything in it')
    return { header: this.#header, parts: this.#parts }
  }

  async #begin(name: string): Promise<void> {
    await this.#endPart()
    if (!this.#header || this.#parts.length >= DUMP_PARTS_MAX) throw broken('a part of no dump, or too many of them')
    await this.incoming.nextPart()
    this.#part = { name, hash: createHash('sha256'), bytes: 0 }
  }

  async #write(payload: Buffer): Promise<void> {
    if (!this.#part || payload.byteLength > DUMPED_BYTES_MAX) throw broken('bytes of a dump that belong to no part')
    this.#part.hash.update(payload)
    this.#part.bytes += payload.byteLength
    await this.incoming.write(payload)
    this.#bytes += payload.byteLength
    this.onBytes(this.#bytes)
  }

  async #endPart(): Promise<void> {
    if (!this.#part) return
    const { name, hash, bytes } = this.#part
    this.#part = undefined
    await this.incoming.endPart()
    this.#parts.push({ name, bytes, sha256: hash.digest('hex') })
  }
}
