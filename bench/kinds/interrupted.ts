/** S2, killed when nine tenths of it have crossed the wire, and begun again: how much crosses it twice? */

import { setTimeout as delay } from 'node:timers/promises'
import { Relay } from '../../test/support/relay.js'
import { copyAll, expectEqualHeads, layOurs } from '../ours.js'
import { RsyncDaemon } from '../peers/rsync-daemon.js'
import { isInstalled, killed } from '../programs.js'
import { median } from '../stats.js'
import type { Bench, Measurement } from '../bench.js'
import type { Source } from '../data/source.js'

const KILLED_AT = 0.9
const LOOK_EVERY_MS = 1

interface Resumed {
  /** That had crossed when it was killed, and in the end. */
  readonly bytesBefore: number
  readonly bytes: number
  /** Of the second attempt, from the start of its process. */
  readonly seconds: number
}

export const interrupted: Measurement = {
  name: 's2-resume',
  about: 'first copy of S2, killed at 90 % and resumed',
  async run(bench) {
    const source = await bench.large()
    const ours: Resumed[] = []
    const rsync: Resumed[] = []
    for (let run = 0; run < bench.settings.runs; run++) {
      ours.push(await resumeOurs(bench, source))
      if (isInstalled('rsync')) rsync.push(await resumeRsync(bench, source))
    }
    const rows = [['ours', ...cells(source, ours)]]
    if (rsync.length > 0) rows.push(['rsync daemon', ...cells(source, rsync)])
    return {
      title: `S2, ${(source.bytes / 1e6).toFixed(0)} MB, killed when ${KILLED_AT * 100} % had crossed the wire`,
      tables: [{ header: ['', 'MB at the kill', 'MB in all', '% again', 's to resume'], rows }],
      notes: ['Again: what crossed the wire in both attempts, less the size of the data, as a share of it.'],
    }
  },
}

function cells(source: Source, runs: readonly Resumed[]): string[] {
  const megabytes = (of: (run: Resumed) => number) => (median(runs.map(of)) / 1e6).toFixed(0)
  const again = median(runs.map(({ bytes }) => (bytes - source.bytes) / source.bytes))
  return [
    megabytes(run => run.bytesBefore),
    megabytes(run => run.bytes),
    (100 * again).toFixed(1),
    median(runs.map(run => run.seconds)).toFixed(2),
  ]
}

async function resumeOurs({ workspace }: Bench, source: Source): Promise<Resumed> {
  await using pair = await layOurs({ dataDir: source.dataDir, relayed: true })
  const line = pair.primary.relay
  await workspace.settle(source.dataDir)
  const first = await pair.startBackup()
  while (first.running && line.bytesFromTarget < KILLED_AT * source.bytes) await delay(LOOK_EVERY_MS)
  await first.kill()
  const bytesBefore = line.bytesFromTarget
  const { seconds } = await copyAll(pair)
  await expectEqualHeads(pair)
  return { bytesBefore, bytes: line.bytesFromTarget, seconds }
}

async function resumeRsync({ workspace }: Bench, source: Source): Promise<Resumed> {
  const dir = workspace.fresh('peer')
  await using daemon = await RsyncDaemon.start(dir)
  await using line = await Relay.start()
  line.target = daemon.port
  await workspace.settle(source.dataDir)
  const first = daemon.start(source.dataDir, line.port)
  while (first.exitCode === null && line.bytesToTarget < KILLED_AT * source.bytes) await delay(LOOK_EVERY_MS)
  await killed(first)
  const bytesBefore = line.bytesToTarget
  const startedAt = performance.now()
  await daemon.run(source.dataDir, { port: line.port })
  const seconds = (performance.now() - startedAt) / 1000
  workspace.leave(dir, source.objects)
  return { bytesBefore, bytes: line.bytesToTarget, seconds }
}
