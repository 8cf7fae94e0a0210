/**
 * What a database server calls SYSTEM: the time zone of its host, by which it reads and writes local times.
 *
 * Its name is a word such as CET and says little. What it does is how far it is
 * from UTC, so that is asked for, day by day: two servers that agree there read
 * and write the same times.
 */

/** It is that of a server since its start. */
export interface SystemZone {
  /** @@system_time_zone: for people. */
  readonly name: string
  /** Unix seconds: the first of the days that it was asked for. */
  readonly from: number
  readonly days: number
  /** From each of these moments on, Unix seconds, so many seconds east of UTC. The first is `from`. */
  readonly offsets: readonly (readonly [from: number, east: number])[]
}

export const SYSTEM = 'SYSTEM'
export const DAY_SECONDS = 86_400
/** A year before and after: what is written is mostly of about now. */
const DAYS = 2 * 366
const DAYS_MAX = 1_000
/** Beyond, servers of before 2024 know no local times. */
const SECONDS_MAX = 2 ** 31
const EAST_MAX = 2 * DAY_SECONDS
const NAME = /^[\x20-\x7e]{0,100}$/

/** Of the year before and after: Unix ms. */
export const daysAround = (at: number): { readonly from: number; readonly days: number } => {
  const from = (Math.floor(at / 1000 / DAY_SECONDS) - DAYS / 2) * DAY_SECONDS
  return { from, days: Math.max(1, Math.min(DAYS, Math.floor((SECONDS_MAX - from) / DAY_SECONDS) - 1)) }
}

/** SQL for the name of the zone and its offsets; `zone`: as it may stand in SQL. Of one that the server does not know they are NULL. */
export function zoneSql({ from, days }: Pick<SystemZone, 'from' | 'days'>, zone = SYSTEM): string {
  const offsets = Array.from({ length: days }, (_, day) => {
    const local = `'${new Date((from + day * DAY_SECONDS) * 1000).toISOString().slice(0, 10)}'`
    return `TIMESTAMPDIFF(SECOND, ${local}, CONVERT_TZ(${local}, '+00:00', '${zone}'))`
  })
  return `SELECT @@system_time_zone, CONCAT(${offsets.join(", ',', ")})`
}

/** Of an answer to it; undefined: the server does not know the zone, or says what is none. */
export function zoneOf(
  { from, days }: Pick<SystemZone, 'from' | 'days'>,
  name: unknown,
  said: unknown,
): SystemZone | undefined {
  const each = typeof said === 'string' ? said.split(',') : []
  if (typeof name !== 'string' || each.length !== days || !each.every(one => /^-?\d{1,6}$/.test(one))) return undefined
  const offsets: [number, number][] = []
  for (const [day, east] of each.map(Number).entries())
    if (offsets.at(-1)?.[1] !== east) offsets.push([from + day * DAY_SECONDS, east])
  return { name: NAME.test(name) ? name : '', from, days, offsets }
}

/** Whether both show the same times. */
export const isSameZone = (a: SystemZone, b: SystemZone): boolean =>
  a.from === b.from && a.days === b.days && JSON.stringify(a.offsets) === JSON.stringify(b.offsets)

/** As JSON has it. Throws TypeError. */
export function decodeZone(value: unknown): SystemZone {
  const { name, from, days, offsets } = (value ?? {}) as Record<string, unknown>
  if (typeof name !== 'string' || !NAME.test(name)) throw none()
  if (!isWithin(from, 0, SECONDS_MAX) || !isWithin(days, 1, DAYS_MAX) || !Array.isArray(offsets)) throw none()
  if (offsets.length < 1 || offsets.length > days) throw none()
  let last = from - 1
  const read = offsets.map((one: unknown): [number, number] => {
    const [since, east] = Array.isArray(one) && one.length === 2 ? (one as unknown[]) : []
    if (!isWithin(since, last + 1, from + days * DAY_SECONDS) || !isWithin(east, -EAST_MAX, EAST_MAX)) throw none()
    last = since
    return [since, east]
  })
  if (read[0]?.[0] !== from) throw none()
  return { name, from, days, offsets: read }
}

const none = (): TypeError => new TypeError('zone is no time zone')
const isWithin = (value: unknown, min: number, max: number): value is number =>
  Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max
