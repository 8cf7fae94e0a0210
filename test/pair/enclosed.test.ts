/** A small change comes along with the event that tells of it: nothing is asked. What does not fit is asked for as ever. */

import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import t from 'tap'
import { Enclosures } from '../../src/primary/serve/enclosure.js'
import { RateLimit } from '../../src/primary/serve/rate-limit.js'
import { FRAME, FrameReader, frameHeader } from '../../src/shared/wire/frames.js'
import { FakeAgent } from '../support/fake-agent.js'
import { Pair, never } from '../support/pair.js'
import { sameBytes } from '../support/replica.js'
import { filesBelow } from '../support/sides.js'
import type { Test } from 'tap'
import type { CommitId, RepoId } from '../../src/shared/ids.js'
import type { Frame } from '../../src/shared/wire/frames.js'

const MADE_UP = 'c'.repeat(40)

interface Scene {
  readonly pair: Pair
  readonly repo: RepoId
  readonly agent: FakeAgent
  readonly enclosures: Enclosures
}

/** A backup of one library, and somebody else with the token who tells of its changes. */
async function scene(): Promise<Scene> {
  const pair = await Pair.start()
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'Small changes', owner: 'jo@example.com' })
  await writer.commit(repo, [{ op: 'put', path: '/folder/first', content: randomBytes(3_000) }])
  await pair.settle()
  const parts = { catalog: await pair.catalog(), dataDir: pair.primary.dataDir, confKeepDays: null }
  const enclosures = new Enclosures({ ...parts, rate: new RateLimit(0) })
  return { pair, repo, enclosures, agent: await FakeAgent.connect(pair.backup.relay.port) }
}

/** The agent answers nothing and tells of nothing until it goes on. */
function freeze({ pair }: Scene): Disposable {
  const pid = pair.primary.process?.pid ?? 0
  process.kill(pid, 'SIGSTOP')
  return { [Symbol.dispose]: () => void process.kill(pid, 'SIGCONT') }
}

async function committed({ pair, repo }: Scene, content: Buffer = randomBytes(2_000)): Promise<CommitId> {
  return (await pair.writer()).commit(repo, [{ op: 'put', path: `/folder/${randomBytes(4).toString('hex')}`, content }])
}

/** As the agent makes it; a machine that is busy may need more than one attempt. */
async function enclosed({ enclosures, repo }: Scene, head: CommitId): Promise<Buffer> {
  for (;;) {
    const made = await enclosures.of(repo, head, never)
    if (made) return made
  }
}

const tell = ({ agent, repo }: Scene, head: string, bytes: Buffer | null): void =>
  agent.say({ type: 'event', repo, head, agoMs: 0, enclosed: bytes?.toString('base64') ?? null })

const encoded = ({ type, payload }: Frame): Buffer => Buffer.concat([frameHeader(type, payload.byteLength), payload])
const framesOf = (bytes: Buffer): Frame[] =>
  [...new FrameReader().push(bytes)].map(({ type, payload }) => ({ type, payload: Buffer.from(payload) }))

const recorded = ({ pair, repo }: Scene, head: string): Promise<void> =>
  pair.until(`${head} recorded`, async () => (await pair.heads('backup')).get(repo) === head)

async function isWell(test: Test, { pair, repo }: Scene, head: string): Promise<void> {
  await pair.settle()
  const library = await pair.libraryAtRest(repo)
  test.strictSame([library?.state, library?.head], ['synchronized', head])
  await sameBytes(test, pair)
  test.strictSame(await filesBelow(join(pair.backup.dataDir, 'tmpfiles')), [], 'no temp file stays')
}

t.test('enclosed: bytes that are no frames, or frames that nobody sends, cost one attempt', async t => {
  const made = await scene()
  await using pair = made.pair
  using _agent = made.agent
  const head = await committed(made)
  await pair.settle()
  const good = framesOf(await enclosed(made, head))
  const end = { type: FRAME.end, payload: Buffer.from('{"mac":"x","changed":false}') }
  const bad = [
    Buffer.from('no frames at all'),
    Buffer.alloc(0),
    Buffer.concat(good.slice(1).map(encoded)),
    encoded({ type: FRAME.library, payload: Buffer.from('{"rows":{}}') }),
    Buffer.concat([...good, end].map(encoded)),
  ]
  for (const bytes of bad) {
    tell(made, MADE_UP, bytes)
    await isWell(t, made, head)
  }
  t.ok(pair.backup.process?.running)
})

t.test('enclosed: what continues another head than ours is left alone, and the primary is asked', async t => {
  const made = await scene()
  await using pair = made.pair
  using _agent = made.agent
  const older = await committed(made)
  const oldBytes = await enclosed(made, older)
  const head = await committed(made)
  await pair.settle()
  tell(made, older, oldBytes)
  await isWell(t, made, head)
})

t.test('enclosed: a part of the change, or a damaged object in it, is filled by asking', async t => {
  const made = await scene()
  await using _pair = made.pair
  using _agent = made.agent
  const spoils: ReadonlyArray<(frames: Frame[]) => Buffer> = [
    frames => Buffer.concat(frames.slice(0, -1).map(encoded)),
    frames => Buffer.concat(frames.map(encoded)).subarray(0, -100),
    frames => {
      const last = frames.at(-1)?.payload
      if (last) last[last.byteLength - 1] = (last.at(-1) ?? 0) ^ 1
      return Buffer.concat(frames.map(encoded))
    },
    frames => encoded(frames[0] as Frame),
  ]
  for (const spoil of spoils) {
    let head: CommitId
    {
      using _frozen = freeze(made)
      head = await committed(made)
      tell(made, head, spoil(framesOf(await enclosed(made, head))))
    }
    await isWell(t, made, head)
  }
})

t.test('enclosed: a head whose own commit did not come along is asked for, and not called another history', async t => {
  const made = await scene()
  await using pair = made.pair
  using _agent = made.agent
  const library = framesOf(await enclosed(made, await committed(made)))[0] as Frame
  await pair.settle()
  const rows = JSON.parse(library.payload.toString()) as { rows: { head: string }; base: string }
  rows.base = rows.rows.head // continues what is here
  rows.rows.head = MADE_UP
  tell(made, MADE_UP, encoded({ type: FRAME.library, payload: Buffer.from(JSON.stringify(rows)) }))
  await pair.until('judged', async () => {
    const found = await pair.libraryAtRest(made.repo)
    if (found?.failure?.code === 'HEAD_DIVERGED') throw new Error('it was called diverged')
    return found?.state === 'synchronized'
  })
  const failures = pair.backup.process?.log.filter(({ msg }) => msg === 'sync did not finish').map(({ code }) => code)
  t.notOk(failures?.includes('HEAD_DIVERGED'), String(failures))
})

t.test('enclosed: where max_rate is used up, or a directory is large, nothing is sent along', async t => {
  const made = await scene()
  await using pair = made.pair
  using _agent = made.agent
  const parts = { catalog: await pair.catalog(), dataDir: pair.primary.dataDir, confKeepDays: null }
  const rate = new RateLimit(1_000, () => 0)
  const limited = new Enclosures({ ...parts, rate })
  const head = await committed(made)
  rate.spend(500)
  t.equal(await limited.of(made.repo, head, never), null, 'of a line in debt')

  const writer = await pair.writer()
  const many = Array.from(
    { length: 2_000 },
    (_, n) => ({ op: 'put', path: `/many/${n}`, content: Buffer.from(`${n}`) }) as const,
  )
  await writer.commit(made.repo, many)
  const next = await writer.commit(made.repo, [{ op: 'put', path: '/many/new', content: Buffer.from('x') }])
  for (let attempt = 0; attempt < 20; attempt++) t.equal(await made.enclosures.of(made.repo, next, never), null)
  await isWell(t, made, next)
})

t.test('enclosed: a small change is recorded, verified and durable while the primary answers nobody', async t => {
  const made = await scene()
  await using _pair = made.pair
  using _agent = made.agent
  let head = ''
  {
    using _frozen = freeze(made)
    for (let n = 0; n < 5; n++) {
      const next = await committed(made)
      tell(made, next, await enclosed(made, next))
      await recorded(made, next)
      head = next
    }
    t.pass('five in a row')
  }
  await isWell(t, made, head)
})

t.test('enclosed: the agent sends a small change along, and asks to be asked for a large one', async t => {
  const made = await scene()
  await using pair = made.pair
  made.agent[Symbol.dispose]()
  await pair.settle()
  const asked = async (content: Buffer): Promise<number> => {
    const before = pair.primary.relay.bytesToTarget
    await recorded(made, await committed(made, content))
    return pair.primary.relay.bytesToTarget - before
  }
  await pair.until('sent along', async () => (await asked(randomBytes(2_000))) === 0)
  t.ok((await asked(randomBytes(100_000))) > 0, '100,000 bytes are asked for')
  await sameBytes(t, pair)
})

t.test(
  'enclosed: of a virtual library nothing is sent along, since its base is the origin’s and must be asked for',
  async t => {
    const made = await scene()
    await using pair = made.pair
    using _agent = made.agent
    const writer = await pair.writer()
    const virtual = { origin: made.repo, path: '/folder', name: 'Shared folder', owner: 'sam@example.com' }
    const repo = await writer.createVirtualLibrary(virtual)
    const head = await writer.commit(repo, [{ op: 'put', path: '/from below', content: randomBytes(500) }])
    for (let attempt = 0; attempt < 20; attempt++) t.equal(await made.enclosures.of(repo, head, never), null)
    await isWell(t, { ...made, repo }, head)
  },
)
