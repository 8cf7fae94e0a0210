/** A first copy over a line: a relay in the process of the benchmark, with ours or an rsync daemon at its end. */

import { Relay } from '../test/support/relay.js'
import { longLine } from '../test/support/rough-line.js'
import { copyAll, expectEqualHeads, layOurs } from './ours.js'
import { RsyncDaemon } from './peers/rsync-daemon.js'
import type { Bench } from './bench.js'
import type { Source } from './data/source.js'

export interface Line {
  readonly roundTripMs: number
  readonly bytesPerSecond: number
}

export interface Copied {
  readonly seconds: number
  /** What passed the line towards the backup. */
  readonly bytes: number
  /** Of ours. */
  readonly agentCpuSeconds?: number
}

export async function copyOursOver(
  bench: Bench,
  source: Source,
  { roundTripMs, bytesPerSecond }: Line,
): Promise<Copied> {
  await using pair = await layOurs({ dataDir: source.dataDir, relayed: true })
  pair.primary.relay.roughness = longLine(roundTripMs, bytesPerSecond)
  pair.backup.relay.roughness = longLine(roundTripMs)
  await bench.workspace.settle(source.dataDir)
  const { seconds, agent } = await copyAll(pair)
  await expectEqualHeads(pair)
  await pair.backup.process?.stop()
  bench.workspace.leave(bench.workspace.keep(pair.backup.dataDir), source.objects)
  return said(bench, 'ours', { seconds, bytes: pair.primary.relay.bytesFromTarget, agentCpuSeconds: agent.cpuSeconds })
}

/** `options`: further ones of rsync. */
export async function copyRsyncOver(
  bench: Bench,
  source: Source,
  { roundTripMs, bytesPerSecond }: Line,
  options: readonly string[] = [],
): Promise<Copied> {
  const dir = bench.workspace.fresh('peer')
  await using daemon = await RsyncDaemon.start(dir)
  await using line = await Relay.start()
  line.target = daemon.port
  line.roughness = longLine(roundTripMs, bytesPerSecond)
  await bench.workspace.settle(source.dataDir)
  const startedAt = performance.now()
  await daemon.run(source.dataDir, { port: line.port, options })
  const seconds = (performance.now() - startedAt) / 1000
  bench.workspace.leave(dir, source.objects)
  return said(bench, ['rsync', ...options].join(' '), { seconds, bytes: line.bytesToTarget })
}

function said(bench: Bench, who: string, copied: Copied): Copied {
  bench.say(`${who}: ${copied.seconds.toFixed(2)} s, ${(copied.bytes / 1e6).toFixed(1)} MB`)
  return copied
}
