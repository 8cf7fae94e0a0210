/** How time and memory follow the number of objects and of libraries: what must be straight, and what must be flat. */

import { join } from 'node:path'
import { openCatalogReader } from '../../src/shared/catalog/open-catalog.js'
import { silentLog } from '../../src/shared/log.js'
import { arrival, Committing } from '../committing.js'
import { Seeded } from '../data/seeded.js'
import { smallFile, smallObjects } from '../data/small-objects.js'
import { librariesCost } from '../libraries.js'
import { copyAll, layOurs, sweepMs } from '../ours.js'
import { median } from '../stats.js'
import { plot } from '../svg.js'
import { measured } from '../usage.js'
import { verifyAll } from './verify.js'
import type { RepoId } from '../../src/shared/ids.js'
import type { Pair } from '../../test/support/pair.js'
import type { Bench, Measurement } from '../bench.js'
import type { Source } from '../data/source.js'
import type { LibrariesCost } from '../libraries.js'
import type { Curve } from '../svg.js'

const OBJECTS = [1_000, 10_000, 100_000]
const OBJECTS_LONG = 1_000_000
/** What `smallObjects` makes at scale 1, about. */
const OBJECTS_AT_SCALE_1 = 100_000
const LIBRARIES = [100, 1_000, 10_000, 100_000]
/** Ten objects each. */
const CHANGES = 5
const FILES_PER_CHANGE = 3

interface ObjectsCost {
  readonly objects: number
  readonly firstCopySeconds: number
  readonly changeMs: number
  readonly sweepMs: number
  readonly readySeconds: number
  readonly verifySeconds: number
  readonly agentMb: number
  readonly backupMb: number
}

export const objectsCurve: Measurement = {
  name: 'objects',
  about: 'cost curve over 1,000 to 100,000 objects, with --long a million',
  async run(bench) {
    const costs: ObjectsCost[] = []
    const counts = bench.settings.long ? [...OBJECTS, OBJECTS_LONG] : OBJECTS
    for (const count of counts) costs.push(await objectsCost(bench, count * bench.settings.scale))
    const curve = (name: string, of: (cost: ObjectsCost) => number): Curve => ({
      name,
      points: costs.map(cost => [cost.objects, of(cost)]),
    })
    return {
      title: 'Cost curve: objects',
      tables: [{ header: HEADER, rows: costs.map(objectsRow) }],
      picture: secondsOver('objects', [
        curve('first copy', cost => cost.firstCopySeconds),
        curve('verify --read-data', cost => cost.verifySeconds),
        curve('start to ready', cost => cost.readySeconds),
        curve('ten new objects', cost => cost.changeMs / 1000),
        curve('sweep', cost => cost.sweepMs / 1000),
      ]),
    }
  },
}

export const librariesCurve: Measurement = {
  name: 'libraries',
  about: 'cost curve over 100 to 100,000 libraries',
  async run(bench) {
    const costs: LibrariesCost[] = []
    for (const count of LIBRARIES) {
      costs.push(await librariesCost(bench, 'sqlite', Math.max(1, Math.round(count * bench.settings.scale))))
    }
    const curve = (name: string, of: (cost: LibrariesCost) => number): Curve => ({
      name,
      points: costs.map(cost => [cost.libraries, of(cost)]),
    })
    return {
      title: 'Cost curve: libraries, SQLite',
      tables: [
        {
          header: ['libraries', 'first copy s', 'sweep ms', 'start to ready s', 'agent MB', 'backup MB'],
          rows: costs.map(cost => [
            cost.libraries.toLocaleString('en'),
            cost.firstCopySeconds.toFixed(2),
            cost.sweepMs.toFixed(0),
            cost.readySeconds.toFixed(2),
            cost.agentMb.toFixed(0),
            cost.backupMb.toFixed(0),
          ]),
        },
      ],
      picture: secondsOver('libraries', [
        curve('first copy', cost => cost.firstCopySeconds),
        curve('start to ready', cost => cost.readySeconds),
        curve('sweep', cost => cost.sweepMs / 1000),
      ]),
    }
  },
}

const secondsOver = (what: 'objects' | 'libraries', curves: readonly Curve[]) => ({
  name: what,
  svg: plot({ title: `Cost over the number of ${what}`, x: what, y: 'seconds', curves }),
})

const HEADER = [
  'objects',
  'first copy s',
  'ten new ms',
  'sweep ms',
  'start to ready s',
  'verify s',
  'agent MB',
  'backup MB',
]

const objectsRow = (cost: ObjectsCost): string[] => [
  cost.objects.toLocaleString('en'),
  cost.firstCopySeconds.toFixed(2),
  cost.changeMs.toFixed(0),
  cost.sweepMs.toFixed(0),
  cost.readySeconds.toFixed(2),
  cost.verifySeconds.toFixed(2),
  cost.agentMb.toFixed(0),
  cost.backupMb.toFixed(0),
]

async function objectsCost(bench: Bench, objects: number): Promise<ObjectsCost> {
  const source = await smallObjects(bench.workspace.fresh('source'), objects / OBJECTS_AT_SCALE_1)
  await using stack = new AsyncDisposableStack()
  const pair = stack.use(await layOurs({ dataDir: source.dataDir }))
  stack.defer(() => void bench.workspace.keep(pair.backup.dataDir))
  await bench.workspace.settle(source.dataDir)
  const { seconds, agent, backup } = await copyAll(pair)
  bench.say(`${source.objects} objects: first copy ${seconds.toFixed(2)} s`)
  const changeMs = await changed(pair, source)
  const sweeps = [await sweepMs(pair), await sweepMs(pair), await sweepMs(pair)]
  await pair.backup.process?.stop()
  const verified = await measured(() => verifyAll(join(pair.backup.dir, 'conf')))
  const { seconds: readySeconds } = await measured(async () => void (await pair.startBackup()))
  return {
    objects: source.objects,
    firstCopySeconds: seconds,
    changeMs,
    sweepMs: median(sweeps),
    readySeconds,
    verifySeconds: verified.seconds,
    agentMb: agent.peakMb,
    backupMb: backup.peakMb,
  }
}

async function changed(pair: Pair, { repos: [repo] }: Source): Promise<number> {
  const committing = await Committing.on(pair)
  const seeded = new Seeded('cost curve')
  await using here = await openCatalogReader(pair.backup.database, silentLog)
  const times: number[] = []
  for (let n = 0; n < CHANGES; n++) {
    const files = Array.from({ length: FILES_PER_CHANGE }, () => smallFile(seeded, 0))
    times.push(await arrival(await committing.commit(repo as RepoId, files), here))
  }
  return median(times)
}
