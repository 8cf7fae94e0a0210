/**
 * Which dumps stay: of each kind of period, the newest one of each of the last so many periods that have any.
 *
 * Pure; whoever calls it removes the others. The newest dump that is whole
 * always stays, whatever the rules say; one that is damaged fills no place, and
 * goes once a newer one is whole.
 */

import type { KeepDumps } from '../../shared/config.js'
import type { KeptDump } from './dump-store.js'

export interface Sorted {
  /** Newest first, each with the rules that hold it. */
  readonly kept: readonly { readonly dump: KeptDump; readonly why: readonly string[] }[]
  readonly removed: readonly KeptDump[]
}

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

/** `dumps`: newest first. `timeZone`: where days begin; null: the host's. */
export function sortOut(dumps: readonly KeptDump[], keep: KeepDumps, timeZone: string | null): Sorted {
  const whole = dumps.filter(({ verdict }) => !verdict?.damage)
  const why = new Map<KeptDump, string[]>()
  const hold = (dump: KeptDump, rule: string) => why.set(dump, [...(why.get(dump) ?? []), rule])
  const [newest] = whole
  if (newest) hold(newest, 'newest')
  else for (const dump of dumps) hold(dump, 'none is whole')
  for (const { rule, count, periodOf } of rules(keep, timeZone)) {
    const periods = new Set<string>()
    for (const dump of whole) {
      const period = periodOf(dump.dump.askedAt)
      if (periods.has(period)) continue
      if (periods.size === count) break
      periods.add(period)
      hold(dump, rule)
    }
  }
  const newestAt = newest?.dump.askedAt ?? -Infinity
  for (const dump of dumps) if (dump.verdict?.damage && dump.dump.askedAt > newestAt) hold(dump, 'none newer is whole')
  return {
    kept: dumps.filter(dump => why.has(dump)).map(dump => ({ dump, why: why.get(dump) ?? [] })),
    removed: dumps.filter(dump => !why.has(dump)),
  }
}

function rules(keep: KeepDumps, timeZone: string | null) {
  const dateOf = localDate(timeZone)
  const part = (length: number) => (at: number) => dateOf(at).slice(0, length)
  return [
    // hours are counted from a fixed moment: an hour that occurs twice in a day is two
    { rule: 'hourly', count: keep.hourly, periodOf: (at: number) => String(Math.floor(at / HOUR_MS)) },
    { rule: 'daily', count: keep.daily, periodOf: part(10) },
    { rule: 'weekly', count: keep.weekly, periodOf: (at: number) => mondayOf(dateOf(at)) },
    { rule: 'monthly', count: keep.monthly, periodOf: part(7) },
    { rule: 'yearly', count: keep.yearly, periodOf: part(4) },
  ]
}

/** As 2026-11-21. */
function localDate(timeZone: string | null): (at: number) => string {
  const format = new Intl.DateTimeFormat('sv-SE', {
    ...(timeZone !== null && { timeZone }),
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
  })
  return at => format.format(at)
}

function mondayOf(date: string): string {
  const at = Date.parse(`${date}T00:00:00Z`)
  const sinceMonday = (new Date(at).getUTCDay() + 6) % 7
  return new Date(at - sinceMonday * DAY_MS).toISOString().slice(0, 10)
}
