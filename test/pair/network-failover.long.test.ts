/** The database server restarted, or failed over to another one with the same data, under either side. */

import { randomBytes } from 'node:crypto'
import t from 'tap'
import { runCommand } from '../support/command.js'
import { Mariadb, mariadbInstalled } from '../support/mariadb.js'
import { Pair } from '../support/pair.js'
import { sameBytes } from '../support/replica.js'
import { testDatabase } from '../support/sides.js'
import type { RepoId } from '../../src/shared/ids.js'

const skip = !mariadbInstalled() && 'mariadbd is not installed'
const MB = 1024 * 1024

const well = (pair: Pair) =>
  pair.until('well', async () => {
    const { primary, overdue } = await pair.status()
    return primary.problem === null && primary.agentsConnected === 1 && overdue.length === 0
  })

/** What the server is called after it, and what its binary log is then: of another name, or of the same and longer. */
const FAILOVERS = {
  'to a server whose binary log has another name': { args: ['--log-bin=other', '--server-id=2'], log: 'other' },
  'to a server whose binary log was begun anew': { args: ['--log-bin', '--server-id=2'], log: 'reset' },
} as const

for (const [what, { args, log }] of Object.entries(FAILOVERS)) {
  t.test(
    `network: the primary's database fails over ${what}, every change arrives, before and after`,
    { skip },
    async t => {
      await using db = await testDatabase('mysql')
      await using pair = await Pair.start({
        ...(db.database && { primary: { database: db.database } }),
        backup: { conf: ['rpo = 0.2'] },
      })
      const writer = await pair.writer()
      const repos: RepoId[] = []
      for (let n = 0; n < 3; n++) repos.push(await writer.createLibrary({ name: `${n}`, owner: 'jo@example.com' }))
      const commitAll = async (text: string) => {
        for (const repo of repos) await writer.commit(repo, [{ op: 'put', path: '/a', content: Buffer.from(text) }])
      }
      await commitAll('before')
      await pair.settle()
      await well(pair)
      const sweeps = () => pair.backup.process?.log.filter(line => line.msg === 'swept').length ?? 0

      await db.server?.kill()
      await pair.until('overdue', async () => (await pair.status()).overdue.some(({ what }) => what === 'source'))
      t.equal((await runCommand(pair, 'status')).code, 3)
      await using next = new Mariadb((db.server as Mariadb).dir, args)
      await next.start()
      if (log === 'reset') await next.query('RESET MASTER')
      await commitAll('meanwhile')
      await pair.settle()
      await well(pair)
      const before = sweeps()
      await commitAll('after')
      const theirs = await pair.heads('primary')
      await pair.until('after', async () => {
        const ours = await pair.heads('backup')
        return repos.every(repo => ours.get(repo) === theirs.get(repo))
      })
      t.equal(sweeps(), before, 'events tell of it again, no sweep is needed')
      t.match((await pair.status()).primary.agents, [{ source: 'mysql-binlog', degraded: null }])
      t.equal((await runCommand(pair, 'status')).code, 0)
      await sameBytes(t, pair)
    },
  )
}

t.test(
  "network: the backup's own database is killed again and again under its pulls, and fails over; all ends equal",
  { skip },
  async t => {
    await using db = await testDatabase('mysql')
    await using pair = await Pair.start({
      ...(db.database && { backup: { database: db.database, conf: ['rpo = 0.05'] } }),
    })
    await pair.settle()
    const writer = await pair.writer()
    const server = db.server as Mariadb
    let repo: RepoId | undefined
    for (let n = 0; n < 4; n++) {
      const { relay } = pair.primary
      const from = relay.bytesFromTarget
      let killing: Promise<void> | undefined
      relay.onBytes = total => {
        if (total > from + MB) killing ??= server.kill()
      }
      repo = await writer.createLibrary({ name: `${n}`, owner: 'jo@example.com' })
      const head = await writer.commit(repo, [{ op: 'put', path: '/film', content: randomBytes(6 * MB) }])
      await pair.until('failed', async () => (await pair.library(repo ?? ''))?.failure?.code === 'DATABASE_DOWN')
      if (n === 0) {
        await pair.until('overdue', async () => (await pair.status()).overdue.some(({ what }) => what === 'library'))
        t.equal((await runCommand(pair, 'status')).code, 3)
      }
      await killing
      relay.onBytes = () => {}
      await server.start()
      await pair.until('recorded', async () => (await pair.heads('backup')).get(repo as RepoId) === head)
    }
    await server.stop()
    await using next = new Mariadb(server.dir, ['--log-bin=other', '--server-id=2'])
    await next.start()
    await writer.commit(repo as RepoId, [{ op: 'put', path: '/note', content: Buffer.from('after') }])
    await pair.settle()
    await well(pair)
    await sameBytes(t, pair)
    t.equal((await runCommand(pair, 'status')).code, 0)
  },
)
