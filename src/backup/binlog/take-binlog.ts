/** One answer of the primary, appended to the archive; or the finding that nothing connects it with what is there. */

import { isSameFormat } from '../../shared/binlog-events.js'
import { BackupError } from '../../shared/errors.js'
import { FRAME, broken } from '../../shared/wire/frames.js'
import { ANSWER_BYTES_MAX, decodeBinlogHeader, decodeLogFile } from '../../shared/wire/binlog-messages.js'
import { GAP, WHY_FIRST } from './archive-layout.js'
import type { Frame } from '../../shared/wire/frames.js'
import type { BinlogHeader, BinlogRequest } from '../../shared/wire/binlog-messages.js'
import type { Archive, ArchiveEnd } from './archive.js'
import type { IncomingLog } from './incoming-log.js'

/** Behind an address that leads to another server each time, every answer would begin a run of its own. */
const GAP_AGAIN_MS = 60_000

/** Who gives the binlog: the primary. Resolves when all of an answer has come and is proved to be the primary's. */
export interface BinlogSource {
  binlog(asked: BinlogRequest, onFrame: (frame: Frame) => void | Promise<void>, signal: AbortSignal): Promise<unknown>
}

export interface TakingBinlog {
  readonly source: BinlogSource
  readonly archive: Archive
  /** Unix ms. */
  readonly now: () => number
}

export interface Taken {
  /** All that was logged when it was asked is here. */
  readonly atEnd: boolean
  readonly bytes: number
  /** Why a new run was begun; null: none was. */
  readonly why: string | null
}

/**
 * @throws BackupError BINLOG_UNAVAILABLE; the codes of the line and of the store. Nothing of the answer is promised
 * then, and the archive is to be opened again.
 */
export async function takeBinlog(taking: TakingBinlog, signal: AbortSignal): Promise<Taken> {
  const { end } = taking.archive
  const { gap, ...asked } = await ask(taking, { from: end, gap: null }, signal)
  if (gap === null) return { ...asked, why: end ? null : taking.archive.why }
  if (end && end.why !== WHY_FIRST && taking.now() - end.began < GAP_AGAIN_MS) {
    const message = `archive the binlog: ${gap.why}; that is the second time within a minute: are there several servers behind one address?`
    throw new BackupError('BINLOG_UNAVAILABLE', message)
  }
  const { atEnd, bytes } = await ask(taking, { from: null, gap }, signal)
  return { atEnd, bytes, why: `${GAP}${gap.why}` }
}

/** Nothing connects what the primary has with what is here. */
interface Gap {
  readonly why: string
  /** A file that is still there, and in which there is a place that nobody can read. Null: that is not why. */
  readonly unreadable: string | null
}

interface Answered {
  readonly atEnd: boolean
  readonly bytes: number
  /** Nothing was archived, for this reason; null: all of it was. */
  readonly gap: Gap | null
}

interface Asking {
  readonly from: ArchiveEnd | null
  /** Why a run is begun although there is one. */
  readonly gap: Gap | null
}

async function ask({ source, archive, now }: TakingBinlog, asking: Asking, signal: AbortSignal): Promise<Answered> {
  const { from } = asking
  await using intake = new Intake(archive, asking, now)
  const request = { from: from?.position ?? null, bytes: ANSWER_BYTES_MAX }
  await source.binlog(request, frame => intake.take(frame), signal)
  return await intake.end()
}

/** Frames of one answer; what comes in another order than it should is refused. */
class Intake implements AsyncDisposable {
  #header: BinlogHeader | undefined
  #log: IncomingLog | undefined
  #gap: Gap | null = null
  #bytes = 0
  readonly #asked: number
  /** When the answer began. */
  #heard: number

  constructor(
    private readonly archive: Archive,
    private readonly asking: Asking,
    /** Unix ms. */
    private readonly now: () => number,
  ) {
    this.#asked = this.#heard = now()
  }

  take({ type, payload }: Frame): void | Promise<void> {
    switch (type) {
      case FRAME.alive:
        return
      case FRAME.binlog:
        if (this.#header) throw broken('a second beginning of a binlog')
        this.#heard = this.now()
        this.#header = decodeBinlogHeader(payload)
        return this.#begin(this.#header)
      case FRAME.logFile:
        return this.#into(log => this.#file(log, decodeLogFile(payload).name))
      case FRAME.logged:
        this.#bytes += payload.byteLength
        return this.#into(log => log.write(payload))
      default:
        throw broken(`a frame of type ${type} in a binlog`)
    }
  }

  async end(): Promise<Answered> {
    const header = this.#header
    if (!header) throw broken('a binlog without its beginning')
    const { atEnd, serverTime } = header
    if (this.#gap !== null) return { atEnd: false, bytes: 0, gap: this.#gap }
    await this.#log?.complete({ serverTime, at: this.#at(serverTime) }, atEnd)
    return { atEnd, bytes: this.#bytes, gap: null }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#log?.[Symbol.asyncDispose]()
  }

  /**
   * When it was `serverTime`, by our clock: somewhere between the request and the answer. However long that was, it is no
   * difference of the clocks; only what lies beyond is.
   */
  #at(serverTime: number): number {
    return Math.min(Math.max(serverTime, this.#asked), this.#heard)
  }

  async #begin(header: BinlogHeader): Promise<void> {
    const { from, gap } = this.asking
    this.#gap = from && whyApart(from, header)
    if (this.#gap !== null) return
    if (header.lost !== null) throw broken('a binlog that is lost, and was asked for from nowhere')
    this.#log = await this.archive.receive(header.server, this.#asked, gap && `${GAP}${gap.why}`)
  }

  /** A run that begins before the place that cannot be read would only come to it again, and the next one too. */
  #file(log: IncomingLog, name: string): Promise<void> {
    const { gap } = this.asking
    if (gap && name === gap.unreadable) throw new BackupError('BINLOG_UNAVAILABLE', `archive the binlog: ${gap.why}`)
    return log.file({ name, zone: this.#header?.zone ?? null })
  }

  #into(write: (log: IncomingLog) => Promise<void>): void | Promise<void> {
    if (!this.#header) throw broken('a binlog without its beginning')
    return this.#log && write(this.#log) // of what does not connect, nothing is wanted
  }
}

/** Null: what the primary has follows on ours. */
function whyApart({ server, position, format }: ArchiveEnd, header: BinlogHeader): Gap | null {
  const gone = (why: string): Gap => ({ why, unreadable: null })
  if (header.server.id !== server.id) {
    return gone(
      `the primary's database server is another one: its server_id is ${header.server.id}, and was ${server.id}`,
    )
  }
  if (header.lost !== null && !header.format) return gone(header.lost)
  if (!header.format || !isSameFormat(header.format, format)) {
    return gone(
      `${position.file} on the server is another file than the one that was archived: the binary log was reset`,
    )
  }
  return header.lost === null ? null : { why: header.lost, unreadable: position.file }
}
