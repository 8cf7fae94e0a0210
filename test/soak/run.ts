/**
 * `npm run soak`: hours of steady commits with a kill every two minutes, to see what grows that should not.
 *
 *   npm run soak -- [--hours 2] [--rate 20] [--libraries 500] [--kill-every 120] [--row-every 600] [--engine mysql|sqlite]
 *                   [--seed N]
 *
 * A row of the table is one stretch of time: the most memory and open files of each daemon in it, what the
 * state database holds without the head log (which keeps every head by design), temp files, and how long commits
 * took to be durable heads on the backup. Commits that met a kill are timed apart. At the end everything settles,
 * both sides are compared, and the table is judged: what is higher at the end of its second half than at its
 * beginning (of p99: in the second half than in the first) by more than a tenth and a little is named, and the exit code
 * is 1.
 */

import { parseArgs } from 'node:util'
import { setTimeout as delay } from 'node:timers/promises'
import { table } from '../../bench/stats.js'
import { fixturesMissing, referenceCheck } from '../support/fixtures.js'
import { Pair } from '../support/pair.js'
import { figures } from '../support/replica.js'
import { testDatabase } from '../support/sides.js'
import { Random } from '../kinds/random.js'
import { Arrivals } from './arrivals.js'
import { Gauge, growth } from './gauge.js'
import { Load } from './load.js'
import type { TestDatabase } from '../support/sides.js'
import type { Row } from './gauge.js'

const say = (text: string): void => void process.stdout.write(`${text}\n`)
const seconds = (since: number): number => (performance.now() - since) / 1000

/** The load may be behind its plan by so much; what is beyond is left out. */
const BEHIND_MS_MAX = 1_000

interface Options {
  readonly hours: number
  readonly rate: number
  readonly libraries: number
  readonly killEvery: number
  readonly rowEvery: number
  readonly engine: 'mysql' | 'sqlite'
  readonly seed: number
}

function options(): Options {
  const text = (given: string) => ({ type: 'string' as const, default: given })
  const { values } = parseArgs({
    options: {
      hours: text('2'),
      rate: text('20'),
      libraries: text('500'),
      'kill-every': text('120'),
      'row-every': text('600'),
      engine: text('mysql'),
      seed: text(String(Math.floor(Math.random() * 1e9))),
    },
  })
  return {
    hours: Number(values.hours),
    rate: Number(values.rate),
    libraries: Number(values.libraries),
    killEvery: Number(values['kill-every']),
    rowEvery: Number(values['row-every']),
    engine: values.engine === 'sqlite' ? 'sqlite' : 'mysql',
    seed: Number(values.seed),
  }
}

async function main(): Promise<void> {
  const soak = options()
  say(`soak: ${JSON.stringify(soak)}`)
  await using theirs = await testDatabase(soak.engine)
  await using ours = await testDatabase(soak.engine)
  const side = ({ database }: TestDatabase) => (database ? { database } : {})
  await using pair = await Pair.start({ primary: side(theirs), backup: side(ours), sweepHours: 0.1 })
  const random = new Random(soak.seed)
  const load = await Load.create(pair, soak.libraries, random)
  await pair.settle()
  say(`${soak.libraries} libraries are synchronized; ${soak.rate} commits/s from now on`)
  say(Gauge.columns.join('  '))

  const rows = await run(pair, ours, load, soak, random)
  const problems = [...growth(rows), ...(await differences(pair))]
  for (const problem of problems) say(`VIOLATION ${problem}`)
  say(`${load.commits} commits, ${problems.length} violations`)
  process.exitCode = problems.length === 0 ? 0 : 1
}

async function run(pair: Pair, ours: TestDatabase, load: Load, soak: Options, random: Random): Promise<Row[]> {
  await using arrivals = new Arrivals(pair.backup.database)
  using gauge = new Gauge(pair, arrivals)
  const rows: Row[] = []
  const startedAt = performance.now()
  let nextKill = soak.killEvery
  let nextRow = soak.rowEvery
  let killing: Promise<unknown> = Promise.resolve()
  let nextCommit = startedAt
  while (seconds(startedAt) < soak.hours * 3600) {
    const { repo, head, at } = await load.commit()
    arrivals.expect(repo, head, at)
    if (soak.killEvery > 0 && seconds(startedAt) > nextKill) {
      nextKill += soak.killEvery
      killing = killOne(pair, ours, arrivals, random) // the load goes on meanwhile
    }
    if (seconds(startedAt) > nextRow) {
      nextRow += soak.rowEvery
      rows.push(gauge.row(seconds(startedAt)))
      say((rows.at(-1)?.cells ?? []).join('  '))
    }
    // steady: what a slow moment held up is not made up for in a burst, which would be another test
    nextCommit = Math.max(nextCommit + 1000 / soak.rate, performance.now() - BEHIND_MS_MAX)
    await delay(Math.max(0, nextCommit - performance.now()))
  }
  await killing
  await arrivals.all()
  say(
    table(
      Gauge.columns,
      rows.map(({ cells }) => cells),
    ),
  )
  return rows
}

async function killOne(pair: Pair, ours: TestDatabase, arrivals: Arrivals, random: Random): Promise<void> {
  const server = ours.server
  const victims = ['backup', 'agent', ...(server ? ['database'] : [])] as const
  const victim = victims[random.below(victims.length)]
  arrivals.disturbed()
  if (victim === 'backup') {
    await pair.backup.process?.kill()
    await pair.startBackup()
  } else if (victim === 'agent') {
    await pair.primary.process?.kill()
    await pair.startPrimary()
  } else {
    await server?.kill()
    await server?.start()
  }
  arrivals.mended()
}

/** Both sides, when nothing moves any more; by the independent reader where it is here. */
async function differences(pair: Pair): Promise<string[]> {
  await pair.settle()
  const { counts, libraries } = await pair.status()
  const wrong = libraries.filter(({ state }) => state !== 'synchronized').map(l => `${l.id} is ${l.state}`)
  if (counts.total === 0) wrong.push('nothing is known to the backup')
  const [theirs, ours] = [await pair.heads('primary'), await pair.heads('backup')]
  for (const [repo, head] of theirs) if (ours.get(repo) !== head) wrong.push(`${repo}: the heads differ`)
  if (fixturesMissing()) return wrong
  const read = async (one: typeof pair.primary) =>
    new Map((await referenceCheck(one.dataDir, one.database)).libraries.map(library => [library.id, figures(library)]))
  const [there, here] = [await read(pair.primary), await read(pair.backup)]
  for (const [id, expected] of there)
    if (JSON.stringify(here.get(id)) !== JSON.stringify(expected)) wrong.push(`${id}: the independent reader differs`)
  return wrong
}

await main()
