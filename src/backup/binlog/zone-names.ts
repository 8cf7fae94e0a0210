/** Names for what a server's own time zone does. */

import { DAY_SECONDS } from '../../shared/system-zone.js'
import type { SystemZone } from '../../shared/system-zone.js'

/** No summer is shorter. */
const LOOK_DAYS = 14

/** Of one that is always as far from UTC: as +05:30, which each server knows; none where it is not of whole minutes. */
export function hoursEast({ offsets }: Pick<SystemZone, 'offsets'>): string[] {
  const east = offsets[0]?.[1] ?? 0
  const minutes = Math.abs(east) / 60
  if (!Number.isInteger(minutes)) return []
  const two = (value: number): string => String(value).padStart(2, '0')
  return [`${east < 0 ? '-' : '+'}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`]
}

/** Of the zones that everybody names so (Europe/Paris) those that do the same, of the region with most of them first. */
export function zonesLike({ from, days, offsets }: SystemZone): string[] {
  const moments: [number, number][] = []
  for (const [index, [since, east]] of offsets.entries()) {
    const until = offsets[index + 1]?.[0] ?? from + days * DAY_SECONDS
    for (let at = since; at < until; at += LOOK_DAYS * DAY_SECONDS) moments.push([at, east])
    moments.push([until - DAY_SECONDS, east])
  }
  const like = Intl.supportedValuesOf('timeZone').filter(name => {
    const format = new Intl.DateTimeFormat('en-US', { timeZone: name, timeZoneName: 'longOffset' })
    return moments.every(([at, east]) => eastAt(format, at) === east)
  })
  const others = (name: string): number => like.filter(other => regionOf(other) === regionOf(name)).length
  return like.toSorted((a, b) => others(b) - others(a))
}

const regionOf = (name: string): string => name.split('/', 1)[0] ?? ''

const LONG = /^GMT(?:([+-])(\d\d):(\d\d)(?::(\d\d))?)?$/

/** Seconds. */
function eastAt(format: Intl.DateTimeFormat, at: number): number {
  const said = format.formatToParts(at * 1000).find(({ type }) => type === 'timeZoneName')?.value ?? ''
  const [, sign, hours = '0', minutes = '0', seconds = '0'] = LONG.exec(said) ?? []
  return (sign === '-' ? -1 : 1) * (Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds))
}
