/**
 * Whether the log has wanted times behind the place at which it is cut: the server's clock went back there, or somebody
 * set a time of his own. Nobody can say then which of it was before the wanted second, so people are told.
 */

import { BackupError } from '../../shared/errors.js'
import { readEvents } from './events.js'
import { Groups } from './groups.js'
import { Turns } from './turns.js'
import type { BinlogPart } from './events.js'

/** The first event that is stamped later than is wanted. Times: Unix seconds by the server's clock. */
export interface Cut {
  /** Which part it is in, and where in the file its transaction begins. */
  readonly index: number
  readonly from: number
  readonly stamp: number
  /** Of the last event before it. */
  readonly last: number
}

export interface Earlier {
  /** In words, with both times. */
  readonly why: string
  /** Unix ms by the server's clock: of this moment the tables are at least. */
  readonly before: number
}

/** Null: there is none. What is damaged there ends it: that place can be restored all the same. */
export async function earlierBehind(
  parts: readonly BinlogPart[],
  cut: Cut,
  second: number,
  signal: AbortSignal,
): Promise<Earlier | null> {
  let count = 0
  let latest = 0
  try {
    for await (const stamp of transactionsFrom(parts, cut, signal)) {
      if (stamp > second) continue
      count += 1
      latest = Math.max(latest, stamp)
    }
  } catch (error) {
    if (!(error instanceof BackupError) && !(error instanceof RangeError)) throw error
  }
  if (count === 0) return null
  const why = `behind a transaction of ${shown(cut.stamp)} the log has ${count} of up to ${shown(latest)}, which are not replayed: the clock of the database server was set back there, or they took as long; an instant from the later time on has them`
  return { why, before: cut.last * 1000 }
}

const shown = (seconds: number): string => new Date(seconds * 1000).toISOString()

/** The stamps of their ends: those of their beginnings are older, the longer they took. */
async function* transactionsFrom(
  parts: readonly BinlogPart[],
  { index, from }: Cut,
  signal: AbortSignal,
): AsyncGenerator<number> {
  const turns = new Turns()
  for (const [i, part] of parts.slice(index).entries()) {
    const groups = new Groups()
    for (const event of readEvents(i === 0 ? { ...part, from } : part)) {
      if (groups.place(event).last) yield event.timestamp
      await turns.after(event.bytes.byteLength, signal)
    }
  }
}
