/** S1 and S2 over a line of 1 Gbit/s with a round trip of 200 ms, and over the same line without it. */

import { copyOursOver, copyRsyncOver } from '../over-line.js'
import { isInstalled } from '../programs.js'
import { median } from '../stats.js'
import type { Bench, Measurement } from '../bench.js'
import type { Source } from '../data/source.js'
import type { Copied, Line } from '../over-line.js'

const LINE = { roundTripMs: 200, bytesPerSecond: 125_000_000 } as const

type Copy = (bench: Bench, source: Source, line: Line) => Promise<Copied>

export const slowLine: Measurement = {
  name: 'slow-line',
  about: 'S1 and S2 with a round trip of 200 ms at 1 Gbit/s',
  async run(bench) {
    const rows: string[][] = []
    const systems: Array<[string, Copy]> = [['ours', copyOursOver]]
    if (isInstalled('rsync')) systems.push(['rsync daemon', copyRsyncOver])
    for (const [what, source] of [['S1', await bench.small()] as const, ['S2', await bench.large()] as const]) {
      const seconds = systems.map(([name, copy]) => ({ name, copy, near: [] as number[], far: [] as number[] }))
      for (let run = 0; run < bench.settings.runs; run++) {
        for (const { copy, near, far } of seconds) {
          near.push((await copy(bench, source, { ...LINE, roundTripMs: 0 })).seconds)
          far.push((await copy(bench, source, LINE)).seconds)
        }
      }
      for (const { name, near, far } of seconds) rows.push([`${what}, ${name}`, ...cells(source, near, far)])
    }
    return {
      title: 'First copy over a line of 1 Gbit/s, with and without a round trip of 200 ms',
      tables: [{ header: ['', 's, 0 ms', 's, 200 ms', 'MB/s, 200 ms', '% of the rate kept'], rows }],
      notes: ['The line is a relay in the process of the benchmark, for both; it takes its share of the processors.'],
    }
  },
}

function cells({ bytes }: Source, near: readonly number[], far: readonly number[]): string[] {
  const [short, long] = [median(near), median(far)]
  const rate = bytes / 1e6 / long
  return [short.toFixed(2), long.toFixed(2), rate.toFixed(1), ((100 * short) / long).toFixed(0)]
}
