/**
 * Which moment a person means: "2026-11-20 14:03:10 Europe/Paris", or with an offset, or in the host's own time.
 *
 * Where clocks are set back an hour occurs twice, and where they are set
 * forward one does not occur: neither is guessed.
 */

import { BackupError } from '../../shared/errors.js'

const INSTANT =
  /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(:\d{2}(?:\.\d{1,3})?)?\s*(Z|[+-]\d{2}:?\d{2}|[A-Za-z][A-Za-z0-9_+/-]*)?$/
const OFFSET = /^(?:Z$|[+-])/
const DAY_MS = 86_400_000
/** Databases count whole seconds: who names one means all of it. */
const REST_OF_SECOND_MS = 999

/** Unix ms; null for `latest`. `hostZone`: where times without a zone are. @throws BackupError BAD_REQUEST */
export function parseInstant(text: string, hostZone: string, now: number): number | null {
  if (text.trim().toLowerCase() === 'latest') return null
  const [, date, minute, second = ':00', zone = hostZone] = INSTANT.exec(text.trim()) ?? []
  if (date === undefined || minute === undefined) {
    throw unclear(text, 'write it as 2026-11-20 14:03:10 Europe/Paris, as 2026-11-20T13:03:10Z, or latest')
  }
  const local = `${date}T${minute}${second}`
  if (!isCalendarTime(local, date)) throw unclear(text, 'there is no such day or time')
  const at = OFFSET.test(zone) ? Date.parse(`${local}${zone}`) : inZone(text, local, zone)
  if (!Number.isFinite(at)) throw unclear(text, `there is no such offset as ${zone}`)
  if (at > now) throw unclear(text, 'it has not come yet')
  return second.includes('.') ? at : at + REST_OF_SECOND_MS
}

/** A 30th of February is read as a day in March. */
function isCalendarTime(local: string, date: string): boolean {
  const at = Date.parse(`${local}Z`)
  return Number.isFinite(at) && new Date(at).toISOString().startsWith(date)
}

export const hostTimeZone = (): string => new Intl.DateTimeFormat().resolvedOptions().timeZone

function inZone(text: string, local: string, zone: string): number {
  const asUtc = Date.parse(`${local}Z`)
  const offsetAt = offsetsOf(text, zone)
  // whatever the clocks do that day, one of these is the offset before and one the offset after it
  const offsets = new Set([offsetAt(asUtc - DAY_MS), offsetAt(asUtc + DAY_MS)])
  const found = [...offsets].map(offset => asUtc - offset).filter(at => asUtc - offsetAt(at) === at)
  const [only] = found
  if (only === undefined) throw unclear(text, `clocks in ${zone} were set forward over it: there was no such time`)
  if (found.length === 1) return only
  const both = found.toSorted((a, b) => a - b).map(at => `${local}${shownOffset(offsetAt(at))}`)
  throw unclear(text, `clocks in ${zone} were set back over it, so it was twice: write ${both.join(' or ')}`)
}

/** Milliseconds that are to be added to UTC. */
function offsetsOf(text: string, zone: string): (at: number) => number {
  let format: Intl.DateTimeFormat
  try {
    format = new Intl.DateTimeFormat('en', { timeZone: zone, timeZoneName: 'longOffset' })
  } catch {
    throw unclear(text, `${zone} is no time zone that is known here`)
  }
  return at => {
    const name = format.formatToParts(at).find(({ type }) => type === 'timeZoneName')?.value ?? 'GMT'
    const [, sign, hours = '0', minutes = '0', seconds = '0'] =
      /GMT(?:([+-])(\d{2}):(\d{2})(?::(\d{2}))?)?/.exec(name) ?? []
    const ms = ((Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1000
    return sign === '-' ? -ms : ms
  }
}

function shownOffset(ms: number): string {
  const minutes = Math.abs(ms) / 60_000
  const two = (n: number) => String(Math.floor(n)).padStart(2, '0')
  return `${ms < 0 ? '-' : '+'}${two(minutes / 60)}:${two(minutes % 60)}`
}

const unclear = (text: string, why: string): BackupError =>
  new BackupError('BAD_REQUEST', `understand the time ${JSON.stringify(text.slice(0, 60))}: ${why}`, {
    nextStep: 'give --at again',
  })
