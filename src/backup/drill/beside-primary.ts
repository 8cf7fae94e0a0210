/**
 * What a dump has, beside what the primary has now.
 *
 * A primary that works goes on: a table may have more or fewer rows than in the dump, and nothing is wrong. So only those
 * are judged that are known not to have changed since before the dump was begun: they must have the very same number. Of
 * the others it is said how far they are apart. A table that is not in the dump at all is judged by the same rule.
 */

import { LIBRARY_TABLES } from '../../shared/catalog/library-tables.js'
import { CORE_TABLES } from '../../shared/catalog/schema.js'
import type { CountedTable } from '../../shared/wire/count-messages.js'
import type { Dump } from '../dumps/dump-manifest.js'

export interface BesidePrimary {
  /** Unchanged since the dump: these must be equal. */
  readonly judged: number
  /** May have changed since: how many, and of which the number of rows is another one now. */
  readonly moving: number
  readonly apart: readonly { readonly table: string; readonly dumped: number; readonly now: number }[]
  /** Not counted there, since it would have taken too long. */
  readonly notCounted: number
}

/** Clocks and whole seconds of the server. */
const MARGIN_MS = 5_000
const APART_MAX = 100
/** These come with the libraries, not with the dump. */
const OF_LIBRARIES = new Set<string>([...Object.keys(LIBRARY_TABLES), ...CORE_TABLES])

const key = ({ database, table }: { database: string; table: string }): string => `${database}.${table}`

/** `now`: Unix ms when `counted` was asked for. `problems`: one sentence each. */
export function besidePrimary(
  dump: Dump,
  counted: readonly CountedTable[],
  now: number,
): BesidePrimary & { readonly problems: string[] } {
  const dumped = new Map(dump.tables.map(table => [key(table), table.rows]))
  const problems: string[] = []
  const apart: { table: string; dumped: number; now: number }[] = []
  let [judged, moving, notCounted] = [0, 0, 0]
  for (const table of counted) {
    if (OF_LIBRARIES.has(table.table)) continue
    const name = key(table)
    const rows = dumped.get(name)
    const isUnchanged = table.unchangedForMs !== null && table.unchangedForMs > now - dump.askedAt + MARGIN_MS
    if (table.rows === null) notCounted += 1
    else if (isUnchanged) {
      judged += 1
      if (rows === undefined) problems.push(`table ${name} of the primary, ${table.rows} rows, is not in the dump`)
      else if (rows !== table.rows)
        problems.push(`table ${name} has ${rows} rows in the dump, and ${table.rows} on the primary, unchanged since`)
    } else {
      moving += 1
      if (rows !== table.rows) apart.push({ table: name, dumped: rows ?? 0, now: table.rows })
    }
  }
  return { judged, moving, apart: apart.slice(0, APART_MAX), notCounted, problems }
}
