/** The day the primary burns: the backup becomes the server, all of it or not at all, and nobody follows the old one. */

import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import t from 'tap'
import { runCommand } from '../support/command.js'
import { expectedOf, fixturesMissing, referenceCheck } from '../support/fixtures.js'
import { mariadbInstalled } from '../support/mariadb.js'
import { Pair } from '../support/pair.js'
import { CONFIRM, giveToken, select, stateDir } from '../support/promote.js'
import { figures } from '../support/replica.js'
import { flipByte, layFixture, testDatabase } from '../support/sides.js'
import type { Mariadb } from '../support/mariadb.js'

const noMariadb = !mariadbInstalled() && 'mariadbd is not installed'

t.test('promote: what is not certain stops it, and each loss must be named; nothing is changed until then', async t => {
  await using pair = await Pair.start()
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'Papers', owner: 'jo@example.com' })
  await pair.until('arrived', async () => (await pair.library(repo))?.state === 'synchronized')
  await pair.settle()

  const running = await runCommand(pair, 'promote', ...CONFIRM)
  t.equal(running.code, 1, 'not while the daemon syncs')
  t.match(running.stderr, /ALREADY_RUNNING/)
  await pair.backup.process?.stop()
  await pair.primary.process?.stop()
  t.equal((await runCommand(pair, 'promote')).code, 2, 'not without being confirmed')
  const check = await runCommand(pair, 'promote', '--check')
  t.equal(check.code, 1)
  t.match(check.stdout, /^LOSS \(primary\) .*does not answer/m)
  t.match(check.stdout, /^LOSS \(tables\) .*no dump/m)
  t.match(check.stdout, /^good {2}libraries: all 1 are here/m)
  const refused = await runCommand(pair, 'promote', ...CONFIRM, '--accept-loss', 'primary')
  t.equal(refused.code, 2)
  t.match(refused.stderr, /--accept-loss tables/)
  t.equal((await runCommand(pair, 'promote', ...CONFIRM, '--accept-loss', 'everything')).code, 2)
  t.notOk(existsSync(join(stateDir(pair), 'promotion.json')))

  await pair.startBackup() // and it goes on as a backup
})

t.test(
  'promote: tables from the dump, libraries newer than it with their rows, tokens of those alone whose clients are ahead',
  async t => {
    await using pair = await Pair.start()
    const writer = await pair.writer()
    const old = await writer.createLibrary({ name: 'Old', owner: 'jo@example.com' })
    const ahead = await writer.createLibrary({ name: 'Ahead', owner: 'jo@example.com' })
    giveToken(pair, old, 'a'.repeat(40))
    giveToken(pair, ahead, 'b'.repeat(40))
    const hub = new Database(join(pair.primary.dir, 'seahub.db'))
    hub.exec("CREATE TABLE share (token TEXT); INSERT INTO share VALUES ('link')")
    hub.close()
    await pair.settle()
    t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)
    const newer = await writer.createLibrary({ name: 'Newer', owner: 'new@example.com' })
    await writer.commit(newer, [{ op: 'put', path: '/a', content: randomBytes(1000) }])
    await (await pair.catalog()).setOwner(old, 'heir@example.com', new AbortController().signal)
    await pair.until('arrived', async () => (await pair.status()).counts.synchronized === 3)
    await pair.sync(null) // a change of rows alone comes by comparing
    await pair.backup.process?.stop()
    await writer.commit(ahead, [{ op: 'put', path: '/not here', content: randomBytes(1000) }])

    const ran = await runCommand(pair, 'promote', ...CONFIRM, '--accept-loss', 'libraries,primary,tables')

    t.equal(ran.code, 0, ran.stderr)
    t.match(ran.stdout, new RegExp(`not here as the primary has or had them: ${ahead}`))
    t.match(ran.stdout, /start Seafile/)
    t.strictSame(select(pair, 'backup', 'SELECT repo_id FROM RepoUserToken'), [old], 'the others stay signed in')
    t.strictSame(select(pair, 'backup', 'SELECT token FROM RepoTokenPeerInfo'), ['a'.repeat(40)])
    t.strictSame(select(pair, 'backup', `SELECT owner_id FROM RepoOwner WHERE repo_id = '${old}'`), [
      'heir@example.com',
    ])
    t.strictSame(select(pair, 'backup', `SELECT owner_id FROM RepoOwner WHERE repo_id = '${newer}'`), [
      'new@example.com',
    ])
    const promotedHub = new Database(join(pair.backup.dir, 'seahub.db'), { readonly: true })
    t.equal(promotedHub.prepare('SELECT token FROM share').pluck().get(), 'link')
    promotedHub.close()
    const { libraries } = await referenceCheck(pair.backup.dataDir, pair.backup.database)
    t.strictSame(new Set(libraries.map(({ id }) => id)), new Set([old, ahead, newer]))

    const again = await runCommand(pair, 'promote', ...CONFIRM)
    t.equal(again.code, 0, 'run again, it finds all of it done')
    t.match(again.stdout, /done: done before/)
  },
)

t.test('promote: killed after any step it goes on from there, and ends the same', async t => {
  await using pair = await Pair.start()
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'Papers', owner: 'jo@example.com' })
  giveToken(pair, repo, 'c'.repeat(40))
  await pair.until('arrived', async () => (await pair.library(repo))?.state === 'synchronized')
  await pair.settle()
  t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)
  await pair.backup.process?.stop()
  t.equal((await runCommand(pair, 'promote', ...CONFIRM, '--accept-loss', 'primary,tables')).code, 0)
  const tables = () =>
    ['Branch', 'Repo', 'RepoHead', 'RepoOwner', 'RepoInfo', 'RepoUserToken'].map(table =>
      select(pair, 'backup', `SELECT repo_id FROM ${table}`),
    )
  const before = tables()
  const file = join(stateDir(pair), 'promotion.json')
  const promotion = JSON.parse(await readFile(file, 'utf8')) as object
  for (const step of ['fenced', 'rows-saved', 'tables', 'rows']) {
    await writeFile(file, JSON.stringify({ ...promotion, step }))
    const ran = await runCommand(pair, 'promote', ...CONFIRM)
    t.equal(ran.code, 0, `${step}: ${ran.stderr}`)
    t.strictSame(tables(), before, `after ${step}`)
  }
})

t.test(
  'promote: the daemon then syncs nothing and tells the old agent, which answers nobody any more, also after a restart',
  async t => {
    await using pair = await Pair.start()
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Papers', owner: 'jo@example.com' })
    await pair.until('arrived', async () => (await pair.library(repo))?.state === 'synchronized')
    await pair.settle()
    await pair.backup.process?.stop()
    t.equal((await runCommand(pair, 'promote', ...CONFIRM, '--accept-loss', 'primary,tables')).code, 0)
    const head = (await pair.heads('backup')).get(repo)

    await pair.startBackup({}, 'backup promoted: nothing is synced')

    await pair.primary.process?.logged('the backup was promoted: this host is no primary any more')
    await writer.commit(repo, [{ op: 'put', path: '/late', content: randomBytes(100) }])
    const status = await runCommand(pair, 'status')
    t.equal(status.code, 3)
    t.match(status.stdout, /PROMOTED/)
    const sync = await runCommand(pair, 'sync', repo)
    t.equal(sync.code, 1)
    t.match(sync.stderr, /PROMOTED/)
    t.equal((await pair.heads('backup')).get(repo), head)
    await pair.primary.process?.stop()
    const agent = await pair.startPrimary()
    await agent.logged('the backup was promoted: this host is no primary any more')
    const check = await runCommand(pair, 'promote', '--check')
    t.match(check.stdout, /It was promoted on/)
    t.match(check.stdout, /LOSS \(primary\) .*promoted in its place/)
  },
)

t.test(
  'promote: the fixtures on MariaDB: the promoted directory and database are the primary, by the independent reader',
  { skip: noMariadb || fixturesMissing() },
  async t => {
    await using theirs = await testDatabase('mysql')
    await using ours = await testDatabase('mysql')
    const server = theirs.server as Mariadb
    await using pair = await Pair.start({
      primary: { database: theirs.database as never },
      backup: { database: ours.database as never },
      prepare: async dir => {
        await layFixture('mysql', dir, server)
        for (const db of ['ccnet_db', 'seahub_db']) await server.loadFile(join(dir, `${db}.sql`), db)
      },
    })
    await pair.settle()
    t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)
    await pair.backup.process?.stop()

    const ran = await runCommand(pair, 'promote', ...CONFIRM, '--accept-loss', 'libraries,primary')

    t.equal(ran.code, 0, ran.stderr)
    const { libraries, as_of } = await expectedOf('mysql-small')
    const found = await referenceCheck(pair.backup.dataDir, pair.backup.database, as_of)
    const byId = new Map(found.libraries.map(library => [library.id, library]))
    for (const library of libraries.filter(({ corrupt }) => corrupt === null))
      t.strictSame(figures(byId.get(library.id)), figures(library), library.kind ?? library.id)
    const mine = ours.server as Mariadb
    for (const table of (await server.query('SHOW TABLES IN ccnet_db')).trim().split('\n')) {
      const sum = `CHECKSUM TABLE ccnet_db.\`${table}\``
      t.equal(await mine.query(sum), await server.query(sum), table)
    }
  },
)

t.test(
  'promote: a dump that has rotted is found before anything is fenced, and an older one or none can be taken',
  async t => {
    await using pair = await Pair.start()
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Papers', owner: 'jo@example.com' })
    await pair.until('arrived', async () => (await pair.library(repo))?.state === 'synchronized')
    await pair.settle()
    t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)
    const { dumps } = await pair.status()
    await pair.backup.process?.stop()
    await flipByte(join(stateDir(pair), 'dumps', String(dumps?.newest?.id), '0.zst'))

    const ran = await runCommand(pair, 'promote', ...CONFIRM, '--accept-loss', 'primary,tables')

    t.equal(ran.code, 1)
    t.match(ran.stderr, /DUMP_DAMAGED/)
    t.notOk(existsSync(join(stateDir(pair), 'promotion.json')))
    const without = await runCommand(pair, 'promote', ...CONFIRM, '--accept-loss', 'primary,tables', '--without-tables')
    t.equal(without.code, 0, without.stderr)
    t.strictSame(select(pair, 'backup', 'SELECT owner_id FROM RepoOwner'), ['jo@example.com'])
  },
)

t.test('promote: what was only heard of when the primary died is known to be behind, also after a restart', async t => {
  await using pair = await Pair.start()
  await pair.settle()
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'Papers', owner: 'jo@example.com' })
  await pair.until('arrived', async () => (await pair.library(repo))?.state === 'synchronized')
  pair.primary.relay.cut() // events come, objects do not
  const head = await writer.commit(repo, [{ op: 'put', path: '/large', content: randomBytes(200_000) }])
  const other = await writer.createLibrary({ name: 'Never came', owner: 'jo@example.com' })
  const large = await writer.commit(other, [{ op: 'put', path: '/large', content: randomBytes(200_000) }])
  await pair.until('heard', async () => {
    const heads = [await pair.library(repo), await pair.library(other)].map(library => library?.primaryHead)
    return heads[0] === head && heads[1] === large
  })
  await pair.primary.process?.kill()
  await pair.backup.process?.stop()

  const check = await runCommand(pair, 'promote', '--check')

  t.match(check.stdout, /^LOSS \(libraries\)/m)
  for (const id of [repo, other]) t.match(check.stdout, id)
})
