/** S1 and S2 over a line of 1 Gbit/s with a round trip of 200 ms, and over the same line without it. */

import { longLine } from '../../test/support/rough-line.js'
import { Relay } from '../../test/support/relay.js'
import { copyAll, expectEqualHeads, layOurs } from '../ours.js'
import { RsyncDaemon } from '../peers/rsync-daemon.js'
import { isInstalled } from '../programs.js'
import { median } from '../stats.js'
import type { Bench, Measurement } from '../bench.js'
import type { Source } from '../data/source.js'

const BYTES_PER_SECOND = 125_000_000
const ROUND_TRIPS_MS = [0, 200]

type Copy = (bench: Bench, source: Source, roundTripMs: number) => Promise<number>

export const slowLine: Measurement = {
  name: 'slow-line',
  about: 'S1 and S2 with a round trip of 200 ms at 1 Gbit/s',
  async run(bench) {
    const rows: string[][] = []
    const systems: Array<[string, Copy]> = [['ours', copyOurs]]
    if (isInstalled('rsync')) systems.push(['rsync daemon', copyRsync])
    for (const [what, source] of [['S1', await bench.small()] as const, ['S2', await bench.large()] as const]) {
      const seconds = systems.map(([name, copy]) => ({ name, copy, near: [] as number[], far: [] as number[] }))
      for (let run = 0; run < bench.settings.runs; run++) {
        for (const { copy, near, far } of seconds) {
          near.push(await copy(bench, source, ROUND_TRIPS_MS[0] ?? 0))
          far.push(await copy(bench, source, ROUND_TRIPS_MS[1] ?? 0))
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

const copyOurs: Copy = async (bench, source, roundTripMs) => {
  await using pair = await layOurs({ dataDir: source.dataDir, relayed: true })
  pair.primary.relay.roughness = longLine(roundTripMs, BYTES_PER_SECOND)
  pair.backup.relay.roughness = longLine(roundTripMs)
  await bench.workspace.settle(source.dataDir)
  const { seconds } = await copyAll(pair)
  await expectEqualHeads(pair)
  await pair.backup.process?.stop()
  bench.workspace.leave(bench.workspace.keep(pair.backup.dataDir), source.objects)
  bench.say(`ours, ${roundTripMs} ms: ${seconds.toFixed(2)} s`)
  return seconds
}

const copyRsync: Copy = async (bench, source, roundTripMs) => {
  const dir = bench.workspace.fresh('peer')
  await using daemon = await RsyncDaemon.start(dir)
  await using line = await Relay.start()
  line.target = daemon.port
  line.roughness = longLine(roundTripMs, BYTES_PER_SECOND)
  await bench.workspace.settle(source.dataDir)
  const startedAt = performance.now()
  await daemon.run(source.dataDir, { port: line.port })
  const seconds = (performance.now() - startedAt) / 1000
  bench.workspace.leave(dir, source.objects)
  bench.say(`rsync, ${roundTripMs} ms: ${seconds.toFixed(2)} s`)
  return seconds
}
