/** What `status` says when something has stopped: on its first line once it lasts longer than rpo, and never as health. */

import { rename, rm, writeFile } from 'node:fs/promises'
import t from 'tap'
import { runCommand } from '../support/command.js'
import { mariadbInstalled } from '../support/mariadb.js'
import { Pair } from '../support/pair.js'
import { testDatabase } from '../support/sides.js'
import type { DaemonProcess } from '../../scripts/local/daemon-process.js'

const noMariadb = !mariadbInstalled() && 'mariadbd is not installed'
const firstLine = (text: string) => text.split('\n')[0] ?? ''
/** Two seconds. */
const SHORT = { conf: ['rpo = 0.0334'] }

const connected = (pair: Pair) =>
  pair.until('connected', async () => Number.isInteger((await pair.status()).primary.agents[0]?.positionAgoMs))

t.test('truth: the sweep fails for longer than rpo, the first line says so and the exit code is 3', async t => {
  await using pair = await Pair.start({ backup: SHORT })
  await connected(pair)
  await pair.settle()
  const well = await runCommand(pair, 'status')
  t.equal(well.code, 0)
  t.match(firstLine(well.stdout), /^Total number of libraries: /, 'all is well: as it ever was')

  pair.primary.relay.cut() // events go on: only the sweep, which goes the other way, fails
  void pair.sync(null)
  await pair.until('overdue', async () => (await pair.status()).overdue.some(({ what }) => what === 'sweep'))

  const { code, stdout } = await runCommand(pair, 'status')
  t.equal(code, 3)
  t.match(firstLine(stdout), /^Overdue: no sweep has succeeded for .*rpo 2\.0 s.*Next step: /)
  t.match(stdout.split('\n')[1], /^Total number of libraries: 0$/)
  const json = JSON.parse((await runCommand(pair, 'status', '--json')).stdout) as Awaited<ReturnType<Pair['status']>>
  const sweep = json.overdue.find(({ what }) => what === 'sweep')
  t.ok(Number(sweep?.forMs) > 2_000)
  t.notOk(
    json.overdue.some(({ what }) => what === 'primary'),
    'the agent is still heard: the primary is not silent',
  )

  pair.primary.relay.mend()
  await pair.sync(null)
  await pair.until('well again', async () => (await pair.status()).overdue.length === 0)
  t.equal((await runCommand(pair, 'status')).code, 0)
})

t.test('truth: a primary that never answered is silent since the start, not unknown for ever', async t => {
  await using pair = await Pair.lay({ backup: { conf: ['rpo = 0.05'] } })
  await pair.startBackup()
  await pair.until('overdue', async () => (await pair.status()).overdue.some(({ what }) => what === 'primary'))
  const { code, stdout } = await runCommand(pair, 'status')
  t.equal(code, 3)
  t.match(firstLine(stdout), /^Overdue: nothing has been heard of the primary for /)
})

t.test('truth: an agent is stopped with SIGSTOP, its silence grows, also after the line was given up', async t => {
  await using pair = await Pair.start({ backup: { conf: ['rpo = 0.2'] } })
  await connected(pair)
  await pair.settle()
  t.equal((await runCommand(pair, 'status')).code, 0)
  await pair.until('heard since the sweep', async () => Number((await pair.status()).primary.lastSweepAgoMs) > 8_000)
  const agent = pair.primary.process as DaemonProcess

  process.kill(agent.pid, 'SIGSTOP')
  const ages: number[] = []
  const positions: number[] = []
  await pair.until('given up', async () => {
    const { primary } = await pair.status()
    ages.push(Number(primary.lastContactAgoMs))
    for (const { positionAgoMs } of primary.agents) positions.push(Number(positionAgoMs))
    return primary.agentsConnected === 0
  })
  const { lastContactAgoMs: silent, lastSweepAgoMs: sweptAgo } = (await pair.status()).primary
  t.ok(Number(silent) < Number(sweptAgo) - 3_000, 'its last word counts, not the sweep before that')
  t.ok(Number(silent) >= 12_000, `the agent is gone, its last word is not younger: ${silent} ms`)
  t.ok(Math.max(...positions) >= 10_000, 'as long as the connection lived, its position grew old')
  const drops = ages.filter((age, i) => age < Number(ages[i - 1]))
  t.ok(drops.length <= 2, 'the age only grows, but for a heartbeat that was on its way')

  const { code, stdout } = await runCommand(pair, 'status', '--verbose')
  t.equal(code, 3)
  t.match(firstLine(stdout), /^Overdue: nothing has been heard of the primary for /)
  t.match(stdout, /^No agent is connected, last contact .* ago$/m)

  process.kill(agent.pid, 'SIGCONT')
  await pair.until('well again', async () => (await pair.status()).overdue.length === 0)
})

for (const [source, args] of [
  ['mysql-binlog', undefined],
  ['mysql-poll', ['--skip-log-bin']],
] as const) {
  t.test(
    `truth: the agent's database stops (${source}), status names the deaf source within seconds`,
    { skip: noMariadb },
    async t => {
      await using db = await testDatabase('mysql', args && [...args])
      await using pair = await Pair.start({
        ...(db.database && { primary: { database: db.database } }),
        backup: { conf: ['rpo = 0.2'] },
      })
      await connected(pair)
      await pair.settle()
      t.match((await pair.status()).primary.agents, [{ source, address: '127.0.0.1' }])
      t.strictSame((await pair.status()).overdue, [])

      const stoppedAt = performance.now()
      await db.server?.stop()
      await pair.until('named', async () =>
        /cannot be read|broke/.test((await pair.status()).primary.agents[0]?.degraded ?? ''),
      )
      t.ok(performance.now() - stoppedAt < 15_000, 'within seconds')
      t.equal((await pair.status()).primary.agentsConnected, 1, 'its connection lives')
      const verbose = await runCommand(pair, 'status', '--verbose')
      t.match(verbose.stdout, /^Agent 127\.0\.0\.1: .*position .* old.*, degraded: /m)

      await pair.until('overdue', async () => (await pair.status()).overdue.some(({ what }) => what === 'source'))
      const { code, stdout } = await runCommand(pair, 'status')
      t.equal(code, 3)
      t.match(firstLine(stdout), /^Overdue: .*the agent at 127\.0\.0\.1 has seen no change source for /)

      await db.server?.start()
      await pair.until('well again', async () => (await pair.status()).overdue.length === 0)
    },
  )
}

t.test("truth: the agent's SQLite file cannot be read, its position grows old while its connection lives", async t => {
  await using pair = await Pair.start({ backup: { conf: ['rpo = 0.2'] } })
  await connected(pair)
  await pair.settle()
  const path = pair.primary.database.type === 'sqlite' ? pair.primary.database.path : ''
  await rename(path, `${path}.away`)
  await writeFile(path, 'this is no database'.repeat(1_000))

  await pair.until('overdue', async () => (await pair.status()).overdue.some(({ what }) => what === 'source'))
  const { agents } = (await pair.status()).primary
  t.match(agents, [{ source: 'sqlite-watch', degraded: /heads cannot be read/ }])
  await rm(path)
  await rename(`${path}.away`, path)
})

t.test('truth: a library waits for longer than rpo, the first line names it and how long', async t => {
  await using pair = await Pair.start({ backup: SHORT })
  await connected(pair)
  await pair.settle()
  pair.primary.relay.cut() // heads are announced, objects cannot be had
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'Waiting', owner: 'jo@example.com' })

  await pair.until('overdue', async () => (await pair.status()).overdue.some(({ what }) => what === 'library'))
  const { code, stdout } = await runCommand(pair, 'status')
  t.equal(code, 3)
  t.match(firstLine(stdout), new RegExp(`^Overdue: .*library ${repo} has a change that has waited for .*rpo`))

  pair.primary.relay.mend()
  await pair.until('well again', async () => (await pair.status()).overdue.length === 0)
})
