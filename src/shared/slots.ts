/** When something is due that a cron expression plans: moments ("slots"), never timers of a library's own. */

import { Cron } from 'croner'

/** Five fields as cron's; an expression with seconds would ask for a dump each of them. */
const OPTIONS = { mode: '5-part', paused: true } as const

/** Why an expression is none; undefined: it is one, and has a slot that comes. */
export function slotsProblem(pattern: string): string | undefined {
  try {
    return new Cron(pattern, OPTIONS).nextRun() === null ? 'it never comes' : undefined
  } catch (error) {
    return printable(error instanceof Error ? error.message : String(error))
  }
}

const REASON_MAX = 120

/** The package quotes what it was given. */
const printable = (text: string): string =>
  text.slice(0, REASON_MAX).replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, '?')

/** The first slot after a moment, both Unix ms. Infinity: none comes any more. */
export function slotAfter(pattern: string, timeZone: string | null, at: number): number {
  const slot = new Cron(pattern, { ...OPTIONS, ...(timeZone !== null && { timezone: timeZone }) }).nextRun(new Date(at))
  return slot?.getTime() ?? Infinity
}
