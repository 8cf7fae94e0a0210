/** What so many libraries cost when nothing changes in them: the first copy once, then sweeps and starts. */

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { openCatalog } from '../src/shared/catalog/open-catalog.js'
import { silentLog } from '../src/shared/log.js'
import { testDatabase } from '../test/support/sides.js'
import { databasePath } from './data/source.js'
import { makeLibraries } from './data/many-libraries.js'
import { agentPid, backupPid, copyAll, layOurs, synchronized, sweepMs } from './ours.js'
import { median } from './stats.js'
import { peakMb } from './usage.js'
import type { DatabaseConfig } from '../src/shared/catalog/database-config.js'
import type { Engine } from '../test/support/sides.js'
import type { Pair } from '../test/support/pair.js'
import type { Bench } from './bench.js'

const SWEEPS_PER_RUN = 3
/** A server of that size has memory for its rows: the default of our tests is made for small ones. */
const ARGS = ['--log-bin', '--binlog-format=ROW', '--server-id=1', '--innodb-buffer-pool-size=256M']

export interface LibrariesCost {
  readonly libraries: number
  readonly firstCopySeconds: number
  readonly sweepMs: number
  readonly readySeconds: number
  readonly agentMb: number
  readonly backupMb: number
}

export async function librariesCost(bench: Bench, engine: Engine, libraries: number): Promise<LibrariesCost> {
  await using stack = new AsyncDisposableStack()
  const primary = stack.use(await testDatabase(engine, engine === 'mysql' ? ARGS : undefined))
  const backup = stack.use(await testDatabase(engine, engine === 'mysql' ? ARGS : undefined))
  const dataDir = await makeData(bench, primary.database, libraries)
  const side = ({ database }: typeof primary) => (database ? { database } : {})
  const pair = stack.use(await layOurs({ dataDir, primary: side(primary), backup: side(backup) }))
  stack.defer(() => void bench.workspace.keep(pair.backup.dataDir))
  const { seconds } = await copyAll(pair)
  bench.say(`${libraries} libraries, ${engine}: first copy ${seconds.toFixed(1)} s`)
  return { libraries, firstCopySeconds: seconds, ...(await atRest(pair, libraries, bench.settings.runs)) }
}

async function makeData(bench: Bench, database: DatabaseConfig | undefined, libraries: number): Promise<string> {
  const dataDir = join(bench.workspace.fresh('source'), 'seafile-data')
  for (const name of ['storage', 'tmpfiles']) mkdirSync(join(dataDir, name), { recursive: true })
  const used: DatabaseConfig = database ?? { type: 'sqlite', path: databasePath(dataDir) }
  await using _tables = await openCatalog(used, silentLog, { create: true })
  await makeLibraries(dataDir, used, libraries)
  return dataDir
}

/** Memory is that of a backup which started with all of them known, and has swept. */
async function atRest(pair: Pair, libraries: number, runs: number) {
  const [ready, sweeps]: [number[], number[]] = [[], []]
  for (let run = 0; run < runs; run++) {
    await pair.backup.process?.stop()
    const startedAt = performance.now()
    await pair.startBackup()
    ready.push((performance.now() - startedAt) / 1000)
    await synchronized(pair, libraries)
    for (let n = 0; n < SWEEPS_PER_RUN; n++) sweeps.push(await sweepMs(pair))
  }
  return {
    sweepMs: median(sweeps),
    readySeconds: median(ready),
    agentMb: peakMb(agentPid(pair)),
    backupMb: peakMb(backupPid(pair)),
  }
}
