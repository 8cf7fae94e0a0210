/**
 * The default character sets of a dump's databases, read while it goes by: a database that is there already keeps its own
 * when the dump is imported, and a table that the binlog makes later without naming one would get that.
 */

import { Transform } from 'node:stream'
import { quote } from './core-tables.js'
import type { TransformCallback } from 'node:stream'

const LINE = Buffer.from('\nCREATE DATABASE ')
const SAID =
  /^\nCREATE DATABASE [^`\n]*`((?:[^`\n]|``)+)` \/\*!40100 DEFAULT CHARACTER SET ([a-z0-9_]+)(?: COLLATE ([a-z0-9_]+))?[^\n]*\n/i
/** Longer than such a line is. */
const LINE_BYTES_MAX = 1024
/** There are three, or one for each of the databases that were named. */
const FOUND_MAX = 100

export class DatabaseDefaults extends Transform {
  readonly #found = new Map<string, string>()
  #tail: Buffer = Buffer.alloc(0)

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    const seen = Buffer.concat([this.#tail, chunk])
    for (let at = seen.indexOf(LINE); at >= 0; at = seen.indexOf(LINE, at + 1)) this.#note(seen, at)
    this.#tail = Buffer.from(seen.subarray(-LINE_BYTES_MAX))
    done(null, chunk)
  }

  #note(seen: Buffer, at: number): void {
    const [, name, charset, collation] = SAID.exec(seen.toString('utf8', at, at + LINE_BYTES_MAX)) ?? []
    if (name === undefined || charset === undefined || this.#found.size >= FOUND_MAX) return
    this.#found.set(name.replaceAll('``', '`'), `CHARACTER SET ${charset}${collation ? ` COLLATE ${collation}` : ''}`)
  }

  /** Statements that give them to these. */
  sqlFor(databases: readonly string[]): string[] {
    return databases.flatMap(name => {
      const said = this.#found.get(name)
      return said === undefined ? [] : [`ALTER DATABASE ${quote(name)} ${said};`]
    })
  }
}
