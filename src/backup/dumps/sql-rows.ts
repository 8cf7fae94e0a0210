/**
 * Reads what mariadb-dump or mysqldump writes: how many rows each table has, where in the binlog the snapshot lies, and
 * whether it was written to its end.
 *
 * It follows the tool's own form and is no parser of SQL: statements begin on a
 * line of their own, rows stand in parentheses after VALUES, and nothing but
 * strings can hold a parenthesis. Gigabytes pass through a few kilobytes.
 */

import { isLogName } from '../../shared/wire/binlog-messages.js'
import type { BinlogPosition } from '../../shared/binlog-events.js'
import type { TableCount } from './dump-manifest.js'

const [LF, QUOTE, BACKSLASH, OPEN, CLOSE, SEMICOLON] = [0x0a, 0x27, 0x5c, 0x28, 0x29, 0x3b]
/** Of a line, so much is looked at: names have 64 characters. */
const LINE_BYTES_KEPT = 1024
/** The columns of a table stand before VALUES: 4,096 names of 64 characters in quotes. */
const HEAD_BYTES_MAX = 512 * 1024

const USE = /^USE `((?:[^`]|``)+)`;/
const CREATE = /^CREATE TABLE `((?:[^`]|``)+)` \(/
/** Columns are named where some are generated. */
const INSERT = /^INSERT (?:IGNORE )?INTO `((?:[^`]|``)+)`(?: \((?:`(?:[^`]|``)+`,? ?)+\))? VALUES/
const COMPLETED = /^-- Dump completed/
const DELIMITER = /^DELIMITER (\S+)/
/** As the tools write it with --master-data=2 or --source-data=2: before the first table. */
const POSITION =
  /^-- CHANGE (?:MASTER|REPLICATION SOURCE) TO (?:MASTER|SOURCE)_LOG_FILE='([^'\\]+)', (?:MASTER|SOURCE)_LOG_POS=(\d{1,15});/
const NAME = (quoted: string): string => quoted.replaceAll('``', '`')

/** Where in the rows of an INSERT the bytes have ended so far. */
interface OpenInsert {
  readonly count: { rows: number }
  depth: number
  quoted: boolean
  escaped: boolean
}

export class SqlRows {
  readonly #tables = new Map<string, { database: string; table: string; rows: number }>()
  #database = ''
  /** The bodies of triggers and routines are nobody's rows. */
  #inBody = false
  /** What has come of the line, up to LINE_BYTES_KEPT or, of an INSERT, up to VALUES. */
  #line = ''
  #insert: OpenInsert | undefined
  #completed = false
  #position: BinlogPosition | null = null

  push(chunk: Buffer): void {
    for (let at = 0; at < chunk.byteLength;) at = this.#insert ? this.#readRows(chunk, at) : this.#readLine(chunk, at)
  }

  /** Whether the last line was the one that the tool ends with. */
  get completed(): boolean {
    return this.#completed && this.#line === '' && !this.#insert
  }

  tables(): TableCount[] {
    return [...this.#tables.values()]
  }

  /** Where in the binlog the snapshot lies, when the dump says so. */
  position(): BinlogPosition | null {
    return this.#position
  }

  /** Where to go on. */
  #readLine(chunk: Buffer, from: number): number {
    const end = chunk.indexOf(LF, from)
    const to = end < 0 ? chunk.byteLength : end
    const most = this.#insertBegan ? HEAD_BYTES_MAX : LINE_BYTES_KEPT
    const room = Math.max(0, most - this.#line.length)
    const text = chunk.toString('latin1', from, Math.min(to, from + room))
    const before = this.#line.length
    this.#line += text
    const insert = this.#insertBegan ? INSERT.exec(this.#line) : null
    if (insert) return this.#beginRows(insert[1] as string, from + insert[0].length - before)
    if (end < 0) return to
    this.#endLine()
    return end + 1
  }

  get #insertBegan(): boolean {
    return !this.#inBody && this.#line.startsWith('INSERT ')
  }

  #beginRows(table: string, at: number): number {
    this.#line = ''
    this.#completed = false
    this.#insert = { count: this.#count(NAME(utf8(table))), depth: 0, quoted: false, escaped: false }
    return at
  }

  #readRows(chunk: Buffer, from: number): number {
    const insert = this.#insert as OpenInsert
    let { depth } = insert
    let at = from
    while (at < chunk.byteLength) {
      if (insert.quoted) {
        at = readString(chunk, at, insert)
        continue
      }
      const byte = chunk[at++]
      if (byte === QUOTE) insert.quoted = true
      else if (byte === OPEN) {
        if (depth++ === 0) insert.count.rows += 1
      } else if (byte === CLOSE) depth -= 1
      else if (byte === SEMICOLON && depth === 0) {
        this.#insert = undefined
        break
      }
    }
    insert.depth = depth
    return at
  }

  #endLine(): void {
    const line = this.#line
    this.#line = ''
    if (line === '') return
    this.#completed = COMPLETED.test(line)
    if (this.#tables.size === 0) this.#position ??= positionIn(line)
    const delimiter = DELIMITER.exec(line)?.[1]
    if (delimiter !== undefined) this.#inBody = delimiter !== ';'
    if (this.#inBody) return
    const database = USE.exec(line)?.[1]
    if (database !== undefined) this.#database = NAME(utf8(database))
    const table = CREATE.exec(line)?.[1]
    if (table !== undefined) this.#count(NAME(utf8(table)))
  }

  #count(table: string): { rows: number } {
    const key = `${this.#database}\n${table}`
    let count = this.#tables.get(key)
    if (!count) this.#tables.set(key, (count = { database: this.#database, table, rows: 0 }))
    return count
  }
}

function positionIn(line: string): BinlogPosition | null {
  const [, name = '', offset = ''] = POSITION.exec(line) ?? []
  const file = utf8(name)
  return isLogName(file) ? { file, offset: Number(offset) } : null
}

/**
 * To the string's end, or the chunk's. Where to go on. Most bytes of a dump are in strings: they are skipped from quote
 * to quote, and only the backslashes just before one are looked at.
 */
function readString(chunk: Buffer, from: number, insert: OpenInsert): number {
  const begin = insert.escaped ? from + 1 : from
  for (let at = begin; ;) {
    const quote = chunk.indexOf(QUOTE, at)
    const end = quote < 0 ? chunk.byteLength : quote
    const isEscaped = backslashesBefore(chunk, end, begin) % 2 === 1
    if (quote < 0) {
      insert.escaped = isEscaped
      return end
    }
    at = quote + 1
    if (isEscaped) continue
    insert.escaped = false
    insert.quoted = false
    return at
  }
}

function backslashesBefore(chunk: Buffer, end: number, begin: number): number {
  let at = end
  while (at > begin && chunk[at - 1] === BACKSLASH) at -= 1
  return end - at
}

/** Lines are kept byte by byte, so that a chunk may end within a character. */
const utf8 = (bytes: string): string => Buffer.from(bytes, 'latin1').toString('utf8')
