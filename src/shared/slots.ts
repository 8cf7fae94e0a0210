/** When something is due that a cron expression plans: moments ("slots"), never timers of a library's own. */

import { Cron } from 'croner'

/** Five fields as cron's; an expression with seconds would ask for a dump each of them. */
const OPTIONS = { mode: '5-part', paused: true } as const

/** Why an expression is none; undefined: it is one, and has a slot that comes. */
export function slotsProblem(pattern: string): string | undefined {
  try {
    return new Cron(pattern, OPTIONS).nextRun() === null ? 'it never comes' : undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** The first slot after a moment, both Unix ms. Infinity: none comes any more. */
export function slotAfter(pattern: string, timeZone: string | null, at: number): number {
  const slot = new Cron(pattern, { ...OPTIONS, ...(timeZone !== null && { timezone: timeZone }) }).nextRun(new Date(at))
  return slot?.getTime() ?? Infinity
}
