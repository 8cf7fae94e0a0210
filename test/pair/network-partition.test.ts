/** Lines that go silent without an end, and lines that break at any byte: noticed by a deadline, shown with a growing age, healed without a person. */

import { randomBytes } from 'node:crypto'
import t from 'tap'
import { runCommand } from '../support/command.js'
import { Pair } from '../support/pair.js'
import { sameBytes } from '../support/replica.js'
import { filesBelow } from '../support/sides.js'

const MB = 1024 * 1024

const connected = (pair: Pair) =>
  pair.until('connected', async () => Number.isInteger((await pair.status()).primary.agents[0]?.positionAgoMs))

/** However often an age was looked at, it did not go down by more than once: a last word was on its way. */
const isGrowing = (ages: readonly number[]): boolean =>
  ages.length > 3 && ages.filter((age, i) => age < Number(ages[i - 1])).length <= 1

t.test(
  'network: a half-open events line is ended by both sides, what it would have told is found, and its silence is no health',
  async t => {
    await using pair = await Pair.start({ backup: { conf: ['rpo = 0.2'] } })
    await connected(pair)
    await pair.settle()
    t.equal((await runCommand(pair, 'status')).code, 0)
    const agent = pair.primary.process

    pair.backup.relay.lose()
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Not announced', owner: 'jo@example.com' })
    const head = await writer.commit(repo, [{ op: 'put', path: '/a', content: Buffer.from('a') }])
    const positions: number[] = []
    await pair.until('ended by the backup', async () => {
      const { agents, agentsConnected } = (await pair.status()).primary
      for (const { positionAgoMs } of agents) positions.push(Number(positionAgoMs))
      return agentsConnected === 0
    })
    t.ok(isGrowing(positions) && Number(positions.at(-1)) > 10_000, `position of the agent: ${positions.at(-1)} ms old`)
    await pair.until('found by the sweep that followed', async () => (await pair.heads('backup')).get(repo) === head)
    const ended = () => agent?.log.find(line => /silent/.test(String(line['reason'])))
    await pair.until('ended by the agent', async () => ended() !== undefined)
    t.match(ended(), { code: 'BACKUP_UNREACHABLE' }, 'the agent ended its side, and calls it no defect of its own')

    await pair.until('overdue', async () => (await pair.status()).overdue.some(({ what }) => what === 'primary'))
    t.equal((await runCommand(pair, 'status')).code, 3, 'nothing is heard, and that is said')
    pair.backup.relay.find()
    await pair.until('well again', async () => (await pair.status()).overdue.length === 0)
    t.equal((await pair.status()).primary.agentsConnected, 1)
    t.equal((await runCommand(pair, 'status')).code, 0)
    await pair.settle()
    await sameBytes(t, pair)
  },
)

t.test(
  'network: the sync line stands still in the middle of a pull, the age of the change grows and is overdue; then it goes on',
  async t => {
    await using pair = await Pair.start({ backup: { conf: ['rpo = 0.05'] } })
    await connected(pair)
    await pair.settle()
    const { relay } = pair.primary
    const before = relay.bytesFromTarget
    relay.onBytes = total => {
      if (total > before + 2 * MB) relay.hold(['toTarget', 'fromTarget'])
    }
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Half', owner: 'jo@example.com' })
    const head = await writer.commit(repo, [{ op: 'put', path: '/film', content: randomBytes(12 * MB) }])

    const lags: number[] = []
    await pair.until('overdue', async () => {
      const library = await pair.library(repo)
      if (library?.lagMs) lags.push(library.lagMs)
      return lags.length > 3 && (await pair.status()).overdue.some(({ what }) => what === 'library')
    })
    t.ok(isGrowing(lags), `${lags.length} ages up to ${lags.at(-1)} ms`)
    t.equal((await runCommand(pair, 'status')).code, 3)
    t.not((await pair.heads('backup')).get(repo), head)

    relay.onBytes = () => {}
    relay.release()
    await pair.settle()
    t.equal((await pair.heads('backup')).get(repo), head)
    await sameBytes(t, pair)
    t.strictSame(await filesBelow(`${pair.backup.dataDir}/tmpfiles`), [])
    t.equal((await runCommand(pair, 'status')).code, 0)
  },
)
