import t from 'tap'
import { CpuLimit } from '../../../src/primary/serve/cpu-limit.js'

const never = new AbortController().signal
const KIB = 1024
/** Far into an answer. */
const LATE = 1024 * KIB

/** A process whose time passes when it sleeps, and whose CPU time when it is told to work. */
class FakeProcess {
  time = 1_000
  cpu = 77
  readonly slept: number[] = []

  readonly now = () => this.time
  readonly used = () => this.cpu

  /** Called in each sleep: what others do meanwhile. */
  meanwhile = (_ms: number): void => {}

  readonly sleep = async (ms: number, signal: AbortSignal): Promise<void> => {
    signal.throwIfAborted()
    this.slept.push(ms)
    this.time += ms
    this.meanwhile(ms)
    await Promise.resolve()
  }

  work(ms: number): void {
    this.time += ms
    this.cpu += ms
  }

  get sleptMs(): number {
    return this.slept.reduce((sum, ms) => sum + ms, 0)
  }
}

t.test('max_cpu: without a limit nobody waits, whatever was used', async t => {
  const agent = new FakeProcess()
  const cpu = new CpuLimit(0, agent)
  agent.work(100_000)
  await cpu.take(LATE, never)
  t.strictSame(agent.slept, [])
})

t.test('max_cpu: over a long copy the share of CPU is the one that was set', async t => {
  for (const percent of [5, 20, 50, 90]) {
    const agent = new FakeProcess()
    const cpu = new CpuLimit(percent, agent)
    const [beganAt, before] = [agent.time, agent.cpu]
    for (let piece = 0; piece < 2_000; piece++) {
      await cpu.take(LATE, never)
      agent.work(1 + (piece % 9))
    }
    const share = (100 * (agent.cpu - before)) / (agent.time - beganAt)
    t.ok(Math.abs(share - percent) <= percent * 0.02, `${percent} %: ${share.toFixed(2)} % were used`)
  }
})

t.test('max_cpu: more than one core may be used when several threads read', async t => {
  const agent = new FakeProcess()
  const cpu = new CpuLimit(150, agent)
  const [beganAt, before] = [agent.time, agent.cpu]
  for (let piece = 0; piece < 2_000; piece++) {
    await cpu.take(LATE, never)
    agent.time += 5
    agent.cpu += 4 * 5
  }
  const share = (100 * (agent.cpu - before)) / (agent.time - beganAt)
  t.ok(share > 147 && share < 153, `${share.toFixed(1)} %`)
})

t.test('max_cpu: what others use while a piece waits makes it wait for that too', async t => {
  const agent = new FakeProcess()
  const cpu = new CpuLimit(50, agent)
  agent.work(400) // earned 200 with the bucket full: 100 of 100
  let once = true
  agent.meanwhile = () => {
    if (once) agent.cpu += 50
    once = false
  }
  await cpu.take(LATE, never)
  t.strictSame(agent.slept, [200, 100], 'two debts, of 100 and of 50 ms, at half a core')
})

t.test('max_cpu: an agent that did nothing for an hour has earned a bucket, no more', async t => {
  const agent = new FakeProcess()
  const cpu = new CpuLimit(50, agent)
  agent.time += 3_600_000
  await cpu.take(LATE, never)
  t.equal(agent.sleptMs, 0)
  agent.cpu += 200 // at once; the bucket had 100
  await cpu.take(LATE, never)
  t.equal(agent.sleptMs, 200)
})

t.test('max_cpu: a minute of other work is paid with ten seconds, and never more', async t => {
  const agent = new FakeProcess()
  const cpu = new CpuLimit(20, agent)
  agent.work(60_000)
  await cpu.take(LATE, never)
  t.equal(agent.sleptMs, 10_000)
})

t.test('max_cpu: where other work uses more than is allowed, each piece still goes within ten seconds', async t => {
  const agent = new FakeProcess()
  const cpu = new CpuLimit(10, agent)
  agent.meanwhile = ms => (agent.cpu += ms / 2)
  agent.cpu += 1_000
  for (let piece = 0; piece < 3; piece++) {
    const from = agent.time
    await cpu.take(LATE, never)
    t.ok(agent.time - from <= 10_000, `piece ${piece} waited for ${agent.time - from} ms`)
  }
})

t.test(
  'max_cpu: the beginning of an answer waits for a second of the debt of others, its rest for all of it',
  async t => {
    const agent = new FakeProcess()
    const cpu = new CpuLimit(10, agent)
    agent.cpu += 1_000
    await cpu.take(0, never)
    t.equal(agent.sleptMs, 1_000)
    await cpu.take(255 * KIB, never)
    t.equal(agent.sleptMs, 2_000)
    await cpu.take(256 * KIB, never)
    t.equal(agent.sleptMs, 9_800, '1,000 ms of CPU without the bucket of 20, at a tenth of a core')
  },
)

t.test('max_cpu: pieces of several copies go in the order in which they came', async t => {
  const agent = new FakeProcess()
  const cpu = new CpuLimit(50, agent)
  agent.cpu += 500
  const order: string[] = []
  const piece = (name: string) => cpu.take(LATE, never).then(() => void order.push(name))
  await Promise.all([piece('a'), piece('b'), piece('c')])
  t.strictSame(order, ['a', 'b', 'c'])
})

t.test('max_cpu: whoever hangs up while waiting stops waiting, and keeps nobody behind from going on', async t => {
  const agent = new FakeProcess()
  const cpu = new CpuLimit(50, agent)
  agent.cpu += 500
  const gone = new AbortController()
  agent.meanwhile = () => gone.abort()
  const first = cpu.take(LATE, gone.signal)
  const second = cpu.take(LATE, gone.signal)
  const third = cpu.take(LATE, never)
  await t.rejects(first, { name: 'AbortError' })
  await t.rejects(second, { name: 'AbortError' })
  await third
})
