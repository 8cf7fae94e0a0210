/**
 * Which files of the archive stay: from the one on in which the oldest dump of the last days has its position, or the
 * newest dump of all, however old it is.
 *
 * Pure. What a damaged run has is not known: as long as a dump of those days may have its position in it, it stays.
 * Dumps are kept for years and a busy server writes gigabytes of log a
 * day: for what is older than those days dumps are the granularity. Where no dump
 * that is whole can be gone on from, what is younger stays. The file that is being written always does.
 */

import type { BinlogPosition } from '../../shared/binlog-events.js'
import type { ArchiveRun } from './archive-layout.js'

/** A dump that is whole. */
export interface HeldFrom {
  readonly position: BinlogPosition | null
  /** When it had been taken, Unix ms. */
  readonly endedAt: number
}

export interface DatedFile {
  readonly n: number
  readonly name: string
  /** When it was last written to, Unix ms. */
  readonly changedAt: number
}

export interface DatedRun extends Pick<ArchiveRun, 'run' | 'began'> {
  /** Oldest first; none of a damaged one. */
  readonly files: readonly DatedFile[]
  readonly isDamaged: boolean
}

/** The oldest that stays. What comes before, in this run and in those before it, goes. */
export interface Keep {
  readonly run: number
  readonly n: number
}

/** `runs`: oldest first. Null: nothing is there. */
export function oldestKept(
  runs: readonly DatedRun[],
  dumps: readonly HeldFrom[],
  keepMs: number,
  now: number,
): Keep | null {
  const newest = runs.at(-1)
  if (!newest) return null
  const since = now - keepMs
  const placed = dumps.toSorted((a, b) => b.endedAt - a.endedAt).filter(dump => placeOf(runs, dump))
  const held = placed.filter(({ endedAt }, n) => n === 0 || endedAt >= since).flatMap(dump => placeOf(runs, dump) ?? [])
  const known = held.length > 0 ? held : youngest(runs, since)
  const places = [...known, ...damagedPlaces(runs, dumps, since)]
  const current = { run: newest.run, n: newest.files.at(-1)?.n ?? 1 }
  return places.reduce((a, b) => (isBefore(b, a) ? b : a), current)
}

const isBefore = (a: Keep, b: Keep): boolean => (a.run === b.run ? a.n < b.n : a.run < b.run)

/** Names come again after a reset: then it is the newest run that was there when the dump was. */
function placeOf(runs: readonly DatedRun[], { position, endedAt }: HeldFrom): Keep | undefined {
  if (!position) return undefined
  return runs
    .filter(({ began }) => began <= endedAt)
    .flatMap(({ run, files }) => {
      const file = files.findLast(({ name }) => name === position.file)
      return file ? [{ run, n: file.n }] : []
    })
    .at(-1)
}

function damagedPlaces(runs: readonly DatedRun[], dumps: readonly HeldFrom[], since: number): Keep[] {
  return dumps
    .filter(dump => dump.position && dump.endedAt >= since && !placeOf(runs, dump))
    .flatMap(({ endedAt }) => runs.findLast(({ began, isDamaged }) => isDamaged && began <= endedAt) ?? [])
    .map(({ run }) => ({ run, n: 1 }))
}

function youngest(runs: readonly DatedRun[], since: number): Keep[] {
  for (const { run, files } of runs) {
    const file = files.find(({ changedAt }) => changedAt >= since)
    if (file) return [{ run, n: file.n }]
  }
  return []
}
