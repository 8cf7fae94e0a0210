/** What one answer of the primary brings to the archive: written as it comes, promised by `complete` alone. */

import { open } from 'node:fs/promises'
import { BinlogBroken, BinlogReader } from '../../shared/binlog-events.js'
import { storeError, syncPath, writeDurably } from '../../shared/store/durable-file.js'
import { broken } from '../../shared/wire/frames.js'
import { encodeFileInfo, encodeReached, fileInfoPath, filePath, reachedPath, runDir } from './archive-layout.js'
import type { FileHandle } from 'node:fs/promises'
import type { FileInfo } from './archive-layout.js'
import type { ArchiveEnd, BegunRun } from './archive.js'

/** One moment by two clocks, Unix ms. */
export interface Moment {
  readonly serverTime: number
  readonly at: number
}

export class IncomingLog implements AsyncDisposable {
  #file: FileHandle | undefined
  #reader: BinlogReader | undefined
  /** Where the next bytes go, which may be within an event. */
  #written: { readonly reader: BinlogReader; readonly offset: number } | undefined
  #n: number
  #name: string
  /** The first file's beginning, by the server's clock, Unix seconds. */
  #begunAt: number | undefined

  private constructor(
    private readonly dir: string,
    private readonly run: BegunRun,
    /** What is gone on with; null: it begins. */
    private readonly before: ArchiveEnd | null,
    private readonly kept: (end: ArchiveEnd) => void,
  ) {
    this.#n = before?.reached.n ?? 0
    this.#name = before?.position.file ?? ''
    if (before) this.#reader = new BinlogReader({ offset: before.reached.offset, format: before.format })
  }

  static begin(stateDir: string, run: BegunRun, kept: (end: ArchiveEnd) => void): IncomingLog {
    return new IncomingLog(runDir(stateDir, run.run), run, null, kept)
  }

  static goOn(stateDir: string, before: ArchiveEnd, kept: (end: ArchiveEnd) => void): IncomingLog {
    return new IncomingLog(runDir(stateDir, before.run), before, before, kept)
  }

  /** What follows is of this one. @throws BackupError PROTOCOL_BROKEN; the codes of the store */
  async file(info: FileInfo): Promise<void> {
    if (this.#reader?.atBoundary === false) throw broken('a file of the binlog that ends within an event')
    await this.#endFile()
    this.#n += 1
    this.#name = info.name
    this.#reader = new BinlogReader()
    const path = filePath(this.dir, this.#n)
    try {
      await writeDurably(fileInfoPath(this.dir, this.#n), encodeFileInfo(info))
      this.#file = await open(path, 'wx', 0o600)
    } catch (error) {
      throw storeError(`make ${path}`, error)
    }
  }

  async write(bytes: Buffer): Promise<void> {
    const reader = this.#reader
    if (!reader) throw broken('bytes of no file of the binlog')
    let { offset } = this.#written ?? reader
    check(reader, bytes)
    const path = filePath(this.dir, this.#n)
    try {
      this.#file ??= await open(path, 'r+')
      for (let at = 0; at < bytes.byteLength;) {
        const { bytesWritten } = await this.#file.write(bytes, at, bytes.byteLength - at, offset)
        at += bytesWritten
        offset += bytesWritten
      }
    } catch (error) {
      throw storeError(`write ${path}`, error)
    }
    this.#written = { reader, offset }
  }

  /**
   * All of it has come and is proved. `asked`: when, by the server's clock and by ours. `atEnd`: all that was logged
   * then is here.
   */
  async complete(asked: Moment, atEnd: boolean): Promise<void> {
    const { before } = this
    const { run, server, began, why } = this.run
    const reader = this.#reader
    const format = reader?.format
    if (!reader || !format || !reader.atBoundary) throw broken('a binlog that ends within an event')
    await this.#endFile()
    const { serverTime, at } = atEnd ? asked : (before?.reached ?? this.#atBeginning(asked, format))
    const reached = { n: this.#n, offset: reader.offset, serverTime, at }
    try {
      if (this.#n !== before?.reached.n) await syncPath(this.dir)
      await writeDurably(reachedPath(this.dir), encodeReached(reached))
    } catch (error) {
      throw storeError(`write ${reachedPath(this.dir)}`, error)
    }
    this.kept({ run, server, began, why, reached, position: { file: this.#name, offset: reader.offset }, format })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file?.close().catch(() => {})
    this.#file = undefined
  }

  /** A run of which not all has come yet: it holds what there was when its first file was begun, which is nothing. */
  #atBeginning(asked: Moment, format: Buffer): Moment {
    const serverTime = 1000 * (this.#begunAt ?? format.readUInt32LE(0))
    return { serverTime, at: Math.max(0, asked.at - (asked.serverTime - serverTime)) }
  }

  /** Its bytes are durable. */
  async #endFile(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    this.#begunAt ??= this.#reader?.format?.readUInt32LE(0)
    this.#written = undefined
    if (!file) return
    try {
      await file.sync()
    } catch (error) {
      throw storeError(`write ${filePath(this.dir, this.#n)}`, error)
    } finally {
      await file.close()
    }
  }
}

function check(reader: BinlogReader, bytes: Buffer): void {
  try {
    reader.push(bytes)
  } catch (error) {
    if (error instanceof BinlogBroken) throw broken(`a binlog with ${error.message}`)
    throw error
  }
}
