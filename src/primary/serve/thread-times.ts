/** What the kernel (Linux) counts of single threads of this process. Where it does not, nothing is known: no error. */

import { readFileSync, readlinkSync } from 'node:fs'
import { basename } from 'node:path'
import type { ThreadTimes } from './reader-count.js'

/** The kernel's id of the thread that asks. */
export function ownThreadId(): number | undefined {
  try {
    const id = Number(basename(readlinkSync('/proc/thread-self')))
    return Number.isSafeInteger(id) ? id : undefined
  } catch {
    return undefined
  }
}

/** Since the thread began; undefined when it has ended. */
export function threadTimes(id: number): ThreadTimes | undefined {
  try {
    const [cpuNs, queuedNs, turns] = readFileSync(`/proc/self/task/${id}/schedstat`, 'utf8')
      .trim()
      .split(' ')
      .map(Number)
    if (cpuNs === undefined || queuedNs === undefined || turns === undefined) return undefined
    return { cpuMs: cpuNs / 1e6, queuedMs: queuedNs / 1e6, turns }
  } catch {
    return undefined
  }
}
