/** A first copy over 50 Mbit/s, of text and of films: what packing gains, and what it costs where there is nothing to gain. */

import { Relay } from '../../test/support/relay.js'
import { longLine } from '../../test/support/rough-line.js'
import { largeBlocks } from '../data/large-blocks.js'
import { textFiles } from '../data/text-files.js'
import { copyAll, expectEqualHeads, layOurs } from '../ours.js'
import { RsyncDaemon } from '../peers/rsync-daemon.js'
import { isInstalled } from '../programs.js'
import { median } from '../stats.js'
import type { Bench, Measurement } from '../bench.js'
import type { Source } from '../data/source.js'

const BYTES_PER_SECOND = 6_250_000
/** Of S2: 64 MB at scale 1. */
const FILMS_SCALE = 1 / 32

interface Copied {
  readonly seconds: number
  /** What passed the line towards the backup. */
  readonly bytes: number
  readonly cpuSeconds: number | undefined
}

type Copy = (bench: Bench, source: Source) => Promise<Copied>

const SYSTEMS: ReadonlyArray<readonly [name: string, copy: Copy, program?: string]> = [
  ['ours', copyOurs],
  ['rsync daemon', (bench, source) => copyRsync(bench, source, []), 'rsync'],
  ['rsync daemon, -z', (bench, source) => copyRsync(bench, source, ['-z']), 'rsync'],
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
  const cpu = found.flatMap(one => one.cpuSeconds ?? [])
  return [
    median(found.map(one => one.seconds)).toFixed(2),
    (source.bytes / 1e6).toFixed(1),
    (bytes / 1e6).toFixed(1),
    ((100 * bytes) / source.bytes).toFixed(0),
    cpu.length > 0 ? median(cpu).toFixed(2) : '',
  ]
}

async function copyOurs(bench: Bench, source: Source): Promise<Copied> {
  await using pair = await layOurs({ dataDir: source.dataDir, relayed: true })
  pair.primary.relay.roughness = longLine(0, BYTES_PER_SECOND)
  await bench.workspace.settle(source.dataDir)
  const { seconds, agent } = await copyAll(pair)
  await expectEqualHeads(pair)
  await pair.backup.process?.stop()
  const bytes = pair.primary.relay.bytesFromTarget
  bench.say(`ours: ${seconds.toFixed(2)} s, ${(bytes / 1e6).toFixed(1)} MB`)
  return { seconds, bytes, cpuSeconds: agent.cpuSeconds }
}

async function copyRsync(bench: Bench, source: Source, options: readonly string[]): Promise<Copied> {
  const dir = bench.workspace.fresh('peer')
  await using daemon = await RsyncDaemon.start(dir)
  await using line = await Relay.start()
  line.target = daemon.port
  line.roughness = longLine(0, BYTES_PER_SECOND)
  await bench.workspace.settle(source.dataDir)
  const startedAt = performance.now()
  await daemon.run(source.dataDir, { port: line.port, options })
  const seconds = (performance.now() - startedAt) / 1000
  bench.workspace.leave(dir, source.objects)
  bench.say(`rsync ${options.join(' ')}: ${seconds.toFixed(2)} s, ${(line.bytesToTarget / 1e6).toFixed(1)} MB`)
  return { seconds, bytes: line.bytesToTarget, cpuSeconds: undefined }
}
