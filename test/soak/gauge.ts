/** What two daemons use while they run, as the kernel and their files show it. */

import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { median, quantile } from '../../bench/stats.js'
import { residentMb } from '../support/hostile-sockets.js'
import type { Pair } from '../support/pair.js'
import type { Arrivals } from './arrivals.js'

const LOOK_EVERY_MS = 1_000
const MIB = 1024 * 1024

/** What must not grow, with the amount that is no growth. */
const FIGURES = {
  'agent RSS MiB': 25,
  'backup RSS MiB': 25,
  'agent files': 10,
  'backup files': 10,
  'state MiB': 1,
  'temp files': 20,
  'p99 ms': 100,
} as const
type Figure = keyof typeof FIGURES

export interface Row {
  readonly figures: Readonly<Record<Figure, number>>
  readonly cells: readonly string[]
}

export class Gauge implements Disposable {
  static readonly columns = [
    'until',
    'commits',
    'agent RSS MiB',
    'backup RSS MiB',
    'agent files',
    'backup files',
    'state MiB',
    'with head log',
    'temp files',
    'p50 ms',
    'p99 ms',
    'max ms',
    'recovered in s',
  ]
  readonly #timer: NodeJS.Timeout
  #most = nothing()

  constructor(
    private readonly pair: Pair,
    private readonly arrivals: Arrivals,
  ) {
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS)
  }

  /** Since the last one. */
  row(atSeconds: number): Row {
    const { times, recoveries } = this.arrivals.take()
    const most = this.#most
    this.#most = nothing()
    const { whole, withoutLog } = stateSize(join(this.pair.backup.dir, 'seaf-backup-state'))
    const figures = { ...most, 'state MiB': withoutLog / MIB, 'p99 ms': quantile(times, 0.99) }
    const cells = [
      `${Math.round(atSeconds / 60)} min`,
      String(times.length),
      figures['agent RSS MiB'].toFixed(0),
      figures['backup RSS MiB'].toFixed(0),
      String(figures['agent files']),
      String(figures['backup files']),
      figures['state MiB'].toFixed(2),
      (whole / MIB).toFixed(1),
      String(figures['temp files']),
      quantile(times, 0.5).toFixed(0),
      figures['p99 ms'].toFixed(0),
      quantile(times, 1).toFixed(0),
      recoveries.map(ms => (ms / 1000).toFixed(1)).join(' '),
    ]
    return { figures, cells }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    const { primary, backup } = this.pair
    const most = this.#most
    const raise = (figure: Figure, value: number) => (most[figure] = Math.max(most[figure], value))
    for (const [name, daemon] of [
      ['agent', primary.process],
      ['backup', backup.process],
    ] as const) {
      if (!daemon?.running) continue
      try {
        const resident = residentMb(daemon.pid)
        if (!Number.isNaN(resident)) raise(`${name} RSS MiB`, resident) // it was killed just now
        raise(`${name} files`, readdirSync(`/proc/${daemon.pid}/fd`).length)
      } catch {
        continue // it was killed just now
      }
    }
    raise('temp files', countFiles(join(backup.dataDir, 'tmpfiles')))
  }
}

/**
 * What grows, a sentence each. Of what a leak would raise: higher at the end of the second half than at its beginning.
 * The p99 of a row is what came after its five kills, and scatters by half from one row to the next, so that two rows
 * beside two say nothing: the median row of the second half is compared with that of the first.
 */
export function growth(rows: readonly Row[]): string[] {
  const middle = Math.floor(rows.length / 2)
  const [before, half] = [rows.slice(0, middle), rows.slice(middle)]
  const third = Math.max(1, Math.floor(half.length / 3))
  const [first, last] = [half.slice(0, third), half.slice(-third)]
  if (half.length < 2) return ['the run was too short to say what grows']
  return (Object.keys(FIGURES) as Figure[]).flatMap(figure => {
    const of = (some: readonly Row[]) => some.map(({ figures }) => figures[figure])
    const [then, now] = figure === 'p99 ms' ? [median(of(before)), median(of(half))] : [mean(of(first)), mean(of(last))]
    return now <= then * 1.1 + FIGURES[figure] ? [] : [`${figure} grew from ${then.toFixed(1)} to ${now.toFixed(1)}`]
  })
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length

const nothing = (): Record<Figure, number> =>
  Object.fromEntries(Object.keys(FIGURES).map(figure => [figure, 0])) as Record<Figure, number>

const countFiles = (dir: string): number =>
  readdirSync(dir, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile()).length

function stateSize(stateDir: string): { readonly whole: number; readonly withoutLog: number } {
  const file = join(stateDir, 'state.db')
  const db = new Database(file, { readonly: true, timeout: 10_000 })
  try {
    const log = db.prepare("SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name LIKE 'head_log%'").pluck().get()
    const whole = statSync(file).size + (statSync(`${file}-wal`, { throwIfNoEntry: false })?.size ?? 0)
    return { whole, withoutLog: whole - Number(log) }
  } finally {
    db.close()
  }
}
