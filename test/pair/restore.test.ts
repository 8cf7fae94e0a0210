/** A restore: all of an instant under its name, or nothing; what it leaves out is said. */

import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import Database from 'better-sqlite3'
import t from 'tap'
import { runCommand } from '../support/command.js'
import { expectedOf, fixturesMissing, referenceCheck } from '../support/fixtures.js'
import { mariadbInstalled, startMariadb } from '../support/mariadb.js'
import { Pair } from '../support/pair.js'
import { figures } from '../support/replica.js'
import { flipByte, layFixture, mysqlConfig, testDatabase } from '../support/sides.js'
import type { Test } from 'tap'
import type { Mariadb } from '../support/mariadb.js'
import type { ExpectedLibrary } from '../support/fixtures.js'

const noMariadb = !mariadbInstalled() && 'mariadbd is not installed'

async function scratch(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'sbr-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return dir
}

const sqliteIn = (to: string) => ({ type: 'sqlite', path: join(to, 'seafile-data', 'seafile.db') }) as const

async function librariesIn(to: string): Promise<Map<string, ExpectedLibrary>> {
  const { libraries } = await referenceCheck(join(to, 'seafile-data'), sqliteIn(to))
  return new Map(libraries.map(library => [library.id, library]))
}

/** Where names of files are, as people see them. */
async function tree(to: string, repo: string): Promise<readonly string[]> {
  const library = (await librariesIn(to)).get(repo) as unknown as { head_state: { files: number } } | undefined
  return library ? [String(library.head_state.files)] : []
}

async function optionFile(t: Test, server: { user: string; socket: string }, more = ''): Promise<string> {
  const file = join(await scratch(t), 'client.cnf')
  await writeFile(file, `[client]\nuser = ${server.user}\nsocket = "${server.socket}"\n${more}\n`, { mode: 0o600 })
  return file
}

t.test(
  'restore: the fixtures of a real server on SQLite: whole libraries as the independent reader expects them',
  { skip: fixturesMissing() },
  async t => {
    await using pair = await Pair.start({ prepare: async dir => void (await layFixture('sqlite', dir, undefined)) })
    await pair.settle()
    t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)
    const to = join(await scratch(t), 'restored')

    const ran = await runCommand(pair, 'restore', '--to', to)

    const { libraries, as_of } = await expectedOf('sqlite-small')
    const damaged = libraries.filter(({ corrupt }) => corrupt !== null)
    t.equal(ran.code, damaged.length > 0 ? 1 : 0, ran.stderr)
    const found = await referenceCheck(join(to, 'seafile-data'), sqliteIn(to), as_of)
    const byId = new Map(found.libraries.map(library => [library.id, library]))
    for (const library of libraries) {
      if (library.corrupt === null)
        t.strictSame(figures(byId.get(library.id)), figures(library), library.kind ?? library.id)
      else t.notOk(byId.has(library.id), `${library.kind ?? library.id}: no row of a library that is not whole`)
    }
    const users = new Database(join(to, 'ccnet', 'PeerMgr', 'usermgr.db'), { readonly: true })
    t.ok((users.prepare('SELECT COUNT(*) FROM EmailUser').pluck().get() as number) > 0, 'users came with the dump')
    users.close()
    t.ok(existsSync(join(to, 'seafile-data', 'tmpfiles')))
  },
)

t.test(
  'restore: the fixtures on MariaDB into another server, its other tables as they were',
  { skip: noMariadb || fixturesMissing() },
  async t => {
    await using theirs = await testDatabase('mysql')
    const server = theirs.server as Mariadb
    await using pair = await Pair.start({
      primary: { database: theirs.database as never },
      prepare: async dir => {
        await layFixture('mysql', dir, server)
        for (const db of ['ccnet_db', 'seahub_db']) await server.loadFile(join(dir, `${db}.sql`), db)
      },
    })
    await pair.settle()
    t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)
    // whose default is not the collation of the dump
    await using other = await startMariadb({
      args: ['--character-set-server=utf8mb4', '--collation-server=utf8mb4_unicode_ci'],
    })
    const database = await optionFile(t, other)
    const dir = await scratch(t)
    const unnamed = await runCommand(pair, 'restore', '--to', join(dir, 'x'))
    t.equal(unnamed.code, 2)
    t.match(unnamed.stderr, /--database FILE/)

    const ran = await runCommand(pair, 'restore', '--to', join(dir, 'restored'), '--database', database)

    const { libraries, as_of } = await expectedOf('mysql-small')
    t.equal(ran.code, 1, ran.stderr)
    const found = await referenceCheck(join(dir, 'restored', 'seafile-data'), mysqlConfig(other), as_of)
    const byId = new Map(found.libraries.map(library => [library.id, library]))
    for (const library of libraries) {
      if (library.corrupt === null)
        t.strictSame(figures(byId.get(library.id)), figures(library), library.kind ?? library.id)
      else t.notOk(byId.has(library.id), `${library.kind ?? library.id}: no row of a library that is not whole`)
    }
    const tables = (await server.query('SHOW TABLES IN ccnet_db')).trim().split('\n')
    t.ok(tables.length > 3)
    for (const table of tables) {
      const sum = `CHECKSUM TABLE ccnet_db.\`${table}\``
      t.equal(await other.query(sum), await server.query(sum), table)
    }

    const joined = 'SELECT COUNT(*) FROM seafile_db.RepoOwner o JOIN seafile_db.Branch b ON o.repo_id = b.repo_id'
    t.ok(Number(await other.query(joined)) > 0, 'as a server joins them')

    const again = await runCommand(pair, 'restore', '--to', join(dir, 'again'), '--database', database)
    t.equal(again.code, 2, 'databases that are there are not written over')
    t.match(again.stderr, /ccnet_db.*is there/)
    t.strictSame(await readdir(dir), ['restored'], 'that is seen before anything is copied')
    const dry = await runCommand(pair, 'restore', '--to', join(dir, 'again'), '--database', database, '--dry-run')
    t.equal(dry.code, 2)
    t.match(dry.stderr, /ccnet_db.*is there/)
    await other.query("CREATE USER sea@localhost IDENTIFIED BY 'right'")
    const wrong = await optionFile(t, { user: 'sea', socket: other.socket }, 'password = wrong')
    const denied = await runCommand(pair, 'restore', '--to', join(dir, 'again'), '--database', wrong)
    t.equal(denied.code, 1)
    t.match(denied.stderr, /Access denied for user 'sea'/)
    t.strictSame(await readdir(dir), ['restored'], 'and so is a password that the server refuses')
    const forced = await runCommand(pair, 'restore', '--to', join(dir, 'forced'), '--database', database, '--force')
    t.equal(forced.code, 1)
    t.match(forced.stdout, /Restored to/)
  },
)

t.test(
  'restore: as of an instant: heads and names as they were, no library that is newer, owners as in the dump before it',
  async t => {
    await using pair = await Pair.start()
    await pair.settle()
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Diary', owner: 'jo@example.com' })
    const first = await writer.commit(repo, [{ op: 'put', path: '/one', content: randomBytes(1000) }])
    await pair.until('the first', async () => (await pair.library(repo))?.head === first)
    t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)
    await delay(50)
    const at = new Date().toISOString()
    await delay(50)
    await (await pair.catalog()).setOwner(repo, 'new@example.com', new AbortController().signal)
    const second = await writer.commit(repo, [{ op: 'put', path: '/two', content: randomBytes(1000) }])
    const newer = await writer.createLibrary({ name: 'Newer', owner: 'new@example.com' })
    await pair.until(
      'the second',
      async () => (await pair.library(repo))?.head === second && (await pair.heads('backup')).has(newer),
    )
    const dir = await scratch(t)

    const dry = await runCommand(pair, 'restore', '--to', join(dir, 'then'), '--at', at, '--dry-run')
    t.equal(dry.code, 0, dry.stderr)
    t.match(dry.stdout, new RegExp(`${repo} goes back: without 1 commit, the newest of`))
    t.match(dry.stdout, new RegExp(`${newer} left out: it had no head yet`))
    t.strictSame(await readdir(dir), [], 'a dry run writes nothing')
    const then = await runCommand(pair, 'restore', '--to', join(dir, 'then'), '--at', at)
    const now = await runCommand(pair, 'restore', '--to', join(dir, 'now'))

    t.equal(then.code, 0, then.stderr)
    const past = await librariesIn(join(dir, 'then'))
    t.match(past.get(repo), { head: first, owner: 'jo@example.com', name: 'Diary' })
    t.notOk(past.has(newer))
    t.equal(now.code, 0, now.stderr)
    const latest = await librariesIn(join(dir, 'now'))
    t.match(latest.get(repo), { head: second, owner: 'new@example.com' })
    t.match(latest.get(newer), { name: 'Newer', owner: 'new@example.com' }, 'newer than the dump, with owner and name')
    t.strictSame(await tree(join(dir, 'then'), repo), ['1'])
  },
)

t.test('restore: a library that was deleted on the primary comes when it is named, or for a time before', async t => {
  await using pair = await Pair.start()
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'Gone', owner: 'jo@example.com' })
  const other = await writer.createLibrary({ name: 'Here', owner: 'jo@example.com' })
  await pair.until('arrived', async () => (await pair.status()).counts.synchronized === 2)
  t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)
  const before = new Date().toISOString()
  await delay(50)
  const db = new Database(sqliteIn(pair.primary.dir).path)
  for (const table of ['Repo', 'Branch', 'RepoHead', 'RepoOwner'])
    db.prepare(`DELETE FROM ${table} WHERE repo_id = ?`).run(repo)
  db.close()
  await pair.sync(null)
  const dir = await scratch(t)

  const all = await runCommand(pair, 'restore', '--to', join(dir, 'all'))
  t.equal(all.code, 0, 'what the primary deleted is no loss')
  t.match(all.stdout, /left out: the primary had deleted it/)
  t.match(all.stdout, /Rows of 1 library that is not there were removed/)
  const owners = new Database(sqliteIn(join(dir, 'all')).path, { readonly: true })
  t.strictSame(
    owners.prepare('SELECT repo_id FROM RepoOwner').pluck().all(),
    [other],
    'or a server would list it as broken',
  )
  owners.close()
  const named = await runCommand(pair, 'restore', '--to', join(dir, 'named'), '--library', repo)
  t.equal(named.code, 0, named.stderr)
  t.match(named.stdout, /^Other tables: none are restored: with --library/m, 'a dump that is not taken is not shown')
  const then = ['--without-tables', '--at', '2001-01-01T00:00:00Z']
  const nothing = await runCommand(pair, 'restore', '--to', join(dir, 'nothing'), ...then)
  t.equal(nothing.code, 2, 'neither library nor table: an empty directory is no restore')
  t.match(nothing.stderr, /no library, and no other table is wanted/)
  t.notOk(existsSync(join(dir, 'nothing')))
  t.match((await librariesIn(join(dir, 'named'))).get(repo), { name: 'Gone', owner: 'jo@example.com' })
  t.equal((await runCommand(pair, 'restore', '--to', join(dir, 'before'), '--at', before)).code, 0)
  t.ok((await librariesIn(join(dir, 'before'))).has(repo))
})

t.test(
  'restore: with an object of the copy damaged its library is not restored, and said; with --accept-holes it is',
  async t => {
    await using pair = await Pair.start()
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Rotten', owner: 'jo@example.com' })
    const whole = await writer.createLibrary({ name: 'Whole', owner: 'jo@example.com' })
    await writer.commit(repo, [{ op: 'put', path: '/film', content: randomBytes(100_000) }])
    await pair.until(
      'arrived',
      async () => (await pair.library(repo))?.state === 'synchronized' && (await pair.heads('backup')).has(whole),
    )
    await pair.settle()
    const blocks = join(pair.backup.dataDir, 'storage', 'blocks', repo)
    const [prefix] = await readdir(blocks)
    const [rest] = await readdir(join(blocks, String(prefix)))
    await flipByte(join(blocks, String(prefix), String(rest)))
    const dir = await scratch(t)

    const ran = await runCommand(pair, 'restore', '--to', join(dir, 'a'))

    t.equal(ran.code, 1)
    t.match(ran.stdout, new RegExp(`${repo} NOT RESTORED: 1 of its objects`))
    t.match(ran.stdout, /\/film: blocks/)
    const restored = await librariesIn(join(dir, 'a'))
    t.notOk(restored.has(repo))
    t.ok(restored.has(whole), 'the others are not held up')
    const accepted = await runCommand(pair, 'restore', '--to', join(dir, 'b'), '--accept-holes')
    t.equal(accepted.code, 0)
    t.ok((await librariesIn(join(dir, 'b'))).has(repo))
  },
)

t.test(
  'restore: nothing is written over, and one that was killed is nothing under its name and goes on when run again',
  async t => {
    await using pair = await Pair.start()
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Photos', owner: 'jo@example.com' })
    await writer.commit(repo, [{ op: 'put', path: '/a', content: randomBytes(10_000) }])
    await pair.until('arrived', async () => (await pair.library(repo))?.state === 'synchronized')
    await pair.settle()
    const dir = await scratch(t)
    await mkdir(join(dir, 'mine'))
    await writeFile(join(dir, 'mine', 'file'), 'mine')
    const refused = await runCommand(pair, 'restore', '--to', join(dir, 'mine'))
    t.equal(refused.code, 2)
    t.equal(await readFile(join(dir, 'mine', 'file'), 'utf8'), 'mine')

    const partial = join(dir, 'new.partial')
    await mkdir(join(partial, 'seafile-data'), { recursive: true })
    await writeFile(join(partial, 'letters.txt'), 'mine')
    const notOurs = await runCommand(pair, 'restore', '--to', join(dir, 'new'))
    t.equal(notOurs.code, 2)
    t.match(notOurs.stderr, /new\.partial is there: .*not of a restore/)
    t.strictSame(await readdir(partial), ['letters.txt', 'seafile-data'])

    await rm(partial, { recursive: true })
    const to = ['restore', '--to', join(dir, 'new')]
    // as one that was killed, with the tables of an older dump, leaves it
    await mkdir(join(partial, 'seafile-data'), { recursive: true })
    await writeFile(join(partial, 'unfinished.json'), '')
    await writeFile(join(partial, 'seafile-data', 'seafile.db'), 'half a database')
    await writeFile(join(partial, 'seahub.db'), 'tables that are not wanted now')
    await mkdir(join(partial, 'ccnet'))
    const again = await runCommand(pair, ...to, '--without-tables')
    t.equal(again.code, 0, again.stderr)
    t.ok((await librariesIn(join(dir, 'new'))).has(repo))
    t.strictSame((await readdir(dir)).sort(), ['mine', 'new'])
    t.strictSame(await readdir(join(dir, 'new')), ['restored.json', 'seafile-data'], 'nothing of the run before stays')
  },
)

t.test(
  'restore: what a hostile primary writes into a dump beside SQL is not obeyed, and a dump that fails leaves no database',
  { skip: noMariadb },
  async t => {
    await using theirs = await testDatabase('mysql')
    const server = theirs.server as Mariadb
    const dir = await scratch(t)
    await server.query(`CREATE DATABASE ccnet_db; CREATE DATABASE seahub_db; CREATE TABLE seahub_db.t (a TEXT)`)
    const { dumpToolOf } = await import('../support/dump-tool.js')
    await using pair = await Pair.lay({ primary: { database: theirs.database as never } })
    await pair.catalog()
    const evil = `printf '\\\\! touch ${dir}/obeyed\\nsystem touch ${dir}/obeyed\\n'`
    await pair.startPrimary(await dumpToolOf(dir, `${evil}; exec $REAL "$@"`))
    await pair.startBackup()
    await pair.settle()
    t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)
    await using other = await startMariadb()

    const ran = await runCommand(
      pair,
      'restore',
      '--to',
      join(dir, 'restored'),
      '--database',
      await optionFile(t, other),
    )

    t.notOk(existsSync(join(dir, 'obeyed')))
    t.equal(ran.code, 1)
    t.match(ran.stderr, /RESTORE_FAILED/)
    t.notMatch(await other.query('SHOW DATABASES'), /seahub_db|ccnet_db|seafile_db/, 'nothing half restored is left')
    t.notOk(existsSync(join(dir, 'restored')))
  },
)

t.test(
  'restore: rows alone, for a server whose files are well: after an old database was put back by mistake',
  async t => {
    await using pair = await Pair.start()
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Diary', owner: 'jo@example.com' })
    await pair.until('its first head', async () => (await pair.heads('backup')).has(repo))
    await pair.settle()
    t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)
    const old = await readFile(sqliteIn(pair.primary.dir).path)
    const head = await writer.commit(repo, [{ op: 'put', path: '/a', content: randomBytes(1000) }])
    await pair.until('the second', async () => (await pair.library(repo))?.head === head)
    await delay(50)
    const before = new Date().toISOString()
    await writeFile(sqliteIn(pair.primary.dir).path, old)
    await pair.until('the older head is refused', async () => {
      await pair.sync(null)
      return (await pair.library(repo))?.failure?.code === 'HEAD_REWOUND'
    })
    const to = join(await scratch(t), 'rows')

    const ran = await runCommand(pair, 'restore', '--to', to, '--tables-only', '--at', before)

    t.equal(ran.code, 0, ran.stderr)
    t.notOk(existsSync(join(to, 'seafile-data', 'storage', 'commits', repo)), 'no object was copied')
    await writeFile(sqliteIn(pair.primary.dir).path, await readFile(sqliteIn(to).path))
    await pair.sync(null)
    await pair.until('as it was', async () => (await pair.library(repo))?.state === 'synchronized')
    t.equal((await pair.library(repo))?.head, head)
  },
)

t.test(
  'restore: a library whose head of that time is not known, since it came here later, is a loss and said',
  async t => {
    await using pair = await Pair.start()
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'From before', owner: 'jo@example.com' })
    await pair.until('arrived', async () => (await pair.library(repo))?.state === 'synchronized')
    await pair.settle()
    t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)
    await pair.backup.process?.stop()
    const state = new Database(join(pair.backup.dir, 'seaf-backup-state', 'state.db'))
    state.exec('UPDATE head_log SET primary_had_at = NULL, recorded_at = recorded_at + 3600000')
    state.close()
    await delay(1_100) // commits have whole seconds

    const ran = await runCommand(pair, 'restore', '--to', join(await scratch(t), 'x'), '--at', new Date().toISOString())

    t.equal(ran.code, 1)
    t.match(ran.stdout, new RegExp(`${repo} NOT RESTORED: its head of that time is not known`))
  },
)
