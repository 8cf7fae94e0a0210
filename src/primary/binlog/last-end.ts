/**
 * Where the log ended when it was read last. While it still ends there, there is nothing to open it for: servers write of
 * each who comes to read it into their own log.
 */

import type { BinlogPosition } from '../../shared/binlog-events.js'

export class LastEnd {
  #end: { readonly position: BinlogPosition; readonly format: Buffer } | undefined

  /** `format`: the format description event of the file, as it was read just now; null: it is not known. */
  note(position: BinlogPosition, format: Buffer | null): void {
    this.#end = format ? { position, format } : undefined
  }

  forget(): void {
    this.#end = undefined
  }

  /** The format of the file, if it was read up to there, and there it ends. */
  formatAt(from: BinlogPosition, end: BinlogPosition): Buffer | undefined {
    const { position, format } = this.#end ?? {}
    return position && isSame(position, from) && isSame(from, end) ? format : undefined
  }
}

const isSame = (a: BinlogPosition, b: BinlogPosition): boolean => a.file === b.file && a.offset === b.offset
