/** Both daemons, spoken to by everybody who means harm, while real commits are made; looked at after each stretch. */

import { setTimeout as delay } from 'node:timers/promises'
import { CopyCheck } from '../kinds/verify.js'
import { Random } from '../kinds/random.js'
import { Pair } from '../support/pair.js'
import { agents } from './agent-talk.js'
import { Tally } from './answers.js'
import { LyingPrimary, SpoilingLine } from './lies.js'
import { commander, inputsFor, signedAsker, stranger } from './talk.js'
import { Watch, growthIn } from './watch.js'
import type { RepoId } from '../../src/shared/ids.js'
import type { Address, Speaker } from './talk.js'

export interface ProtocolOptions {
  readonly stretches: number
  readonly stretchSeconds: number
  readonly seed: number
  readonly say: (line: string) => void
}

const LIBRARIES = 6
const COMMIT_EVERY_MS = 250
/** Between two cases of one speaker: daemons are to work meanwhile, not only to refuse. */
const PAUSE_MS = 10
const SWEEP_HOURS = 0.005

/** What was wrong, a sentence each. */
export async function fuzzProtocol({ stretches, stretchSeconds, seed, say }: ProtocolOptions): Promise<string[]> {
  await using pair = await Pair.start({ sweepHours: SWEEP_HOURS })
  const random = new Random(seed)
  const tally = new Tally()
  const load = await Load.start(pair, random)
  await pair.settle()
  const [agentPort, backupPort] = [await portOf(pair, 'primary'), await portOf(pair, 'backup')]
  const speakers = speakersFor(pair, { agentPort, backupPort, repos: load.repos, seed })
  const answersLine = new SpoilingLine('answers', new Random(seed + 1), tally)
  const eventsLine = new SpoilingLine('events', new Random(seed + 2), tally)
  pair.primary.relay.roughness = direction => (direction === 'fromTarget' ? answersLine.through() : undefined)
  pair.backup.relay.roughness = direction => (direction === 'toTarget' ? eventsLine.through() : undefined)
  await using liar = await LyingPrimary.start(agentPort, new Random(seed + 3), tally)
  using watch = new Watch(pair)
  const check = new CopyCheck(pair.backup.dataDir, pair.backup.database)
  const problems: string[] = []
  say('stretch  cases  commits  agent MB  backup MB  agent files  backup files')
  for (let n = 0; n < stretches; n++) {
    const lies = n % 2 === 1
    pair.primary.relay.target = lies ? liar.port : agentPort
    answersLine.on = eventsLine.on = !lies
    cutAndMend(pair)
    await stretch(stretchSeconds, [
      ...speakers.map((speaker, i) => cases(speaker, new Random(seed + 10 * n + i), tally)),
      () => load.commit(),
    ])
    answersLine.on = eventsLine.on = false
    pair.primary.relay.target = agentPort
    cutAndMend(pair)
    problems.push(...(await judge(pair, check, n === stretches - 1)).map(problem => `stretch ${n + 1}: ${problem}`))
    const { rss, files } = watch.row()
    say(
      [
        n + 1,
        tally.of('cases'),
        load.commits,
        rss.primary.toFixed(0),
        rss.backup.toFixed(0),
        files.primary,
        files.backup,
      ].join('  '),
    )
  }
  for (const line of tally.lines()) say(line)
  say(`  ${String(watch.logLines).padStart(8)}  log lines`)
  return [...problems, ...watch.problems, ...growthIn(watch.rows), ...tally.uncoded]
}

/** What was spoilt on the way may have left connections that wait for the rest of an answer. */
function cutAndMend(pair: Pair): void {
  for (const { relay } of [pair.primary, pair.backup]) {
    relay.cut()
    relay.mend()
  }
}

/** The one that the daemon itself listens on, not that of the relay before it. */
export async function portOf(pair: Pair, role: 'primary' | 'backup'): Promise<number> {
  const [msg, key] = role === 'primary' ? ['primary agent ready', 'api'] : ['backup ready', 'events']
  return Number(new URL(String((await pair[role].process?.logged(msg))?.[key])).port)
}

interface Stage {
  readonly agentPort: number
  readonly backupPort: number
  readonly repos: readonly RepoId[]
  readonly seed: number
}

function speakersFor(pair: Pair, { agentPort, backupPort, repos, seed }: Stage): Speaker[] {
  const inputs = inputsFor(repos, seed)
  const at = (port: number): Address => ({ port, host: '127.0.0.1' })
  const control = { path: pair.socketPath }
  return [
    stranger('agent', at(agentPort)),
    signedAsker(at(agentPort), inputs),
    signedAsker(at(agentPort), inputs),
    stranger('backup', at(backupPort)),
    agents(at(backupPort), inputs),
    agents(at(backupPort), inputs),
    stranger('control', control),
    commander(control, inputs),
  ]
}

const cases = (speaker: Speaker, random: Random, tally: Tally) => async () => {
  await speaker.speak(random, tally)
  tally.count('cases')
  tally.count(`cases of ${speaker.name}`)
  await delay(PAUSE_MS)
}

/** Each does one thing after the other until the time is over. */
async function stretch(seconds: number, acts: readonly (() => Promise<unknown>)[]): Promise<void> {
  const end = performance.now() + seconds * 1_000
  await Promise.all(
    acts.map(async act => {
      while (performance.now() < end) await act()
    }),
  )
}

/** Real work in the background: a few libraries that change all the time. */
class Load {
  commits = 0

  private constructor(
    private readonly pair: Pair,
    private readonly random: Random,
    readonly repos: readonly RepoId[],
  ) {}

  static async start(pair: Pair, random: Random): Promise<Load> {
    const writer = await pair.writer()
    const repos: RepoId[] = []
    for (let n = 0; n < LIBRARIES; n++)
      repos.push(await writer.createLibrary({ name: `Library ${n}`, owner: 'jo@example.com' }))
    const load = new Load(pair, random, repos)
    for (let n = 0; n < 3 * LIBRARIES; n++) await load.commit()
    return load
  }

  async commit(): Promise<void> {
    const writer = await this.pair.writer()
    const repo = this.random.pick(this.repos) as RepoId
    const path = `/folder ${this.random.below(4)}/file ${this.random.below(20)}.txt`
    const content = this.random.bytes(this.random.chance(0.05) ? 400_000 : this.random.below(5_000))
    await writer.commit(repo, [{ op: 'put', path, content }])
    this.commits += 1
    await delay(COMMIT_EVERY_MS)
  }
}

/** When nobody disturbs any more: every library here as there, nothing damaged, nothing accepted as lost. */
async function judge(pair: Pair, check: CopyCheck, isLast: boolean): Promise<string[]> {
  const theirs = await pair.heads('primary')
  await pair.until('synchronized', async () => {
    await pair.sync(null)
    const { libraries, counts, primary } = await pair.status()
    if (primary.problem || counts.waiting > 0 || counts.syncing > 0) return false
    return libraries.every(({ id, state }) => state === 'synchronized' || !theirs.has(id as RepoId))
  })
  const ours = await pair.heads('backup')
  const { libraries } = await pair.status()
  if (isLast) check.forget()
  return [
    ...[...theirs].filter(([repo, head]) => ours.get(repo) !== head).map(([repo]) => `${repo}: the heads differ`),
    ...[...ours.keys()].filter(repo => !theirs.has(repo)).map(repo => `${repo} is here and was never there`),
    ...libraries.filter(({ holes }) => holes > 0).map(({ id, holes }) => `${id} has ${holes} holes`),
    ...(await check.broken()),
  ]
}
