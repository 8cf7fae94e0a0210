/** Clocks that differ, and clocks that jump while everything runs. Ages, schedules and deadlines are no times of day. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { FrameWriter } from '../../src/primary/serve/frame-writer.js'
import { FailureLimit, RequestGuard, authKey } from '../../src/shared/wire/auth.js'
import { FRAME } from '../../src/shared/wire/frames.js'
import { StreamSeal } from '../../src/shared/wire/stream-seal.js'
import { runCommand } from '../support/command.js'
import { otherClock, setClock } from '../support/other-clock.js'
import { Pair, TOKEN } from '../support/pair.js'
import type { Test } from 'tap'

const MINUTE = 60_000
const APART = /two clocks are (59\d|60\d) s apart/
/** What the agent logs of its events line; its answers to the backup are refused besides. */
const NOT_DELIVERED = 'events cannot be delivered; trying again'
const DAY = 24 * 60 * MINUTE
/** Two seconds. */
const OFTEN = { sweepHours: 2 / 3_600 }

t.jobs = 3 // most of the time is waiting

interface Clocks {
  readonly pair: Pair
  /** Of one side, off by so much from now on. */
  readonly set: (role: 'primary' | 'backup', offsetMs: number) => Promise<void>
}

async function startClocks(t: Test, offsets: { primary: number; backup: number }): Promise<Clocks> {
  const dir = await mkdtemp(join(tmpdir(), 'sbp-clock-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const file = (role: string) => join(dir, role)
  const set = (role: 'primary' | 'backup', offsetMs: number) => setClock(file(role), offsetMs)
  await set('primary', offsets.primary)
  await set('backup', offsets.backup)
  const pair = await Pair.lay({ ...OFTEN, backup: { conf: ['rpo = 0.2'] } })
  await pair.catalog()
  await pair.startPrimary(otherClock(file('primary')))
  await pair.startBackup(otherClock(file('backup')))
  return { pair, set }
}

/** Every age and duration of a status report that is no age. */
function notAnAge(value: unknown, path = ''): string[] {
  if (typeof value !== 'object' || value === null) {
    const isAge = /(Ms|AgoMs)$/.test(path)
    return isAge && value !== null && !(Number.isInteger(value) && Number(value) >= 0 && Number(value) < 10 * MINUTE)
      ? [`${path} = ${String(value)}`]
      : []
  }
  return Object.entries(value).flatMap(([key, inner]) => notAnAge(inner, `${path}.${key}`))
}

const swept = (pair: Pair) => pair.backup.process?.log.filter(line => line.msg === 'swept').length ?? 0

for (const role of ['primary', 'backup'] as const) {
  void t.test(
    `network: the clock of the ${role} is ten minutes ahead, both sides say so with the seconds, and it heals when it is set`,
    async t => {
      const { pair, set } = await startClocks(t, { primary: 0, backup: 0, [role]: 10 * MINUTE })
      await using _pair = pair
      await pair.until('said', async () => (await pair.status()).primary.problem?.code === 'CLOCK_SKEW')
      const { problem, agentsConnected } = (await pair.status()).primary
      t.match(problem, { message: APART, nextStep: /NTP/ })
      t.equal(agentsConnected, 0)
      t.equal((await runCommand(pair, 'status')).code, 3)
      await pair.until('said by the agent', async () =>
        Boolean(
          pair.primary.process?.log.some(
            ({ msg, code, reason }) => msg === NOT_DELIVERED && code === 'CLOCK_SKEW' && APART.test(String(reason)),
          ),
        ),
      )

      await set(role, 0)
      await pair.until('well', async () => {
        const { primary, overdue } = await pair.status()
        return primary.problem === null && primary.agentsConnected === 1 && overdue.length === 0
      })
      t.equal((await runCommand(pair, 'status')).code, 0)
    },
  )
}

void t.test(
  'network: clocks jump a day ahead and back, one side or both, ages stay true and the sweep keeps its time',
  async t => {
    const { pair, set } = await startClocks(t, { primary: 0, backup: 0 })
    await using _pair = pair
    await pair.until('connected', async () => Number.isInteger((await pair.status()).primary.agents[0]?.positionAgoMs))
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Timeless', owner: 'jo@example.com' })
    await pair.settle()
    const wrong: string[] = []
    const watched = async (): Promise<void> => void wrong.push(...notAnAge(await pair.status()))

    for (const [what, offsets] of [
      ['both ahead', { primary: DAY, backup: DAY }],
      ['both back', { primary: -DAY, backup: -DAY }],
      ['the backup ahead', { primary: 0, backup: DAY }],
      ['the backup back', { primary: 0, backup: -DAY }],
      ['the primary ahead', { primary: DAY, backup: 0 }],
      ['both right', { primary: 0, backup: 0 }],
    ] as const) {
      await set('primary', offsets.primary)
      await set('backup', offsets.backup)
      const before = swept(pair)
      const apart = offsets.primary !== offsets.backup
      if (apart) {
        await pair.until(`${what}: said`, async () => {
          await watched()
          return (await pair.status()).primary.problem?.code === 'CLOCK_SKEW'
        })
        t.equal((await runCommand(pair, 'status')).code, 3, `${what}: status says so`)
        continue
      }
      await pair.until(`${what}: swept twice more`, async () => {
        await watched()
        return swept(pair) > before + 1
      })
      const head = await writer.commit(repo, [{ op: 'put', path: '/a', content: Buffer.from(what) }])
      await pair.until(`${what}: recorded`, async () => {
        await watched()
        return (await pair.library(repo))?.head === head
      })
      await pair.until(`${what}: well`, async () => (await pair.status()).overdue.length === 0)
      t.equal((await runCommand(pair, 'status')).code, 0, `${what}: all is well`)
    }
    t.strictSame([...new Set(wrong)], [], 'no age was negative, absurd or no number')
  },
)

/** Runs with a clock of one's own. */
async function withDate(offset: { ms: number }, run: () => Promise<void>): Promise<void> {
  const real = Date.now
  Date.now = () => real() + offset.ms
  try {
    await run()
  } finally {
    Date.now = real
  }
}

t.test(
  'network: a reader at work says that it is alive also after its clock went back a day',
  { buffered: false },
  async t => {
    const offset = { ms: 0 }
    await withDate(offset, async () => {
      const sent: Buffer[] = []
      const out = new FrameWriter(new StreamSeal(authKey(TOKEN), 'nonce'), chunk => void sent.push(chunk))
      offset.ms = -DAY
      await delay(5_100)
      await out.alive()
      t.strictSame(
        sent,
        [Buffer.from([0, 0, 0, 0, 5, FRAME.alive, 0, 0, 0, 0])],
        'one chunk of five bytes, and in it the frame',
      )
    })
  },
)

t.test(
  'network: after the clock went back a day, what was seen before it does not fill the memory and refuse all',
  async t => {
    const clock = { now: 1_800_000_000_000 }
    const REQUESTS = 510_000
    const key = authKey(TOKEN)
    const guard = new RequestGuard(key, () => clock.now)
    const ask = (n: number) => guard.admit({ key, nonce: String(n), time: clock.now })
    ask(0)
    clock.now -= DAY
    // twenty requests a second for seven hours: more than a list of nonces may hold
    for (let n = 1; n <= REQUESTS; n++) {
      ask(n)
      clock.now += 50
    }
    t.throws(() => ask(REQUESTS), { code: 'TOKEN_MISMATCH' }, 'what was sent before is still known')
  },
)

t.test('network: after the clock went back a day, whoever is refused is in the log again within a minute', async t => {
  const offset = { ms: 0 }
  await withDate(offset, async () => {
    let now = 0
    const real = performance.now.bind(performance)
    performance.now = () => real() + now
    t.teardown(() => (performance.now = real))
    const limit = new FailureLimit()
    t.ok(limit.failed('192.0.2.1'))
    offset.ms = -DAY
    now = MINUTE
    t.ok(limit.failed('192.0.2.1'))
  })
})
