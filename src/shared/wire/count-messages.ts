/** How many rows the primary's tables have, counted when it is asked: JSON of one answer, for a drill. */

import { broken, decodeJson, printable } from './frames.js'
import { fields, list, nullable, number, text } from './json-fields.js'

export interface CountedTable {
  /** As in a dump's header. */
  readonly database: string
  readonly table: string
  /** Null: it was not counted, since that would have taken too long. */
  readonly rows: number | null
  /** For how long it is known not to have changed; null: nobody knows. */
  readonly unchangedForMs: number | null
}

/** Seafile's three databases have some 150. */
export const COUNTED_TABLES_MAX = 5_000
export const COUNTS_BYTES_MAX = 2 * 1024 * 1024
const NAME_MAX = 500

export const encodeCounts = (tables: readonly CountedTable[]): Buffer =>
  Buffer.from(JSON.stringify({ tables: tables.slice(0, COUNTED_TABLES_MAX) }), 'utf8')

/** @throws BackupError PROTOCOL_BROKEN */
export function decodeCounts(body: Buffer): CountedTable[] {
  const json = decodeJson(body, 'counts of rows')
  try {
    return list(json['tables'], 'tables', countedTable).slice(0, COUNTED_TABLES_MAX)
  } catch {
    throw broken('malformed counts of rows')
  }
}

function countedTable(value: unknown): CountedTable {
  const table = fields(value, 'table')
  return {
    database: name(table['database']),
    table: name(table['table']),
    rows: nullable(table['rows'], rows => number(rows, 'rows')),
    unchangedForMs: nullable(table['unchangedForMs'], ms => number(ms, 'unchangedForMs')),
  }
}

const name = (value: unknown): string => printable(text(value, 'name')).slice(0, NAME_MAX)
