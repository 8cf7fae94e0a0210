/** What a first copy takes from the primary under `max_cpu` and `max_rate`: each within 10 % is what is promised. */

import { drain } from '../drain.js'
import { copyAll, expectEqualHeads, layOurs } from '../ours.js'
import type { Bench, Measurement } from '../bench.js'
import type { Source } from '../data/source.js'
import type { Pair } from '../../test/support/pair.js'

const PERCENTS = [20, 50] as const
const MIB_PER_SECOND = 5
const MIB = 2 ** 20
const DRAIN_SECONDS = 20

interface Taken {
  readonly seconds: number
  readonly bytes: number
  readonly agentCpuSeconds: number
}

/** Who takes, of a primary whose agent is ready. */
type Taking = (pair: Pair, source: Source) => Promise<Taken>

/** All it can take at once: so that the agent is what would be waited for. */
const byReader: Taking = (pair, { repos }) => drain(pair, repos, DRAIN_SECONDS)

/** From its being ready, before which nothing is asked for, until every library is synchronized. */
const byBackup: Taking = async (pair, { bytes }) => {
  const { agent, seconds, readySeconds } = await copyAll(pair)
  await expectEqualHeads(pair)
  return { seconds: seconds - readySeconds, bytes, agentCpuSeconds: agent.cpuSeconds }
}

export const limits: Measurement = {
  name: 'limits',
  about: 'what a first copy of S1 takes from the primary under max_cpu and max_rate',
  async run(bench) {
    const small = await bench.small()
    const rows = [cpuRow('none', 'a reader', await takenUnder(bench, small, 'max_cpu = 0', byReader))]
    for (const percent of PERCENTS) {
      const line = `max_cpu = ${percent}`
      rows.push(cpuRow(percent, 'a reader', await takenUnder(bench, small, line, byReader)))
      rows.push(cpuRow(percent, 'a backup', await takenUnder(bench, small, line, byBackup)))
    }
    const line = `max_rate = ${MIB_PER_SECOND}M`
    rows.push(rateRow('a reader', await takenUnder(bench, small, line, byReader)))
    rows.push(rateRow('a backup', await takenUnder(bench, small, line, byBackup)))
    return {
      title: 'A first copy of S1 under the limits of the primary',
      tables: [{ header: ['', 'for', 'limit', 'measured', '% off', 's', 'CPU s', 'MiB'], rows }],
      notes: [
        'CPU is of the whole agent process. A reader takes what comes and keeps nothing; a backup may be slower than the limit.',
      ],
    }
  },
}

async function takenUnder({ workspace }: Bench, source: Source, line: string, take: Taking): Promise<Taken> {
  await workspace.settle(source.dataDir)
  await using pair = await layOurs({ dataDir: source.dataDir, primary: { conf: [line] } })
  return await take(pair, source)
}

const cpuRow = (limit: number | 'none', who: string, taken: Taken): string[] =>
  row('max_cpu, % of a core', who, limit, (100 * taken.agentCpuSeconds) / taken.seconds, taken)

const rateRow = (who: string, taken: Taken): string[] =>
  row('max_rate, MiB/s', who, MIB_PER_SECOND, taken.bytes / MIB / taken.seconds, taken)

const row = (what: string, who: string, limit: number | 'none', measured: number, taken: Taken): string[] => [
  what,
  who,
  String(limit),
  measured.toFixed(1),
  limit === 'none' ? '' : ((100 * measured) / limit - 100).toFixed(1),
  taken.seconds.toFixed(1),
  taken.agentCpuSeconds.toFixed(2),
  (taken.bytes / MIB).toFixed(1),
]
