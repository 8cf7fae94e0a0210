/** What is known of a dump that is kept here: `manifest.json` beside its parts, written once and never changed. */

import { BackupError, reason } from '../../shared/errors.js'
import { isLogName } from '../../shared/wire/binlog-messages.js'
import { DUMP_PARTS_MAX, isPartName } from '../../shared/wire/dump-messages.js'
import { count, fields, list, nullable, oneOf, text } from '../../shared/wire/json-fields.js'
import type { BinlogPosition } from '../../shared/binlog-events.js'
import type { DumpHeader } from '../../shared/wire/dump-messages.js'

export interface KeptPart {
  /** As the agent called it; the file is `<index>.zst`. */
  readonly name: string
  /** Of the file, compressed. */
  readonly bytes: number
  /** Of the file, hex. */
  readonly sha256: string
}

export interface TableCount {
  readonly database: string
  readonly table: string
  readonly rows: number
}

/** What is found when a dump is read. */
export interface DumpContents {
  readonly tables: readonly TableCount[]
  readonly position: BinlogPosition | null
}

export interface Dump extends DumpHeader {
  /** When it was asked for, as 20261121T140310Z; `-2` and so on follows in the same second. */
  readonly id: string
  /** By our clock, Unix ms: the snapshot is of a moment between the two. */
  readonly askedAt: number
  readonly endedAt: number
  readonly cause: 'schedule' | 'manual'
  readonly parts: readonly KeptPart[]
  /** Counted in what was written here. */
  readonly tables: readonly TableCount[]
  /** Where in the binlog of the primary its snapshot lies: what is logged from there on is not in it. Null: it does not say; SQLite, a server without a binlog, or a dump of before it was asked for. */
  readonly position: BinlogPosition | null
}

const VERSION = 1
export const DUMP_ID = /^\d{8}T\d{6}Z(-\d{1,4})?$/

export const dumpId = (at: number, attempt = 1): string =>
  `${new Date(at).toISOString().replace(/[-:]|\.\d+/g, '')}${attempt === 1 ? '' : `-${attempt}`}`

export const encodeManifest = (dump: Dump): Buffer =>
  Buffer.from(`${JSON.stringify({ version: VERSION, ...dump }, null, 1)}\n`, 'utf8')

/** @throws BackupError DUMP_DAMAGED */
export function decodeManifest(id: string, bytes: Buffer): Dump {
  try {
    const json = fields(JSON.parse(bytes.toString('utf8')), 'it')
    if (json['version'] !== VERSION) throw new TypeError('it is of another version of this program')
    if (json['id'] !== id) throw new TypeError('it is of another dump')
    const words = (name: string) => list(json[name], name, word => text(word, name))
    return {
      id,
      engine: oneOf(json['engine'], 'engine', ['mysql', 'sqlite']),
      server: text(json['server'], 'server'),
      tool: text(json['tool'], 'tool'),
      databases: words('databases'),
      absent: words('absent'),
      askedAt: count(json['askedAt'], 'askedAt'),
      endedAt: count(json['endedAt'], 'endedAt'),
      cause: oneOf(json['cause'], 'cause', ['schedule', 'manual']),
      parts: list(json['parts'], 'parts', keptPart).slice(0, DUMP_PARTS_MAX),
      tables: list(json['tables'], 'tables', tableCount),
      position: nullable(json['position'] ?? null, dumpPosition),
    }
  } catch (error) {
    const why = error instanceof SyntaxError ? 'it is not JSON' : reason(error)
    throw new BackupError('DUMP_DAMAGED', `read the manifest of dump ${id}: ${why}`, {}, { cause: error })
  }
}

function keptPart(value: unknown): KeptPart {
  const { name, bytes, sha256 } = fields(value, 'part')
  if (!isPartName(name)) throw new TypeError('a part has no name')
  if (typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/.test(sha256)) throw new TypeError('a part has no checksum')
  return { name, bytes: count(bytes, 'bytes'), sha256 }
}

function tableCount(value: unknown): TableCount {
  const { database, table, rows } = fields(value, 'table')
  return { database: text(database, 'database'), table: text(table, 'table'), rows: count(rows, 'rows') }
}

function dumpPosition(value: unknown): BinlogPosition {
  const { file, offset } = fields(value, 'position')
  if (!isLogName(file)) throw new TypeError('the position is in no file')
  return { file, offset: count(offset, 'offset') }
}

export const bytesOf = ({ parts }: Dump): number => parts.reduce((sum, { bytes }) => sum + bytes, 0)
export const rowsOf = ({ tables }: Dump): number => tables.reduce((sum, { rows }) => sum + rows, 0)
