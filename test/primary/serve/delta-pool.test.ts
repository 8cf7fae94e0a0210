import { hash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { DeltaPool } from '../../../src/primary/serve/delta-pool.js'
import { ownThreadId, threadTimes } from '../../../src/primary/serve/thread-times.js'
import { silentLog } from '../../../src/shared/log.js'
import { authKey } from '../../../src/shared/wire/auth.js'
import { ChunkReader } from '../../../src/shared/wire/chunks.js'
import { FRAME, FrameReader, frameId } from '../../../src/shared/wire/frames.js'
import { REPO, TempDir, block } from '../../support/objects.js'
import { TOKEN } from '../../support/pair.js'
import type { DeltaPoolOptions, WorkerJob } from '../../../src/primary/serve/delta-pool.js'
import type { ReaderDecision, ThreadLoad } from '../../../src/primary/serve/reader-count.js'

const never = new AbortController().signal
const unchanged = () => Promise.resolve(false)
/** Each is a chunk of its own, and more of them are read only when some have been taken. */
const BLOCKS = 24
const BLOCK_BYTES = 200 * 1024

/** As many threads as the test says, one by one; only those are ended that serve nobody. */
class Ordered implements ReaderDecision {
  wanted = 1
  /** Of each thread, when they were last looked at. */
  jobs: readonly number[] = []

  get most(): number {
    return this.wanted
  }

  wantsMore(loads: readonly ThreadLoad[]): boolean {
    this.jobs = loads.map(({ jobs }) => jobs)
    return loads.length < this.wanted
  }

  spare(loads: readonly ThreadLoad[]): number | undefined {
    const index = loads.length > this.wanted ? loads.findLastIndex(({ jobs }) => jobs === 0) : -1
    return index < 0 ? undefined : index
  }
}

interface Laid {
  readonly dataDir: string
  readonly ids: readonly string[]
}

async function layBlocks(dataDir: string): Promise<Laid> {
  const ids: string[] = []
  for (let n = 0; n < BLOCKS; n++) {
    const bytes = Buffer.alloc(BLOCK_BYTES, n)
    const { id } = block(bytes).ref
    const dir = join(dataDir, 'storage', 'blocks', REPO, id.slice(0, 2))
    await mkdir(dir, { recursive: true })
    await writeFile(join(dir, id.slice(2)), bytes)
    ids.push(id)
  }
  return { dataDir, ids }
}

const jobFor = ({ ids }: Laid): WorkerJob => ({
  proof: { key: authKey(TOKEN), nonce: 'ab' },
  mayPack: false,
  objects: { repo: REPO, storeId: REPO, objects: ids.map(id => ({ kind: 'blocks', id })) },
})

function poolOf(laid: Laid, decision: ReaderDecision, more: Partial<DeltaPoolOptions> = {}) {
  const deaths: unknown[] = []
  const onDeath = (error: unknown) => void deaths.push(error)
  const given = { dataDir: laid.dataDir, threads: 1, log: silentLog, onDeath, decision, lookEveryMs: 5, ...more }
  return { pool: new DeltaPool(given), deaths }
}

/** The ids of the blocks that a stream brought, and whether it came to its end. */
async function brought(pool: DeltaPool, job: WorkerJob): Promise<string[]> {
  const [chunks, frames] = [new ChunkReader(), new FrameReader()]
  const ids: string[] = []
  await pool.stream(
    job,
    async chunk => {
      for (const part of chunks.push(Buffer.from(chunk))) {
        for (const { type, payload } of frames.push(part)) {
          if (type === FRAME.block) ids.push(frameId(payload))
          if (type === FRAME.end) ids.push('end')
        }
      }
      await delay(1) // so that several are under way at once
    },
    unchanged,
    never,
  )
  return ids
}

async function until(is: () => boolean): Promise<void> {
  while (!is()) await delay(2)
}

/** Streams whose first chunk is never taken, until they are aborted. */
class Stuck {
  readonly #gone = new AbortController()
  readonly #ended: ReadonlyArray<Promise<void>>
  /** How many have sent something. */
  begun = 0

  constructor(pool: DeltaPool, job: WorkerJob, count: number) {
    const { signal } = this.#gone
    const write = async () => {
      signal.throwIfAborted()
      this.begun += 1
      await new Promise<void>((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
      })
    }
    this.#ended = Array.from({ length: count }, () => pool.stream(job, write, unchanged, signal))
  }

  /** Gives back the names of the errors with which they ended. */
  async abort(): Promise<string[]> {
    this.#gone.abort()
    const ends = await Promise.allSettled(this.#ended)
    return ends.map(end => (end.status === 'rejected' ? (end.reason as Error).name : end.status))
  }
}

t.test('delta pool: threads come and go while streams run, and each stream is whole', async t => {
  using dir = new TempDir()
  const laid = await layBlocks(dir.path)
  const decision = new Ordered()
  const { pool, deaths } = poolOf(laid, decision)
  await using _pool = pool

  for (const wanted of [4, 3]) {
    decision.wanted = wanted
    const stuck = new Stuck(pool, jobFor(laid), wanted)
    await until(() => pool.threads === wanted)
    const streams = Array.from({ length: 6 }, () => brought(pool, jobFor(laid)))
    for (const ids of await Promise.all(streams)) t.strictSame(ids, [...laid.ids, 'end'])
    await stuck.abort()
    decision.wanted = 1
    await until(() => pool.threads === 1)
    t.strictSame(await brought(pool, jobFor(laid)), [...laid.ids, 'end'])
    await until(() => decision.jobs.every(jobs => jobs === 0)) // else those that come next share, as was just found right
  }
  t.strictSame(deaths, [], 'a thread that was ended is no death')
})

t.test(
  'delta pool: where more threads are of no use, streams share them evenly; aborted, they give them back',
  async t => {
    using dir = new TempDir()
    const laid = await layBlocks(dir.path)
    const decision = new Ordered()
    decision.wanted = 3
    const { pool, deaths } = poolOf(laid, decision)
    await using _pool = pool

    const stuck = new Stuck(pool, jobFor(laid), 6)
    await until(() => stuck.begun === 6 && decision.jobs.reduce((sum, jobs) => sum + jobs, 0) === 6)
    t.strictSame(decision.jobs, [2, 2, 2])

    t.strictSame(await stuck.abort(), Array<string>(6).fill('AbortError'))
    await until(() => decision.jobs.every(jobs => jobs === 0))
    t.strictSame(await brought(pool, jobFor(laid)), [...laid.ids, 'end'], 'and the threads serve others')
    t.strictSame(deaths, [])
  },
)

t.test(
  'delta pool: a stream that finds all threads at work gets the first that is free, or is aborted waiting',
  async t => {
    using dir = new TempDir()
    const laid = await layBlocks(dir.path)
    const { pool } = poolOf(laid, new Ordered(), { lookEveryMs: 3_600_000 })
    await using _pool = pool
    const first = new Stuck(pool, jobFor(laid), 1)
    await until(() => first.begun === 1)
    const second = new Stuck(pool, jobFor(laid), 1)
    const third = brought(pool, jobFor(laid))

    t.strictSame(await second.abort(), ['AbortError'])
    t.equal(second.begun, 0)
    await first.abort()
    t.strictSame(await third, [...laid.ids, 'end'])
  },
)

t.test(
  'delta pool: stopped while streams run and wait and threads are being ended, nothing of it is a death',
  async t => {
    using dir = new TempDir()
    const laid = await layBlocks(dir.path)
    const decision = new Ordered()
    decision.wanted = 4
    const { pool, deaths } = poolOf(laid, decision)
    const [first, others] = [new Stuck(pool, jobFor(laid), 1), new Stuck(pool, jobFor(laid), 3)]
    await until(() => pool.threads === 4)
    await others.abort()
    decision.wanted = 1
    await until(() => pool.threads < 4)

    const waiting = new Stuck(pool, jobFor(laid), 4)
    const disposed = pool[Symbol.asyncDispose]()
    await Promise.all([first.abort(), waiting.abort()])
    await disposed
    await t.rejects(brought(pool, jobFor(laid)), { code: 'STOPPING' })
    t.strictSame(deaths, [])
  },
)

t.test('delta pool: a thread that throws is a death', async t => {
  const { promise: died, resolve } = Promise.withResolvers<unknown>()
  const noPlace = { dataDir: undefined as unknown as string, ids: [] }
  const { pool } = poolOf(noPlace, new Ordered(), { onDeath: resolve })
  await using _pool = pool
  pool.stream(jobFor({ ...noPlace, ids: [block('x').ref.id] }), async () => {}, unchanged, never).catch(() => {})
  t.ok((await died) instanceof Error)
})

const untold = threadTimes(ownThreadId() ?? -1) === undefined && 'the system does not tell'

t.test(
  'thread times: work and waits of a thread are counted; one that is not there is unknown',
  { skip: untold },
  async t => {
    const times = () => threadTimes(ownThreadId() ?? -1)
    const before = times()
    while (Number(times()?.cpuMs) < Number(before?.cpuMs) + 5) hash('sha1', 'x')
    await delay(1)
    t.ok(Number(times()?.turns) > Number(before?.turns), 'it has waited')
    t.equal(threadTimes(2 ** 22 + 1), undefined, 'above any id')
  },
)
