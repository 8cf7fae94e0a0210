/** A sweep of 10,000 and of 100,000 libraries in which nothing changed, on both kinds of database; and rsync, which has S1 to look at. */

import { mariadbInstalled } from '../../test/support/mariadb.js'
import { librariesCost } from '../libraries.js'
import { RsyncDaemon } from '../peers/rsync-daemon.js'
import { isInstalled } from '../programs.js'
import { median } from '../stats.js'
import type { Bench, Measurement } from '../bench.js'

const LIBRARIES = [10_000, 100_000]
const ENGINES = { sqlite: 'SQLite', mysql: 'MariaDB' } as const

export const sweep: Measurement = {
  name: 'sweep',
  about: 'sweep and start with 10,000 and 100,000 libraries, nothing changed',
  async run(bench) {
    const rows: string[][] = []
    for (const count of LIBRARIES.map(libraries => Math.round(libraries * bench.settings.scale))) {
      for (const engine of ['sqlite', 'mysql'] as const) {
        if (engine === 'mysql' && !mariadbInstalled()) continue
        rows.push(await row(bench, engine, count))
      }
    }
    if (isInstalled('rsync')) rows.push(await rsyncRow(bench))
    return {
      title: 'Nothing changed: sweep and start with many libraries',
      tables: [{ header: ['libraries', 'sweep s', 'start to ready s', 'agent MB', 'backup MB', 'first copy s'], rows }],
      notes: [
        'Each library has one empty commit. A sweep is from asking the primary until every library is compared; no ' +
          'object is touched. MB is the most that was ever resident: of the agent since before the first copy, of the ' +
          'backup since its last start.',
      ],
    }
  },
}

async function row(bench: Bench, engine: keyof typeof ENGINES, libraries: number): Promise<string[]> {
  const cost = await librariesCost(bench, engine, libraries)
  const { sweepMs, readySeconds } = cost
  bench.say(`${libraries} libraries, ${engine}: sweep ${sweepMs.toFixed(0)} ms, ready in ${readySeconds.toFixed(2)} s`)
  return [
    `${libraries.toLocaleString('en')}, ${ENGINES[engine]}`,
    (cost.sweepMs / 1000).toFixed(3),
    cost.readySeconds.toFixed(2),
    cost.agentMb.toFixed(0),
    cost.backupMb.toFixed(0),
    cost.firstCopySeconds.toFixed(1),
  ]
}

async function rsyncRow(bench: Bench): Promise<string[]> {
  const { dataDir, objects, repos } = await bench.small()
  await using daemon = await RsyncDaemon.start(bench.workspace.fresh('peer'))
  await daemon.run(dataDir)
  const seconds: number[] = []
  for (let run = 0; run < bench.settings.runs; run++) {
    const startedAt = performance.now()
    await daemon.run(dataDir)
    seconds.push((performance.now() - startedAt) / 1000)
  }
  const what = `rsync: ${objects.toLocaleString('en')} objects of ${repos.length}`
  return [what, median(seconds).toFixed(3), '', '', '', '']
}
