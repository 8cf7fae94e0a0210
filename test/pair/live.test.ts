/** Changes made while the pair runs. A sweep comes once an hour here, so what arrives came by an event. */

import t from 'tap'
import { mariadbInstalled } from '../support/mariadb.js'
import { Pair, never } from '../support/pair.js'
import { testDatabase } from '../support/sides.js'
import type { CommitId, RepoId } from '../../src/shared/ids.js'
import type { Engine } from '../support/sides.js'

interface Way {
  readonly name: string
  readonly engine: Engine
  /** Arguments of the primary's MariaDB. */
  readonly args?: string[]
  readonly source: string
}

const BINLOG = (format: string) => ['--log-bin', `--binlog-format=${format}`, '--server-id=1']
const WAYS: readonly Way[] = [
  { name: 'SQLite', engine: 'sqlite', source: 'sqlite-watch' },
  { name: 'binlog ROW', engine: 'mysql', args: BINLOG('ROW'), source: 'mysql-binlog' },
  { name: 'binlog MIXED', engine: 'mysql', args: BINLOG('MIXED'), source: 'mysql-binlog' },
  { name: 'binlog STATEMENT', engine: 'mysql', args: BINLOG('STATEMENT'), source: 'mysql-binlog' },
  { name: 'poll', engine: 'mysql', args: ['--skip-log-bin'], source: 'mysql-poll' },
]

const noMariadb = (engine: Engine) => engine === 'mysql' && !mariadbInstalled() && 'mariadbd is not installed'

async function sameHeads(pair: Pair): Promise<boolean> {
  const theirs = await pair.heads('primary')
  const ours = await pair.heads('backup')
  return [...theirs].every(([repo, head]) => ours.get(repo) === head)
}

for (const { name, engine, args, source } of WAYS) {
  t.test(`live (${name}): new libraries and commits arrive without a sweep`, { skip: noMariadb(engine) }, async t => {
    await using db = await testDatabase(engine, args)
    await using pair = await Pair.start({ primary: db.database ? { database: db.database } : {} })
    await pair.settle()
    const sweeps = () => pair.backup.process?.log.filter(line => line.msg === 'swept').length
    await pair.until('connected', async () => (await pair.status()).primary.agentsConnected === 1)
    await pair.sync(null) // and with it the sweep that the connection brought
    const before = sweeps()
    const writer = await pair.writer()

    const repo = await writer.createLibrary({ name: 'Notes', owner: 'jo@example.com' })
    for (let i = 0; i < 10; i++) {
      await writer.commit(repo, [{ op: 'put', path: `/notes/${i % 3}.md`, content: Buffer.from(`note ${i}`) }])
    }

    await pair.until('equal', () => sameHeads(pair))
    await pair.until('synchronized', async () => (await pair.library(repo))?.state === 'synchronized')
    t.equal(sweeps(), before, 'no sweep was needed')
    t.equal((await pair.primary.process?.logged('primary agent ready'))?.['changes'], source)
  })
}

t.test('live: 1,000 commits over 50 libraries as fast as they can be written all arrive, without a sweep', async t => {
  await using pair = await Pair.start()
  await pair.settle()
  const writer = await pair.writer()
  const repos: RepoId[] = []
  for (let i = 0; i < 50; i++) repos.push(await writer.createLibrary({ name: `Library ${i}`, owner: 'jo@example.com' }))
  await pair.until('equal', () => sameHeads(pair))
  const sweeps = () => pair.backup.process?.log.filter(line => line.msg === 'swept').length
  const before = sweeps()

  for (let i = 0; i < 1_000; i++) {
    const repo = repos[(i * 7) % repos.length] as RepoId
    await writer.commit(repo, [{ op: 'put', path: `/f${i % 20}.txt`, content: Buffer.from(`commit ${i}`) }])
  }

  await pair.until('equal', () => sameHeads(pair))
  t.equal(sweeps(), before, 'no sweep was needed')
  await pair.settle()
  t.equal((await pair.status()).counts.synchronized, 50)
})

t.test(
  'live: with the event line down the sweep alone finds and pulls everything; when it is back a sweep comes at once',
  async t => {
    await using pair = await Pair.lay({ sweepHours: 1 / 3600 })
    await pair.catalog()
    await pair.startPrimary()
    await pair.startBackup()
    pair.backup.relay.cut()
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Swept', owner: 'jo@example.com' })
    await writer.commit(repo, [{ op: 'put', path: '/a.txt', content: Buffer.from('a') }])
    await pair.until('equal', () => sameHeads(pair))
    t.equal((await pair.status()).primary.agentsConnected, 0)
  },
)

t.test('live: an agent that comes back after an outage is followed by a sweep at once', async t => {
  await using pair = await Pair.start()
  await pair.settle()
  pair.backup.relay.cut()
  await pair.until('disconnected', async () => (await pair.status()).primary.agentsConnected === 0)
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'During the outage', owner: 'jo@example.com' })

  pair.backup.relay.mend()

  await pair.until('equal', () => sameHeads(pair))
  t.ok(await pair.library(repo))
})

t.test('live: a change of rows without a commit is applied alone', async t => {
  await using pair = await Pair.start()
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'Handed over', owner: 'jo@example.com' })
  await pair.until('equal', () => sameHeads(pair))
  const catalog = await pair.catalog()

  await catalog.setOwner(repo, 'mo@example.com', never)
  await pair.sync(null)

  t.equal((await pair.library(repo))?.owner, 'mo@example.com')
})

t.test('live: a head that goes back to an older commit is not followed until it is forced', async t => {
  await using pair = await Pair.start()
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'Rewound', owner: 'jo@example.com' })
  const put = (text: string, ctime: number) =>
    writer.commit(repo, [{ op: 'put', path: '/a.txt', content: Buffer.from(text) }], { ctime })
  const now = Math.floor(Date.now() / 1000)
  const old = await put('one', now - 100)
  const last = await put('two', now - 50)
  await pair.until('equal', () => sameHeads(pair))
  const catalog = await pair.catalog()

  t.ok(await catalog.updateBranch(repo, last, old, never))
  await pair.until('failed', async () => (await pair.library(repo))?.failure?.code === 'HEAD_REWOUND')
  t.equal((await pair.heads('backup')).get(repo), last, 'our head is kept')

  await pair.sync(repo, true)
  t.equal((await pair.heads('backup')).get(repo), old as CommitId, 'forced, it follows')
  t.equal((await pair.libraryAtRest(repo))?.state, 'synchronized')
})

t.test('live: an agent that is killed is reported as not answering at once, not at the next sweep', async t => {
  await using pair = await Pair.start()
  await pair.until('connected', async () => (await pair.status()).primary.agentsConnected === 1)
  await pair.settle()
  const killedAt = performance.now()

  await pair.primary.process?.kill()

  await pair.until('said', async () => (await pair.status()).primary.problem?.code === 'PRIMARY_UNREACHABLE')
  t.ok(performance.now() - killedAt < 5_000)
})
