/** What the command prints in columns: one library or one head a line, the text of unknown width last. */

import { duration } from '../../src/shared/duration.js'
import { byteSize, plain } from './render.js'
import type { HeadLogEntry, LibraryStatus } from '../../src/shared/wire/control-messages.js'

const UNKNOWN = 'unknown'
/** Enough to tell commits apart, and to find one with `log --json`. */
const SHORT_ID = 10
/** What `Date` can hold. */
const MAX_DATE_MS = 8.64e15

/** Times to the second, in UTC: lines of two hosts can be compared. */
export const time = (ms: number | null): string =>
  ms === null || ms > MAX_DATE_MS ? UNKNOWN : new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z')

export function renderLibraries(libraries: readonly LibraryStatus[]): string {
  const rows = libraries.map(library => [
    library.id,
    stateWord(library),
    library.lagMs === null ? UNKNOWN : duration(library.lagMs),
    library.sizeBytes === null ? UNKNOWN : byteSize(library.sizeBytes),
    time(library.changedAt),
    library.owner === null ? UNKNOWN : plain(library.owner),
    library.name === null ? UNKNOWN : plain(library.name),
  ])
  return columns(['LIBRARY', 'STATE', 'LAG', 'SIZE', 'LAST CHANGE', 'OWNER', 'NAME'], rows)
}

/** One word and a number, so that columns stay columns. */
function stateWord({ state, holes, deletedOnPrimary }: LibraryStatus): string {
  if (deletedOnPrimary) return 'deleted'
  return holes > 0 ? `${state}-${holes}-missing` : state
}

export function renderHeadLog(entries: readonly HeadLogEntry[]): string {
  const rows = entries.map(({ head, displaced, relation, cause, primaryHadAt, recordedAt }) => [
    time(recordedAt),
    time(primaryHadAt),
    cause,
    relation,
    plain(head).slice(0, SHORT_ID),
    displaced === null ? '-' : plain(displaced).slice(0, SHORT_ID),
  ])
  return columns(['DURABLE HERE', 'ON THE PRIMARY', 'CAUSE', 'MOVE', 'HEAD', 'DISPLACED'], rows)
}

export function columns(header: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  const all = [header, ...rows]
  const widths = header.map((_, column) => all.reduce((most, row) => Math.max(most, (row[column] ?? '').length), 0))
  const last = header.length - 1
  return all
    .map(row => row.map((cell, at) => (at === last ? cell : cell.padEnd(widths[at] ?? 0))).join('  '))
    .map(line => `${line}\n`)
    .join('')
}
