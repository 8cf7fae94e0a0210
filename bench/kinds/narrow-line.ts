/** A first copy over 50 Mbit/s, of text and of films: what packing gains, and what it costs where there is nothing to gain. */

import { largeBlocks } from '../data/large-blocks.js'
import { textFiles } from '../data/text-files.js'
import { copyOursOver, copyRsyncOver } from '../over-line.js'
import { isInstalled } from '../programs.js'
import { median } from '../stats.js'
import type { Bench, Measurement } from '../bench.js'
import type { Source } from '../data/source.js'
import type { Copied } from '../over-line.js'

const LINE = { roundTripMs: 0, bytesPerSecond: 6_250_000 } as const
/** Of S2: 64 MB at scale 1. */
const FILMS_SCALE = 1 / 32

type Copy = (bench: Bench, source: Source) => Promise<Copied>

const SYSTEMS: ReadonlyArray<readonly [name: string, copy: Copy, program?: string]> = [
  ['ours', (bench, source) => copyOursOver(bench, source, LINE)],
  ['rsync daemon', (bench, source) => copyRsyncOver(bench, source, LINE), 'rsync'],
  ['rsync daemon, -z', (bench, source) => copyRsyncOver(bench, source, LINE, ['-z']), 'rsync'],
]

export const narrowLine: Measurement = {
  name: 'narrow-line',
  about: 'first copy of text and of films over 50 Mbit/s',
  async run(bench) {
    const { scale, runs } = bench.settings
    const sources = [
      ['text', await textFiles(bench.workspace.fresh('source'), scale)],
      ['films', await largeBlocks(bench.workspace.fresh('source'), scale * FILMS_SCALE)],
    ] as const
    const rows: string[][] = []
    for (const [what, source] of sources) {
      const systems = SYSTEMS.filter(([, , program]) => program === undefined || isInstalled(program))
      const copies = systems.map(([name, copy]) => ({ name, copy, found: [] as Copied[] }))
      for (let run = 0; run < runs; run++) for (const { copy, found } of copies) found.push(await copy(bench, source))
      for (const { name, found } of copies) rows.push([`${what}, ${name}`, ...cells(source, found)])
    }
    return {
      title: 'First copy over a line of 50 Mbit/s',
      tables: [{ header: ['', 's', 'MB of data', 'MB on the line', '% of the data', 'agent CPU s'], rows }],
      notes: [
        'The line is a relay in the process of the benchmark. The first 2 MB or so travel before it is measured.',
      ],
    }
  },
}

function cells(source: Source, found: readonly Copied[]): string[] {
  const bytes = median(found.map(one => one.bytes))
  const cpu = found.flatMap(one => one.agentCpuSeconds ?? [])
  return [
    median(found.map(one => one.seconds)).toFixed(2),
    (source.bytes / 1e6).toFixed(1),
    (bytes / 1e6).toFixed(1),
    ((100 * bytes) / source.bytes).toFixed(0),
    cpu.length > 0 ? median(cpu).toFixed(2) : '',
  ]
}
