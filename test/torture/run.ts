/**
 * `npm run torture`: daemons, databases and the command killed at random and at chosen steps, and a look at what is left.
 *
 *   npm run torture -- [--rounds 100] [--seed N] [--engine sqlite|mysql|both] [--keep] [--verbose]
 *
 * Each round ends with the backup killed and looked at cold (cold-copy.ts). At the end everything settles without kills
 * and must equal the primary. Exit code 1: something was found, or in 200 rounds or more a failpoint was never reached.
 * The seed plans the rounds; what two daemons and a disk do in between is theirs, so a run again is alike, not the same.
 */

import { parseArgs } from 'node:util'
import { Random } from '../kinds/random.js'
import { fixturesMissing, referenceCheck } from '../support/fixtures.js'
import { figures } from '../support/replica.js'
import { Torture } from './rounds.js'
import type { Engine } from '../support/sides.js'
import type { Round } from './rounds.js'
import type { Scene } from './scene.js'

/** From here on each failpoint must have been reached. */
const ROUNDS_FOR_COVERAGE = 200
const SAY_EVERY = 50
/** What stays wrong is found each round again. */
const PROBLEMS_SHOWN = 5

interface Options {
  readonly seed: number
  readonly rounds: number
  readonly keep: boolean
  /** A line for each round. */
  readonly verbose: boolean
}

interface Tally {
  rounds: number
  problems: number
}

let stopping = false

/** The first time after this round, with all that belongs to an end; then at once, and the daemons end with us. */
function stopSoon(): void {
  if (stopping) process.exit(1)
  stopping = true
}

const say = (text: string): void => void process.stdout.write(`${text}\n`)

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '100' },
      seed: { type: 'string' },
      engine: { type: 'string', default: 'sqlite' },
      keep: { type: 'boolean', default: false },
      verbose: { type: 'boolean', default: false },
    },
  })
  const { keep, verbose } = values
  const engines: readonly Engine[] =
    values.engine === 'both' ? ['sqlite', 'mysql'] : [values.engine === 'mysql' ? 'mysql' : 'sqlite']
  const seed = Number(values.seed ?? Math.floor(Math.random() * 1e9))
  let problems = 0
  for (const engine of engines) problems += await run(engine, { seed, rounds: Number(values.rounds), keep, verbose })
  process.exitCode = problems === 0 ? 0 : 1
}

/** How many things were wrong. */
async function run(engine: Engine, options: Options): Promise<number> {
  const { seed, rounds } = options
  const startedAt = performance.now()
  say(`${engine}: seed ${seed}, ${rounds} rounds`)
  const torture = await Torture.begin(engine, new Random(seed))
  const { scene, planner } = torture
  const tallies = new Map<string, Tally>()
  let [found, made] = [0, 0]
  try {
    for (let n = 1; n <= rounds && !stopping; n++) {
      const round = await torture.round()
      made = n
      found += round.problems.length
      count(tallies, round)
      if (round.problems.length > 0) report(n, round, options.keep ? scene.pair.dir : undefined)
      if (options.verbose) say(`${n} ${struck(round)}, after ${Math.round(performance.now() - startedAt)} ms`)
      if (n % SAY_EVERY === 0) say(progress(n, found, torture, startedAt))
    }
    const differences = await settle(scene)
    for (const difference of differences) say(`VIOLATION at the end: ${difference}`)
    found += differences.length
  } finally {
    await scene.close({ keep: options.keep && found > 0 })
  }
  printTables(tallies, planner.hits)
  const missed = made >= ROUNDS_FOR_COVERAGE ? planner.neverHit() : []
  for (const name of missed) say(`NEVER REACHED: ${name}`)
  const acts = [...scene.load.done].map(([act, times]) => `${act} ${times}`).join(', ')
  say(`load: ${acts}; refused ${scene.load.refused}`)
  say(`${engine}: seed ${seed}, ${made} rounds, ${found} violations, ${missed.length} failpoints never reached`)
  return found + missed.length
}

function count(tallies: Map<string, Tally>, { plan, hit, problems }: Round): void {
  const aimed = plan.aim !== undefined
  const name = aimed ? `${plan.blow}${hit === undefined ? ', missed' : ''}` : plan.blow
  const tally = tallies.get(name) ?? { rounds: 0, problems: 0 }
  tallies.set(name, { rounds: tally.rounds + 1, problems: tally.problems + problems.length })
}

function struck({ plan, hit }: Round): string {
  const at = plan.aim ? `, ${hit === undefined ? 'missed' : 'at'} "${plan.aim.nth} ${plan.aim.point}"` : ''
  return plan.blow + at
}

function report(n: number, round: Round, dir: string | undefined): void {
  const { problems } = round
  for (const problem of problems.slice(0, PROBLEMS_SHOWN)) say(`VIOLATION in round ${n} (${struck(round)}): ${problem}`)
  if (problems.length > PROBLEMS_SHOWN) say(`  and ${problems.length - PROBLEMS_SHOWN} more`)
  if (dir) say(`  kept: ${dir}`)
}

function progress(n: number, found: number, { planner, scene }: Torture, startedAt: number): string {
  const seconds = (performance.now() - startedAt) / 1000
  const reached = [...planner.hits.values()].filter(times => times > 0).length
  const acts = [...scene.load.done.values()].reduce((sum, times) => sum + times, 0)
  return `${n} rounds, ${found} violations, ${reached} of ${planner.hits.size} failpoints, ${acts} acts, ${(seconds / n).toFixed(2)} s a round`
}

function printTables(tallies: ReadonlyMap<string, Tally>, hits: ReadonlyMap<string, number>): void {
  say('\ndied                               rounds  violations')
  for (const [name, { rounds, problems }] of [...tallies].toSorted())
    say(`${name.padEnd(35)}${String(rounds).padStart(6)}${String(problems).padStart(12)}`)
  say('\ndied at the failpoint                                         times')
  for (const [name, times] of hits) say(`${name.padEnd(62)}${String(times).padStart(5)}`)
  say('')
}

/** Without kills, everything that the primary has arrives. What differs then, a sentence each. */
async function settle(scene: Scene): Promise<string[]> {
  await scene.load.stop()
  await scene.startAgent()
  await scene.startBackup()
  await scene.pair.settle()
  await scene.pair.sync(null) // rows that changed without a commit
  const differences: string[] = []
  const [theirs, ours] = [await scene.pair.heads('primary'), await scene.pair.heads('backup')]
  for (const [repo, head] of theirs)
    if (ours.get(repo) !== head) differences.push(`${repo} is at ${ours.get(repo)}, the primary at ${head}`)
  const { libraries } = await scene.pair.status()
  for (const { id, state, failure } of libraries)
    if (failure && state === 'failed') differences.push(`${id} failed: ${failure.message}`)
  scene.copy.forget()
  const { problems, temps } = await scene.lookCold()
  differences.push(...problems, ...temps.map(name => `temp file ${name} is left after a quiet end`))
  differences.push(...(await differencesByReference(scene)))
  say(`settled: ${theirs.size} libraries of the primary, ${ours.size} here`)
  return differences
}

/** By the reader that shares no code with us; where it is not here, nothing. */
async function differencesByReference({ pair }: Scene): Promise<string[]> {
  if (fixturesMissing()) return []
  const now = Math.floor(Date.now() / 1000)
  const read = async (side: 'primary' | 'backup') => {
    const { libraries } = await referenceCheck(pair[side].dataDir, pair[side].database, now)
    return new Map(libraries.map(library => [library.id, figures(library)]))
  }
  const [theirs, ours] = [await read('primary'), await read('backup')]
  const other = [...theirs].filter(([repo, there]) => JSON.stringify(there) !== JSON.stringify(ours.get(repo)))
  say(`the reference reader compared ${theirs.size} libraries, ${other.length} differ`)
  return other.map(([repo, there]) =>
    `${repo}: by the reference ${JSON.stringify(there)} there, ${JSON.stringify(ours.get(repo))} here`.slice(0, 900),
  )
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stopSoon)
await main()
