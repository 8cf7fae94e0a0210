/** All tables at a second between two dumps: from the dump before it and the archived binlog of the primary after that. */

import { readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { World, scratch } from '../support/binlog-world.js'
import { referenceCheck } from '../support/fixtures.js'
import { mariadbInstalled } from '../support/mariadb.js'
import { SEAFILE_DATABASES, SEAFILE_DAY } from '../support/seafile-statements.js'
import { flipByte, mysqlConfig } from '../support/sides.js'
import { tablesOf } from '../support/tables.js'

const noMariadb = !mariadbInstalled() && 'mariadbd is not installed'

const iso = (at: number) => new Date(at).toISOString().replace(/\.\d+Z/, 'Z')
/** As somebody in Paris writes it. */
const inParis = (at: number) => `${new Date(at).toLocaleString('sv-SE', { timeZone: 'Europe/Paris' })} Europe/Paris`

for (const format of ['ROW', 'MIXED']) {
  t.test(
    `point in time: with binlog format ${format}, each of several seconds after a dump that was taken while people wrote comes back as it was`,
    { skip: noMariadb },
    async t => {
      await using world = await World.start(t, format)
      const { pair, target } = world
      const writer = await pair.writer()
      const repo = await writer.createLibrary({ name: 'Diary', owner: 'jo@example.com' })
      await pair.until('arrived', async () => (await pair.heads('backup')).has(repo))
      await world.dump(t, () => world.write())
      const heads: string[] = []
      const instants = []
      for (const name of ['one', 'two', 'three']) {
        instants.push(
          await world.instant(async () => {
            await world.write()
            const head = await writer.commit(repo, [{ op: 'put', path: `/${name}`, content: Buffer.from(name) }])
            await pair.until(name, async () => (await pair.library(repo))?.head === head)
            heads.push(head)
            await world.server.query('FLUSH BINARY LOGS')
          }),
        )
      }
      for (const part of SEAFILE_DAY) await world.server.query(part)
      await pair.backup.process?.stop()
      await world.archive()
      await target.query('CREATE DATABASE mine; CREATE TABLE mine.t (a INT); INSERT INTO mine.t VALUES (5)')
      const dir = await scratch(t)

      for (const [i, { at, tables }] of instants.entries()) {
        const to = join(dir, String(i))
        const ran = await world.restore(to, '--at', i === 1 ? inParis(at) : iso(at), ...(i > 0 ? ['--force'] : []))

        t.equal(ran.code, 0, ran.stderr)
        t.match(
          ran.stdout,
          new RegExp(`Other tables: all as of ${iso(at)}: dump .* transactions? of the binlog after it`),
        )
        const found = await tablesOf(target, SEAFILE_DATABASES, false)
        t.strictSame(found, tables, `the tables of ${iso(at)}`)
        const { libraries } = await referenceCheck(join(to, 'seafile-data'), mysqlConfig(target))
        t.match(libraries, [{ id: repo, head: heads[i], owner: 'jo@example.com' }])
        t.notMatch(await target.query('SHOW DATABASES'), /other|elsewhere/)
        t.equal(await target.query('SELECT a FROM mine.t'), '5\n', 'what was there is there')
      }
      const restored = JSON.parse(await readFile(join(dir, '0', 'restored.json'), 'utf8')) as Record<string, unknown>
      t.equal(restored['tablesAsOf'], (instants[0]?.at ?? 0) + 999)
    },
  )
}

t.test(
  'point in time: the dry run says as much, with JSON too; and without the binlog, or beyond its end, that the tables are older',
  { skip: noMariadb },
  async t => {
    await using world = await World.start(t, 'ROW')
    const id = await world.dump(t)
    const { at } = await world.instant(() => world.write())
    await world.archive()
    await delay(1100)
    const dir = await scratch(t)

    const dry = await world.restore(join(dir, 'x'), '--at', iso(at), '--dry-run')
    const json = await world.restore(join(dir, 'x'), '--at', iso(at), '--dry-run', '--json')
    const without = await world.restore(join(dir, 'x'), '--at', iso(at), '--dry-run', '--without-binlog')
    const beyond = await world.restore(join(dir, 'x'), '--at', iso(Date.now()), '--dry-run')

    t.match(dry.stdout, `Other tables: all as of ${iso(at)}: dump ${id}`)
    t.match(JSON.parse(json.stdout.split('\n')[0] ?? ''), { tables: { dump: id, asOf: at + 999, notAsAsked: null } })
    t.match(without.stdout, new RegExp(`Other tables: dump ${id}.*\n +not as of .*the binlog is left aside`))
    t.match(beyond.stdout, /not as of .*: what is archived without a gap from this dump on ends at /)
    t.strictSame(await readdir(dir), [])
  },
)

t.test(
  'point in time: a gap in the archive is said, and the tables are brought up to it and no further',
  { skip: noMariadb },
  async t => {
    await using world = await World.start(t, 'ROW')
    await world.dump(t)
    const before = await world.instant(() => world.write())
    await world.archive()
    await world.server.query('FLUSH BINARY LOGS')
    const lost = await world.instant(() => world.write())
    await world.server.query('FLUSH BINARY LOGS')
    const [from] = (await world.server.query('SHOW MASTER STATUS')).split('\t')
    const after = await world.instant(() => world.write())
    await world.archive({
      run: 2,
      why: 'gap: the primary had let go of its log',
      began: Date.now(),
      from: String(from),
    })
    const dir = await scratch(t)

    const covered = await world.restore(join(dir, 'a'), '--at', iso(before.at))
    const coveredTables = await tablesOf(world.target, SEAFILE_DATABASES, false)
    const ran = await world.restore(join(dir, 'b'), '--at', iso(after.at), '--force')

    t.equal(covered.code, 0, covered.stderr)
    t.strictSame(coveredTables, before.tables)
    t.equal(ran.code, 0, ran.stderr)
    t.match(ran.stdout, /not as of .*ends at .*the primary had let go of its log/)
    t.strictSame(await tablesOf(world.target, SEAFILE_DATABASES, false), before.tables)
    t.notSame(before.tables, lost.tables)
  },
)

t.test(
  'point in time: a damaged archive, or what cannot be replayed, stops it before anything is written; without the binlog it goes on',
  { skip: noMariadb },
  async t => {
    await using world = await World.start(t, 'STATEMENT')
    await world.dump(t)
    const good = await world.instant(() =>
      world.server
        .query("INSERT INTO ccnet_db.EmailUser (email, is_staff, is_active) VALUES ('x', 0, 1)")
        .then(() => {}),
    )
    const bad = await world.instant(() =>
      world.server
        .query('INSERT INTO seafile_db.SharedRepo (repo_id) SELECT repo_id FROM seafile_db.Branch')
        .then(() => {}),
    )
    const archive = await world.archive()
    const dir = await scratch(t)

    const refused = await world.restore(join(dir, 'a'), '--at', iso(bad.at))
    t.equal(refused.code, 1)
    t.match(refused.stderr, /INSERT INTO seafile_db\.SharedRepo.*reads seafile_db\.Branch.*BINLOG_UNREPLAYABLE/s)
    t.match(refused.stderr, /--without-binlog/)
    const until = await world.restore(join(dir, 'b'), '--at', iso(good.at))
    t.equal(until.code, 0, 'what comes after the wanted second does not count')
    t.strictSame(await tablesOf(world.target, SEAFILE_DATABASES, false), good.tables)
    await world.target.query('DROP DATABASE seafile_db; DROP DATABASE ccnet_db; DROP DATABASE seahub_db')
    await flipByte(join(archive, '00000001.binlog'))
    const damaged = await world.restore(join(dir, 'c'), '--at', iso(bad.at))
    t.equal(damaged.code, 1)
    t.match(damaged.stderr, /BINLOG_DAMAGED|BINLOG_UNREPLAYABLE/)
    t.notMatch(await world.target.query('SHOW DATABASES'), /_db/, 'nothing half restored')
    t.strictSame(await readdir(dir), ['b'])
    t.equal((await world.restore(join(dir, 'd'), '--at', iso(bad.at), '--without-binlog')).code, 0)
  },
)

t.test(
  'point in time: an account that may not replay is told so by name before anything is imported',
  { skip: noMariadb },
  async t => {
    await using world = await World.start(t, 'ROW')
    await world.dump(t)
    const { at } = await world.instant(() => world.write())
    await world.archive()
    await world.target.query(
      'CREATE USER little; GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, LOCK TABLES ON *.* TO little',
    )
    await writeFile(world.targetFile, `[client]\nuser = little\nsocket = "${world.target.socket}"\n`, { mode: 0o600 })
    const dir = await scratch(t)

    const ran = await world.restore(join(dir, 'a'), '--at', iso(at))

    t.equal(ran.code, 1)
    t.match(ran.stderr, /as little@.*BINLOG REPLAY.*RESTORE_FAILED/s)
    t.match(ran.stderr, /GRANT BINLOG REPLAY/)
    t.notMatch(await world.target.query('SHOW DATABASES'), /_db/)
  },
)

t.test(
  'point in time: a replay that the server stops in the middle leaves no database behind',
  { skip: noMariadb },
  async t => {
    await using world = await World.start(t, 'STATEMENT')
    await world.server.query('CREATE TABLE seahub_db.narrow (a INT PRIMARY KEY)')
    await world.dump(t)
    // as a temporary table that was there before the dump: the log alone does not make it
    const { at } = await world.instant(() =>
      world.server
        .query(
          'SET sql_log_bin = 0; CREATE TABLE seahub_db.unlogged (a INT); SET sql_log_bin = 1; INSERT INTO seahub_db.narrow VALUES (1); INSERT INTO seahub_db.narrow SELECT 2 FROM seahub_db.unlogged',
        )
        .then(() => {}),
    )
    await world.archive()
    const dir = await scratch(t)

    const ran = await world.restore(join(dir, 'a'), '--at', iso(at))

    t.equal(ran.code, 1)
    t.match(ran.stderr, /seahub_db\.unlogged.*RESTORE_FAILED/s)
    t.notMatch(await world.target.query('SHOW DATABASES'), /_db/)
    t.strictSame(await readdir(dir), ['a.partial'])
  },
)
