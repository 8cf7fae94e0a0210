/**
 * `npm run test:kinds`: random libraries of every kind, random operations, and daemons killed among them.
 *
 *   npm run test:kinds -- [--seed N] [--seeds 1] [--libraries 60] [--operations 2000] [--engine sqlite|mysql]
 *
 * At random instants an independent check reads the backup: no head may name
 * an object that is absent. At the end every library equals the primary, or
 * failed for a reason that was planted; and what failed obeys `--force`.
 */

import { parseArgs } from 'node:util'
import { fixturesMissing, referenceCheck } from '../support/fixtures.js'
import { Pair } from '../support/pair.js'
import { figures } from '../support/replica.js'
import { ServerActs } from '../support/server-acts.js'
import { testDatabase } from '../support/sides.js'
import { Random } from './random.js'
import { CopyCheck, headsIn } from './verify.js'
import { World } from './world.js'
import type { LibraryStatus } from '../../src/shared/wire/control-messages.js'
import type { Engine } from '../support/sides.js'
import type { Played, Reason } from './world.js'

const INSTANTS = 100
/** Of a daemon, in operations. */
const KILL_EVERY = 80

interface Options {
  readonly libraries: number
  readonly operations: number
  readonly engine: Engine
}

const say = (text: string): void => void process.stdout.write(`${text}\n`)

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string' },
      seeds: { type: 'string', default: '1' },
      libraries: { type: 'string', default: '60' },
      operations: { type: 'string', default: '2000' },
      engine: { type: 'string', default: 'sqlite' },
    },
  })
  const first = Number(values.seed ?? Math.floor(Math.random() * 1e9))
  const options = {
    libraries: Number(values.libraries),
    operations: Number(values.operations),
    engine: values.engine === 'mysql' ? ('mysql' as const) : ('sqlite' as const),
  }
  let violations = 0
  for (let n = 0; n < Number(values.seeds); n++) {
    const found = await play(first + n, options)
    violations += found.length
    for (const violation of found) say(`  VIOLATION ${violation}`)
  }
  say(`${values.seeds} runs, ${violations} violations`)
  process.exitCode = violations === 0 ? 0 : 1
}

/** One run. What was wrong, a sentence each. */
async function play(seed: number, options: Options): Promise<string[]> {
  const startedAt = performance.now()
  await using theirs = await testDatabase(options.engine)
  await using ours = await testDatabase(options.engine)
  const side = ({ database }: typeof theirs) => (database ? { database } : {})
  await using pair = await Pair.start({ primary: side(theirs), backup: side(ours) })
  const random = new Random(seed)
  const acts = new ServerActs(pair.primary.dataDir, pair.primary.database)
  const world = new World(await pair.writer(), acts, random)
  await world.populate(options.libraries)
  const check = new CopyCheck(pair.backup.dataDir, pair.backup.database)

  const violations: string[] = []
  const instants = new Set(Array.from({ length: INSTANTS }, () => random.below(options.operations)))
  let kills = 0
  for (let n = 0; n < options.operations; n++) {
    const operation = await world.step()
    if (random.below(KILL_EVERY) === 0) kills += await killOne(pair, random)
    if (!instants.has(n)) continue
    const headAlone = (repo: string) => world.isVirtual(repo) || world.owesHeadAlone(repo)
    for (const problem of await check.broken({ headAlone }))
      violations.push(`after operation ${n} (${operation}): ${problem}`)
  }
  await world.look()
  await settle(pair)
  violations.push(...(await judge(pair, world, check)))
  violations.push(...(await forceAll(pair, world, check)))
  for (const { repo, kind, origin, story } of world.libraries)
    if (violations.some(violation => violation.includes(repo)))
      say(`  ${kind} ${repo} of ${origin}: ${story.join(', ')}`)
  const done = [...world.done].map(([name, count]) => `${name} ${count}`).join(', ')
  const seconds = Math.round((performance.now() - startedAt) / 1000)
  say(`seed ${seed} (${options.engine}): ${violations.length} violations, ${kills} kills, ${seconds} s; ${done}`)
  return violations
}

async function killOne(pair: Pair, random: Random): Promise<number> {
  if (random.chance(0.6)) {
    await pair.backup.process?.kill()
    await pair.startBackup()
  } else {
    await pair.primary.process?.kill()
    await pair.startPrimary()
  }
  return 1
}

/** Nothing waits or is under way, twice in a row with a sweep between. */
async function settle(pair: Pair): Promise<void> {
  for (let n = 0; n < 2; n++) {
    await pair.until('quiet', async () => {
      await pair.sync(null)
      const { counts, libraries, primary } = await pair.status()
      if (primary.problem || counts.waiting > 0 || counts.syncing > 0) return false
      return !libraries.some(({ failure }) => failure?.retrying)
    })
  }
}

async function judge(pair: Pair, world: World, check: CopyCheck): Promise<string[]> {
  check.forget()
  const headAlone = (repo: string) => world.owesHeadAlone(repo) || (world.isVirtual(repo) && !world.isLive(repo))
  const violations = await check.broken({ headAlone })
  // a hint that came late makes us look once more: that is no lie, unless it never ends
  await pair.until('quiet again', async () => (await pair.status()).counts.syncing === 0)
  const { libraries } = await pair.status()
  const states = new Map(libraries.map(library => [library.id, library]))
  const theirs = await headsIn(world.acts)
  const differs = await differencesByReference(pair)
  for (const played of world.libraries) {
    const lenient = played.planted.size > 0 || world.originWaits(played)
    const why = judgeOne(played, states.get(played.repo), theirs.get(played.repo), lenient ? () => '' : differs)
    if (why !== null) violations.push(`${played.kind} ${played.repo}: ${why}`)
  }
  return violations
}

function judgeOne(
  played: Played,
  state: LibraryStatus | undefined,
  head: string | undefined,
  differs: (repo: string) => string,
): string | null {
  if (!played.live) return !state || state.deletedOnPrimary ? null : 'is gone from the primary, and is not shown so'
  if (!state) return 'is not known'
  if (state.failure) {
    if (played.planted.has(state.failure.code as Reason)) return null
    return `failed with ${state.failure.code}, which nobody planted: ${state.failure.message}`
  }
  if (state.state !== 'synchronized') return `is ${state.state}`
  if (state.head !== head) return `is called synchronized at ${state.head}, the primary is at ${head}`
  const difference = differs(played.repo)
  return difference === '' ? null : `is called synchronized and differs from the primary in ${difference}`
}

/** By the independent reader, on both sides: what it finds different of a library. Where it is not here, nothing. */
async function differencesByReference(pair: Pair): Promise<(repo: string) => string> {
  if (fixturesMissing()) return () => ''
  const now = Math.floor(Date.now() / 1000)
  const read = async (side: 'primary' | 'backup') => {
    const { libraries } = await referenceCheck(pair[side].dataDir, pair[side].database, now)
    return new Map(libraries.map(library => [library.id, figures(library) as Record<string, unknown>]))
  }
  const [theirs, ours] = [await read('primary'), await read('backup')]
  return repo => {
    const [there, here] = [theirs.get(repo) ?? {}, ours.get(repo) ?? {}]
    const other = Object.keys(there).filter(figure => JSON.stringify(there[figure]) !== JSON.stringify(here[figure]))
    return other
      .map(figure => `${figure}: ${JSON.stringify(there[figure])} there, ${JSON.stringify(here[figure])} here`)
      .join('; ')
      .slice(0, 600)
  }
}

/** After the operator's word every live library is at the primary's head, and no hole is hidden. */
async function forceAll(pair: Pair, world: World, check: CopyCheck): Promise<string[]> {
  const before = await pair.status()
  for (const repo of before.failed) await pair.sync(repo, true)
  const violations: string[] = []
  const theirs = await headsIn(world.acts)
  const { libraries } = await pair.status()
  const holes = new Map<string, Set<string>>()
  for (const library of libraries) {
    if (library.skipped.length > 0) holes.set(library.id, new Set(library.skipped.map(({ id }) => id)))
    if (library.deletedOnPrimary || !before.failed.includes(library.id)) continue
    const headCommitLost = library.failure?.code.startsWith('OBJECT_') ?? false
    if (library.head !== theirs.get(library.id) && !headCommitLost)
      violations.push(`${library.id} after sync --force: at ${library.head}, the primary at ${theirs.get(library.id)}`)
  }
  const headAlone = (repo: string) => world.owesHeadAlone(repo) || (world.isVirtual(repo) && !world.isLive(repo))
  violations.push(...(await check.broken({ excused: holes, headAlone })))
  return violations
}

await main()
