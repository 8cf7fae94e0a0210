/** What processes used, as the kernel counts it. */

import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

/** Of /proc's times; USER_HZ, the same on all architectures that Node runs on. */
const TICKS_PER_SECOND = 100
const MIB = 1024 * 1024
const LOOK_EVERY_MS = 100
const CHILDLESS_MS_MAX = 10_000
/** In /proc/PID/stat after the name, which may hold blanks: utime, stime, cutime, cstime. */
const TIMES = { own: [11, 12], children: [13, 14] } as const

export interface Cost {
  /** Wall time. */
  readonly seconds: number
  /** User and system time of all processes that took part. */
  readonly cpuSeconds: number
  /** Of the largest single process, resident. */
  readonly peakMb: number
}

/** Runs `work`, which waits for the processes that it starts; `daemons` are those that were there before. */
export async function measured(work: () => Promise<void>, daemons: readonly number[] = []): Promise<Cost> {
  const spent = () => endedChildrenSeconds() + sum(daemons.map(cpuSeconds))
  const before = spent()
  using peak = new PeakMemory(daemons)
  const startedAt = performance.now()
  await work()
  const seconds = (performance.now() - startedAt) / 1000
  await childless(daemons)
  return { seconds, cpuSeconds: spent() - before, peakMb: peak.mb }
}

/** A daemon's child counts when it has been waited for, which may be a moment after its client ended. */
async function childless(daemons: readonly number[]): Promise<void> {
  const until = performance.now() + CHILDLESS_MS_MAX
  while (daemons.some(pid => descendants(pid).length > 0) && performance.now() < until) await delay(LOOK_EVERY_MS)
}

/** User and system time of a process, with its ended children; 0 when it is gone. */
export const cpuSeconds = (pid: number): number => ticks(pid, [...TIMES.own, ...TIMES.children]) / TICKS_PER_SECOND

/** The most that was ever resident, in MB of 2^20 bytes; NaN when it is gone. */
export function peakMb(pid: number): number {
  const kib = /^VmHWM:\s+(\d+) kB/m.exec(textOf(`/proc/${pid}/status`))?.[1]
  return (Number(kib ?? NaN) * 1024) / MIB
}

/** Of this process: a child counts when it has been waited for, its own children with it. */
const endedChildrenSeconds = (): number => ticks(process.pid, TIMES.children) / TICKS_PER_SECOND

function ticks(pid: number, fields: readonly number[]): number {
  const text = textOf(`/proc/${pid}/stat`)
  const values = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return sum(fields.map(field => Number(values[field] ?? 0)))
}

/** Looks at our new children and the daemons', and theirs, some times a second: a process may end at any time. */
class PeakMemory implements Disposable {
  readonly #timer: NodeJS.Timeout
  /** They have no part in what is measured, unless they are its daemons. */
  readonly #before = new Set(descendants(process.pid))
  mb = 0

  constructor(private readonly daemons: readonly number[]) {
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS)
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    const started = descendants(process.pid).filter(pid => !this.#before.has(pid))
    for (const pid of [...started, ...this.daemons]) {
      const mb = peakMb(pid)
      if (mb > this.mb) this.mb = mb
    }
  }
}

function descendants(pid: number): number[] {
  const children = textOf(`/proc/${pid}/task/${pid}/children`)
    .split(' ')
    .filter(text => text !== '')
    .map(Number)
  return children.flatMap(child => [child, ...descendants(child)])
}

/** Empty when the process is gone. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
