/**
 * Events are hints: whoever has the token may repeat, reorder and replay them, and all that it costs is work, because a
 * head moves only to what the primary itself answers. Whoever is on a line without TLS cannot do even that.
 */

import t from 'tap'
import { runCommand } from '../support/command.js'
import { ENCLOSED_BYTES_MAX } from '../../src/shared/wire/sync-messages.js'
import { FakeAgent } from '../support/fake-agent.js'
import { residentMb } from '../support/hostile-sockets.js'
import { Pair } from '../support/pair.js'
import { sameBytes } from '../support/replica.js'
import { forged, textOf } from '../support/rough-line.js'
import type { RepoId } from '../../src/shared/ids.js'
import type { ClientFrame, Forgery } from '../support/rough-line.js'

const LIBRARIES = 5
const ROUNDS = 200
const GROWTH_MB_MAX = 100

/** Libraries that are all there. `forgery`: what somebody on the line does to the agent's messages. */
async function startPair(forgery?: Forgery) {
  const pair = await Pair.lay()
  if (forgery) pair.backup.relay.roughness = way => (way === 'toTarget' ? forged(forgery) : undefined)
  const writer = await pair.writer()
  const repos: RepoId[] = []
  for (let n = 0; n < LIBRARIES; n++) repos.push(await writer.createLibrary({ name: `${n}`, owner: 'jo@example.com' }))
  await pair.startPrimary()
  await pair.startBackup()
  await pair.until('connected', async () => (await pair.status()).primary.agentsConnected === 1)
  await pair.settle()
  const commit = (n: number, text: string) =>
    writer.commit(repos[n % LIBRARIES] as RepoId, [{ op: 'put', path: '/a.txt', content: Buffer.from(text) }])
  return { pair, repos, commit }
}

const logged = (pair: Pair, msg: string) => pair.backup.process?.log.filter(line => line.msg === msg) ?? []

const isQuiet = async (pair: Pair) => {
  const { counts } = await pair.status()
  return counts.waiting === 0 && counts.syncing === 0
}

const FORGERIES: Record<string, (frame: ClientFrame, before: ClientFrame | undefined) => ClientFrame[]> = {
  repeats: frame => [frame, frame],
  'leaves out': () => [],
  reorders: (frame, before) => (before ? [frame, before] : []),
  changes: frame => [Buffer.from(frame.map((byte, at) => (at === frame.byteLength - 3 ? byte ^ 1 : byte)))],
}

for (const [what, act] of Object.entries(FORGERIES)) {
  t.test(`network: somebody on the line who ${what} messages ends the connection, and nothing is lost`, async t => {
    let armed = false
    let before: ClientFrame | undefined
    const { pair, commit } = await startPair(frame => {
      if (!armed) return [frame]
      const sent = act(frame, before)
      if (what === 'reorders' && !before) before = frame
      else if (what !== 'leaves out' || textOf(frame)['type'] !== 'event') armed = false
      return sent
    })
    await using _pair = pair
    await pair.settle()
    armed = true
    for (let n = 0; n < LIBRARIES; n++) await commit(n, `commit ${n}`)
    const refused = () => logged(pair, 'event not understood').some(({ code }) => code === 'TOKEN_MISMATCH')
    await pair.until('refused', async () => refused())
    await pair.settle()
    await sameBytes(t, pair)
    t.equal((await runCommand(pair, 'status')).code, 0)
  })
}

t.test('network: events doubled and reordered by who has the token record no head twice', async t => {
  const { pair, repos, commit } = await startPair()
  await using _pair = pair
  using agent = await FakeAgent.connect(pair.backup.relay.port)
  let waiting: [string, string] | undefined
  for (let n = 0; n < 40; n++) {
    const repo = repos[n % LIBRARIES] as RepoId
    const told: [string, string] = [repo, await commit(n, `commit ${n}`)]
    if (waiting) for (const each of [told, waiting, told, waiting]) agent.changed(...each)
    waiting = waiting ? undefined : told
  }
  await pair.settle()
  for (const repo of repos) {
    const recorded = (await pair.headLog(repo)).map(({ head }) => head)
    t.equal(new Set(recorded).size, recorded.length, 'no head is recorded twice')
    t.equal((await pair.libraryAtRest(repo))?.state, 'synchronized')
  }
  await sameBytes(t, pair)
})

t.test(`network: every event said ${ROUNDS} times over changes nothing, and costs bounded work`, async t => {
  const { pair, repos, commit } = await startPair()
  await using _pair = pair
  const told: [string, string][] = []
  for (let n = 0; n < 20; n++) told.push([repos[n % LIBRARIES] as RepoId, await commit(n, `commit ${n}`)])
  await pair.settle()
  const state = async () => ({
    heads: [...(await pair.heads('backup'))].sort(),
    logs: await Promise.all(repos.map(repo => pair.headLog(repo))),
  })
  const before = await state()
  const sweeps = logged(pair, 'swept').length
  const asked = pair.primary.relay.bytesToTarget
  const memory = residentMb(pair.backup.process?.pid ?? -1)

  using agent = await FakeAgent.connect(pair.backup.relay.port)
  for (let round = 0; round < ROUNDS; round++) for (const each of told) agent.changed(...each)
  agent.say({ type: 'heartbeat', position: 'the end', positionAgoMs: 0, source: 'test', degraded: null })
  await pair.until('heard', async () => JSON.stringify((await pair.status()).primary).includes('"source":"test"'))
  await pair.until('worked off', () => isQuiet(pair))
  await pair.sync(null)
  const grown = residentMb(pair.backup.process?.pid ?? -1) - memory
  const requests = Math.round((pair.primary.relay.bytesToTarget - asked) / 400)
  const events = ROUNDS * told.length
  const swept = logged(pair, 'swept').length - sweeps
  t.comment(`${events} events: ${swept} sweeps, about ${requests} requests, ${grown.toFixed(0)} MB more`)
  t.strictSame(await state(), before, 'heads and head log are what they were')
  t.ok(requests < events, 'less work than one request an event')
  t.ok(grown < GROWTH_MB_MAX, `${grown.toFixed(0)} MB more`)
  // a last hint may be looked up at this moment
  await pair.until('all synchronized', async () => (await pair.status()).counts.synchronized === LIBRARIES)
})

t.test(
  'network: an event that comes after a newer one does not make a library that waits look synchronized',
  async t => {
    const { pair, repos, commit } = await startPair()
    await using _pair = pair
    const repo = repos[0] as RepoId
    const first = await commit(0, 'first')
    await pair.until('first', async () => (await pair.library(repo))?.head === first)
    await pair.sync(null)
    using agent = await FakeAgent.connect(pair.backup.relay.port)
    await pair.until('swept', () => isQuiet(pair))
    pair.primary.relay.hold()
    const large = '.'.repeat(ENCLOSED_BYTES_MAX) // a small change would come with its event
    agent.changed(repo, await commit(0, large))
    await pair.until('told', async () => (await pair.library(repo))?.state === 'syncing')
    agent.changed(repo, first)
    agent.changed(repos[1] as RepoId, await commit(1, large))
    await pair.until('heard', async () => (await pair.library(repos[1] as RepoId))?.state !== 'synchronized')

    const { lagMs } = (await pair.library(repo)) ?? {}
    t.ok(Number(lagMs) > 0, `its change waits, whatever an old event says: ${lagMs} ms`)
    pair.primary.relay.release()
    await pair.settle()
    await sameBytes(t, pair)
  },
)
