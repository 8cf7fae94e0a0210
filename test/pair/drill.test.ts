/** The rehearsal: what would be missing on the day is found before it. */

import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import Database from 'better-sqlite3'
import t from 'tap'
import { archiveDir } from '../../src/backup/binlog/archive-layout.js'
import { binlogEnd, layArchive, notePosition } from '../support/binlog-archive.js'
import { runCommand } from '../support/command.js'
import { mariadbInstalled } from '../support/mariadb.js'
import { Pair } from '../support/pair.js'
import { flipByte, testDatabase } from '../support/sides.js'
import { SmallDisk, noSmallDisk } from '../support/small-disk.js'
import type { Mariadb } from '../support/mariadb.js'
import type { DrillReport } from '../../src/backup/drill/drill.js'

const WORK = ['restored', 'restored.partial', 'mysql']

const stateDir = (pair: Pair) => join(pair.backup.dir, 'seaf-backup-state')

async function drilled(pair: Pair): Promise<{ code: number | null; report: DrillReport & { file: string } }> {
  const { code, stdout, stderr } = await runCommand(pair, 'drill', '--json')
  if (stdout === '') throw new Error(stderr)
  return { code, report: JSON.parse(stdout) as DrillReport & { file: string } }
}

t.test('drill: on SQLite all is restored, compared and removed again; status says that it succeeded', async t => {
  await using pair = await Pair.start()
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'Photos', owner: 'jo@example.com' })
  await writer.commit(repo, [{ op: 'put', path: '/cat.jpg', content: randomBytes(50_000) }])
  await pair.until('arrived', async () => (await pair.library(repo))?.state === 'synchronized')
  await pair.settle()
  t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)

  const { code, report } = await drilled(pair)

  t.equal(code, 0, report.problems.join('; '))
  t.match(report, { ok: true, tables: 'restored', restored: { libraries: 1, lost: 0, blocks: 1 } })
  t.match(report.files, [{ library: repo, path: '/cat.jpg', bytes: 50_000 }])
  t.ok(report.tablesCompared > 0)
  t.notOk(existsSync(join(stateDir(pair), 'drill', 'restored')), 'nothing of it stays')
  t.match(JSON.parse(await readFile(report.file, 'utf8')), { ok: true })
  t.match((await pair.status()).drill, { ok: true, okAt: report.at })
  t.match((await runCommand(pair, 'status', '--verbose')).stdout, /^Drill: the last that succeeded was/m)
})

t.test(
  'drill: one whose history has no room is given up before the disk is full, and gives its room back',
  { skip: noSmallDisk },
  async t => {
    await using pair = await Pair.start()
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Photos', owner: 'jo@example.com' })
    let head = ''
    for (let version = 0; version < 10; version++)
      head = await writer.commit(repo, [{ op: 'put', path: '/cat.jpg', content: randomBytes(2_000_000) }])
    await pair.until('arrived', async () => (await pair.library(repo))?.head === head)
    await pair.settle()
    const room = join(stateDir(pair), 'drill')
    await using _disk = await SmallDisk.mount(room, `size=${2 * 1024 ** 3 + 8_000_000}`)

    const { code, report } = await drilled(pair)

    t.equal(code, 1)
    t.match(report.problems, [/go on with the drill in .*2\.0 must stay so for syncing/])
    t.strictSame(
      (await readdir(room)).filter(name => WORK.includes(name)),
      [],
    )
  },
)

t.test(
  'drill: a library that would not come back fails it, status says so at once, and the last good one is remembered',
  async t => {
    await using pair = await Pair.start()
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Rots', owner: 'jo@example.com' })
    await writer.commit(repo, [{ op: 'put', path: '/film', content: randomBytes(50_000) }])
    await pair.until('arrived', async () => (await pair.library(repo))?.state === 'synchronized')
    await pair.settle()
    const good = await drilled(pair)
    t.equal(good.code, 0)
    t.equal(good.report.dump, null, 'dumps are off here, and none is asked for')
    const blocks = join(pair.backup.dataDir, 'storage', 'blocks', repo)
    const [prefix] = await readdir(blocks)
    const [rest] = await readdir(join(blocks, String(prefix)))
    await flipByte(join(blocks, String(prefix), String(rest)))

    const { code, report } = await drilled(pair)

    t.equal(code, 1)
    t.match(report.problems, [new RegExp(repo)])
    t.match(
      (await runCommand(pair, 'status')).stdout,
      new RegExp(`^Drill of .* failed, the last that succeeded was .*${repo}`, 'm'),
    )
    t.match((await pair.status()).drill, { ok: false, okAt: good.report.at })
  },
)

t.test(
  'drill: with a dump of MariaDB, in a server of its own that is gone afterwards',
  { skip: !mariadbInstalled() && 'mariadbd is not installed' },
  async t => {
    await using theirs = await testDatabase('mysql')
    const server = theirs.server as Mariadb
    await server.query(`CREATE DATABASE ccnet_db; CREATE DATABASE seahub_db;
    CREATE TABLE ccnet_db.EmailUser (id INT PRIMARY KEY, email VARCHAR(255));
    INSERT INTO ccnet_db.EmailUser SELECT seq, 'x@example.com' FROM ccnet_db.seq_1_to_500`)
    await using pair = await Pair.start({ primary: { database: theirs.database as never } })
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Papers', owner: 'jo@example.com' })
    await pair.until('arrived', async () => (await pair.library(repo))?.state === 'synchronized')
    await pair.settle()
    t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)

    const { code, report } = await drilled(pair)

    t.equal(code, 0, report.problems.join('; '))
    t.match(report, { tables: 'restored', restored: { libraries: 1 } })
    t.ok(report.rowsCompared >= 500)
    const { judged = 0, moving = 0 } = report.besidePrimary ?? {}
    t.ok(judged + moving > 0, `the primary was asked: ${report.primaryWhy}`)
    t.match(report.besidePrimary, { apart: [], notCounted: 0 })
    t.notOk(existsSync(join(stateDir(pair), 'drill', 'mysql')))
  },
)

t.test(
  'drill: what the binlog has after the dump is replayed too, and the rows of the tables that it left alone compared',
  { skip: !mariadbInstalled() && 'mariadbd is not installed' },
  async t => {
    const logging = ['--log-bin=mysql-bin', '--server-id=1', '--binlog-format=STATEMENT']
    await using theirs = await testDatabase('mysql', logging, 'Europe/Paris')
    const server = theirs.server as Mariadb
    await server.query(`CREATE DATABASE ccnet_db; CREATE DATABASE seahub_db;
    CREATE TABLE ccnet_db.EmailUser (id INT PRIMARY KEY, ctime DATETIME); CREATE TABLE ccnet_db.UserRole (id INT PRIMARY KEY);
    CREATE TABLE seahub_db.dropped (id INT PRIMARY KEY); INSERT INTO ccnet_db.UserRole VALUES (1), (2)`)
    await using pair = await Pair.start({ primary: { database: theirs.database as never } })
    await pair.settle()
    t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)
    const id = String((await pair.status()).dumps?.newest?.id)
    const end = await binlogEnd(server)
    const second = Math.floor(Date.now() / 1000)
    while (Date.now() < (second + 1) * 1000) await delay(20) // what is dropped while it is taken is another matter
    await server.query(
      'INSERT INTO ccnet_db.EmailUser VALUES (1, NOW()), (2, NULL), (3, NULL); DROP TABLE seahub_db.dropped',
    )
    await pair.backup.process?.stop()
    await notePosition(stateDir(pair), id, end)
    await rm(archiveDir(stateDir(pair)), { recursive: true, force: true })
    await layArchive(stateDir(pair), server)

    const { code, report } = await drilled(pair)

    t.equal(code, 0, report.problems.join('; '))
    t.match(report, { tables: 'restored', replayed: { transactions: 2 } })
    t.ok(report.rowsCompared >= 2)
    t.match((await runCommand(pair, 'drill')).stdout, /^Binlog after it: 2 transactions, up to /m)
  },
)

t.test('drill: with dumps asked for and none there, it fails and says so', async t => {
  await using pair = await Pair.lay({ dumps: '0 0 1 1 *' })
  await pair.catalog()
  await pair.startBackup()
  const { code, report } = await drilled(pair)
  t.equal(code, 1)
  t.match(report.problems, [/there is no dump/])
})

t.test(
  'drill: rows that the primary has beyond the dump are said and no fault; without a primary that is said',
  async t => {
    await using pair = await Pair.start()
    const users = join(pair.primary.dir, 'seahub.db')
    const hub = new Database(users)
    hub.exec("CREATE TABLE share (token TEXT); INSERT INTO share VALUES ('link')")
    hub.close()
    await pair.settle()
    t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)
    const later = new Database(users)
    later.exec("INSERT INTO share VALUES ('another'), ('a third')")
    later.close()

    const { code, report } = await drilled(pair)

    t.equal(code, 0, report.problems.join('; '))
    t.strictSame(report.besidePrimary?.apart, [{ table: 'seahub.db.share', dumped: 1, now: 3 }])
    await pair.primary.process?.kill()
    const alone = await drilled(pair)
    t.equal(alone.code, 0)
    t.match(alone.report, { besidePrimary: null, primaryWhy: /ask http/ })
  },
)
