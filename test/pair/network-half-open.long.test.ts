/**
 * What takes a deadline of the sync line to be noticed, which is a minute: all cases wait at the same time.
 */

import { randomBytes } from 'node:crypto'
import t from 'tap'
import { runCommand } from '../support/command.js'
import { Pair } from '../support/pair.js'
import { sameBytes } from '../support/replica.js'
import { slowAfter } from '../support/rough-line.js'
import { filesBelow } from '../support/sides.js'
import type { RepoId } from '../../src/shared/ids.js'

const MB = 1024 * 1024
/** A few bytes more than the headers of any answer of the agent. */
const HEADERS_BYTES = 400

interface Case {
  readonly name: string
  /** The line goes bad in the middle of a pull; else while nothing is under way. */
  readonly whilePulling: boolean
  readonly spoil: (pair: Pair) => void
  readonly mend: (pair: Pair) => void
}

const CASES: readonly Case[] = [
  {
    name: 'sync line half-open while idle',
    whilePulling: false,
    spoil: pair => pair.primary.relay.lose(),
    mend: pair => pair.primary.relay.find(),
  },
  {
    name: 'sync line half-open in the middle of a pull',
    whilePulling: true,
    spoil: pair => pair.primary.relay.lose(),
    mend: pair => pair.primary.relay.find(),
  },
  {
    name: 'both lines half-open in the middle of a pull',
    whilePulling: true,
    spoil: pair => (pair.primary.relay.lose(), pair.backup.relay.lose()),
    mend: pair => (pair.primary.relay.find(), pair.backup.relay.find()),
  },
  {
    name: 'a primary whose answers trickle, one byte a second',
    whilePulling: false,
    spoil: pair => {
      pair.primary.relay.roughness = direction => (direction === 'fromTarget' ? slowAfter(HEADERS_BYTES, 1) : undefined)
      pair.primary.relay.resetAll()
    },
    mend: pair => {
      pair.primary.relay.roughness = () => undefined
    },
  },
]

/** Of what is wrong, what a person is shown; empty: all is well. */
async function complaints(pair: Pair): Promise<string[]> {
  const { overdue, primary } = await pair.status()
  return [...overdue.map(({ what }) => what), ...(primary.problem ? [primary.problem.code] : [])]
}

async function play({ name, whilePulling, spoil, mend }: Case): Promise<void> {
  await t.test(`network: ${name}: given up by its deadline, never called healthy, healed without a person`, async t => {
    await using pair = await Pair.start({ backup: { conf: ['rpo = 0.2'] } })
    const writer = await pair.writer()
    const repos: RepoId[] = []
    for (let n = 0; n < 40; n++) repos.push(await writer.createLibrary({ name: `${n}`, owner: 'jo@example.com' }))
    await pair.settle()
    const { relay } = pair.primary
    const from = relay.bytesFromTarget
    let spoilt = false
    const once = () => {
      if (spoilt) return
      spoilt = true
      spoil(pair)
    }
    if (whilePulling) relay.onBytes = total => total > from + 2 * MB && once()
    else once()
    const repo = repos[7] as RepoId
    const head = await writer.commit(repo, [{ op: 'put', path: '/film', content: randomBytes(8 * MB) }])
    await pair.until('spoilt', async () => spoilt)
    const spoiltAt = performance.now()

    await pair.until('overdue', async () => (await complaints(pair)).length > 0)
    t.equal((await runCommand(pair, 'status')).code, 3, `after ${seconds(spoiltAt)} s status says so`)
    await pair.until('given up', async () => (await pair.status()).primary.problem?.code === 'PRIMARY_UNREACHABLE')
    const { problem } = (await pair.status()).primary
    t.comment(`${name}: given up after ${seconds(spoiltAt)} s: ${problem?.message}`)
    t.equal((await runCommand(pair, 'status')).code, 3)
    t.not((await pair.heads('backup')).get(repo), head)

    mend(pair)
    const mendedAt = performance.now()
    await pair.settle()
    t.comment(`${name}: healed ${seconds(mendedAt)} s after the line was well again`)
    t.equal((await pair.heads('backup')).get(repo), head)
    await pair.until('well', async () => (await complaints(pair)).length === 0)
    t.equal((await runCommand(pair, 'status')).code, 0)
    await sameBytes(t, pair)
    t.strictSame(await filesBelow(`${pair.backup.dataDir}/tmpfiles`), [])
    t.notMatch(pair.backup.process?.text(), /"code":"INTERNAL"/)
    t.notMatch(pair.primary.process?.text(), /"code":"INTERNAL"/)
  })
}

const seconds = (from: number): string => ((performance.now() - from) / 1_000).toFixed(1)

async function largeBlocksAtALowRate(): Promise<void> {
  await t.test(
    'network: large blocks under a low max_rate come in time: what waits for its turn is not given up',
    async t => {
      await using pair = await Pair.start({ primary: { conf: ['max_rate = 120K'] } })
      await pair.settle()
      const writer = await pair.writer()
      // paid for at once it would come after 68 s of silence
      const repo = await writer.createLibrary({ name: 'Large', owner: 'jo@example.com' })
      await writer.commit(repo, [{ op: 'put', path: '/film', content: randomBytes(8 * MB) }])
      const { log = [] } = pair.backup.process ?? {}
      await pair.settle()
      t.strictSame(
        log.filter(line => line['code'] !== undefined),
        [],
        'no attempt failed',
      )
      await sameBytes(t, pair)
    },
  )
}

async function forgotten(): Promise<void> {
  await t.test(
    'network: a firewall forgets all connections in the middle of a pull: one deadline, not one for each of them',
    async t => {
      await using pair = await Pair.start()
      const writer = await pair.writer()
      const repo = await writer.createLibrary({ name: 'Film', owner: 'jo@example.com' })
      await pair.settle()
      await pair.sync(null)
      const { relay } = pair.primary
      const from = relay.bytesFromTarget
      relay.onBytes = total => {
        if (total < from + 2 * MB) return
        relay.onBytes = () => {}
        relay.lose()
        relay.find()
      }
      const { log = [] } = pair.backup.process ?? {}
      const before = log.length
      await writer.commit(repo, [{ op: 'put', path: '/film', content: randomBytes(8 * MB) }])
      await pair.settle()
      await sameBytes(t, pair)
      const deadlines = log.slice(before).filter(({ reason }) => /Timeout/.test(String(reason)))
      t.equal(deadlines.length, 1, deadlines.map(({ msg, reason }) => `${msg}: ${String(reason)}`).join('; '))
    },
  )
}

const OTHERS = { 'large blocks': largeBlocksAtALowRate, forgets: forgotten }
const wanted = process.argv[2] ?? ''
t.jobs = CASES.length + 2
await Promise.all([
  ...CASES.filter(({ name }) => name.includes(wanted)).map(play),
  ...Object.entries(OTHERS).flatMap(([name, test]) => (name.includes(wanted) ? [test()] : [])),
])
