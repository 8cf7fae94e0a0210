/**
 * One dump, from the primary to the disk: written and read as it comes, made durable, and only then kept.
 *
 * What is hashed, unpacked and counted are the very bytes that were written, in the same memory. Reading the file again
 * at once would show nothing more: it would come out of the page cache, where these bytes are, and not from the disk;
 * that the disk took them is what fsync answers. What the disk makes of them later is for `dumps verify` and the drill,
 * which read the file and compare it with the checksum in the manifest.
 */

import { BackupError } from '../../shared/errors.js'
import { FRAME, broken } from '../../shared/wire/frames.js'
import {
  DUMP_PARTS_MAX,
  DUMPED_BYTES_MAX,
  decodeDumpFailure,
  decodeDumpHeader,
  decodeDumpPart,
} from '../../shared/wire/dump-messages.js'
import { readPart } from './read-dump.js'
import type { Frame } from '../../shared/wire/frames.js'
import type { DumpHeader } from '../../shared/wire/dump-messages.js'
import type { BinlogPosition } from '../../shared/binlog-events.js'
import type { Dump, DumpContents, KeptPart, TableCount } from './dump-manifest.js'
import type { DumpStore, IncomingDump } from './dump-store.js'
import type { PartReading, PartSum } from './read-dump.js'

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
  using scratch = store.scratch(incoming.id)
  await using intake = new Intake(incoming, scratch.dir, onBytes)
  await source.dump(frame => intake.take(frame), signal)
  const { header, parts, tables, position } = await intake.end()
  const dump: Dump = { id: incoming.id, ...header, askedAt, endedAt: now(), cause, parts, tables, position }
  await incoming.complete(dump)
  return dump
}

/** Frames of one dump; what comes in another order than it should is refused. */
class Intake implements AsyncDisposable {
  #header: DumpHeader | undefined
  readonly #parts: KeptPart[] = []
  readonly #tables: TableCount[] = []
  #position: BinlogPosition | null = null
  #part: IncomingPart | undefined
  #bytes = 0
  #failure: BackupError | undefined

  constructor(
    private readonly incoming: IncomingDump,
    private readonly scratch: string,
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
        return this.#beginPart(decodeDumpPart(payload).name)
      case FRAME.dumped:
        return this.#write(payload)
      case FRAME.failed:
        this.#failure = decodeDumpFailure(payload)
        return
      default:
        throw broken(`a frame of type ${type} in a dump`)
    }
  }

  async end(): Promise<Pick<Dump, 'parts' | 'tables' | 'position'> & { readonly header: DumpHeader }> {
    if (this.#failure) throw this.#failure
    await this.#endPart()
    if (!this.#header || this.#parts.length === 0) throw broken('a dump without anything in it')
    return { header: this.#header, parts: this.#parts, tables: this.#tables, position: this.#position }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#part?.drop()
  }

  async #beginPart(name: string): Promise<void> {
    await this.#endPart()
    if (!this.#header || this.#parts.length >= DUMP_PARTS_MAX) throw broken('a part of no dump, or too many of them')
    await this.incoming.nextPart()
    this.#part = new IncomingPart(name, this.incoming, { engine: this.#header.engine, scratch: this.scratch })
  }

  async #write(payload: Buffer): Promise<void> {
    if (!this.#part || payload.byteLength > DUMPED_BYTES_MAX) throw broken('bytes of a dump that belong to no part')
    await this.#part.write(payload)
    this.#bytes += payload.byteLength
    this.onBytes(this.#bytes)
  }

  async #endPart(): Promise<void> {
    if (!this.#part) return
    const { part, contents } = await this.#part.end()
    this.#part = undefined
    this.#parts.push(part)
    this.#tables.push(...contents.tables)
    this.#position ??= contents.position
  }
}

/** A part on its way to the disk, read at the same time. */
class IncomingPart {
  readonly #handover = new Handover()
  readonly #contents: Promise<DumpContents>
  #sum: PartSum | undefined

  constructor(
    private readonly name: string,
    private readonly incoming: IncomingDump,
    how: Omit<PartReading, 'expected'>,
  ) {
    const part = { dump: incoming.id, name, bytes: this.#handover.bytes() }
    this.#contents = readPart(part, { ...how, expected: sum => (this.#sum = sum) }, never)
    this.#contents.catch((error: unknown) => this.#handover.fail(error))
  }

  /** Resolves when `bytes` may be used again. */
  async write(bytes: Buffer): Promise<void> {
    await this.incoming.write(bytes)
    await this.#handover.give(bytes)
  }

  /** @throws BackupError DUMP_DAMAGED; the codes of the disk */
  async end(): Promise<{ readonly part: KeptPart; readonly contents: DumpContents }> {
    await this.incoming.endPart()
    this.#handover.end()
    const contents = await this.#contents
    if (!this.#sum) throw new Error('assertion failed: a part was read and has no checksum')
    return { part: { name: this.name, ...this.#sum }, contents }
  }

  /** When it resolves, nobody reads any more. */
  async drop(): Promise<void> {
    this.#handover.end()
    await this.#contents.catch(() => {}) // it is cut off: whatever that is called
  }
}

/** Bytes from one who has them to one who asks for them, without a copy: who gives waits until they were used. */
class Handover {
  #given = Promise.withResolvers<Buffer | null>()
  #used = Promise.withResolvers<void>()
  #failure: { readonly error: unknown } | undefined

  async *bytes(): AsyncGenerator<Buffer> {
    for (;;) {
      const given = await this.#given.promise
      if (given === null) return
      this.#given = Promise.withResolvers()
      yield given
      this.#used.resolve()
    }
  }

  async give(bytes: Buffer): Promise<void> {
    if (this.#failure) throw this.#failure.error
    this.#used = Promise.withResolvers()
    this.#given.resolve(bytes)
    await this.#used.promise
  }

  end(): void {
    this.#given.resolve(null)
  }

  /** Nobody takes any more. */
  fail(error: unknown): void {
    this.#failure = { error }
    this.#used.promise.catch(() => {}) // nobody may be waiting
    this.#used.reject(error)
  }
}

const never = new AbortController().signal // a reader is ended by what it reads
