/** All tables at a second between two dumps: from the dump before it and the archived binlog of the primary after that. */

import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { zstdDecompressSync } from 'node:zlib'
import t from 'tap'
import { archiveDir } from '../../src/backup/binlog/archive-layout.js'
import { layArchive, notePosition, positionIn } from '../support/binlog-archive.js'
import { runCommand } from '../support/command.js'
import { dumpToolOf } from '../support/dump-tool.js'
import { referenceCheck } from '../support/fixtures.js'
import { mariadbInstalled, startMariadb } from '../support/mariadb.js'
import { Pair } from '../support/pair.js'
import { SEAFILE_DATABASES, SEAFILE_DAY, SEAFILE_TABLES } from '../support/seafile-statements.js'
import { flipByte, mysqlConfig, testDatabase } from '../support/sides.js'
import { tablesOf } from '../support/tables.js'
import type { Test } from 'tap'
import type { ArchiveOptions } from '../support/binlog-archive.js'
import type { Mariadb } from '../support/mariadb.js'
import type { TestDatabase } from '../support/sides.js'

const noMariadb = !mariadbInstalled() && 'mariadbd is not installed'
const CONFIRM = ['--confirm', 'PROMOTE']

const stateDir = (pair: Pair) => join(pair.backup.dir, 'seaf-backup-state')

async function scratch(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'sbt-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return dir
}

/** A primary with Seafile's tables and a binlog, whose dumps say where in it they are. */
class World implements AsyncDisposable {
  #written = 0

  private constructor(
    readonly theirs: TestDatabase,
    readonly pair: Pair,
    readonly target: Mariadb,
    readonly targetFile: string,
  ) {}

  static async start(t: Test, format: string, backup?: TestDatabase): Promise<World> {
    const logging = ['--log-bin=mysql-bin', '--server-id=1', `--binlog-format=${format}`]
    // not where the backup is: no statement may mean another time there
    const theirs = await testDatabase('mysql', logging, 'Asia/Kolkata')
    await (theirs.server as Mariadb).query(SEAFILE_TABLES)
    const database = { database: theirs.database as never }
    const pair = await Pair.lay({
      primary: database,
      ...(backup && { backup: { database: backup.database as never } }),
    })
    await pair.catalog()
    const dir = await scratch(t)
    await pair.startPrimary(await dumpToolOf(dir, 'exec $REAL "$@" --master-data=2'))
    await pair.startBackup()
    const target = await startMariadb()
    const file = join(dir, 'target.cnf')
    await writeFile(file, `[client]\nuser = ${target.user}\nsocket = "${target.socket}"\n`, { mode: 0o600 })
    return new World(theirs, pair, target, file)
  }

  get server(): Mariadb {
    return this.theirs.server as Mariadb
  }

  /** Some of what users do, in each of the databases. */
  async write(): Promise<void> {
    const n = (this.#written += 1)
    await this.server.query(`
      INSERT INTO ccnet_db.EmailUser (email, passwd, is_staff, is_active, ctime) VALUES ('u${n}@example.com', UUID(), 0, 1, ${n});
      START TRANSACTION;
      INSERT INTO seafile_db.SharedRepo (repo_id, from_email, to_email, permission) VALUES ('r${n}', 'a', 'b', 'rw');
      UPDATE seafile_db.Branch SET name = 'master';
      INSERT INTO seahub_db.django_session VALUES ('s${n}', RAND(), NOW(6));
      COMMIT;
      UPDATE ccnet_db.EmailUser SET is_staff = 1 - is_staff;
      CREATE DATABASE IF NOT EXISTS elsewhere; CREATE TABLE IF NOT EXISTS elsewhere.t (a INT); INSERT INTO elsewhere.t VALUES (${n});
    `)
  }

  /** The dump's id; taken while \`meanwhile\` goes on. */
  async dump(t: Test, meanwhile?: () => Promise<void>): Promise<string> {
    let isDone = false
    const writing = (async () => {
      while (!isDone && meanwhile) await meanwhile()
    })()
    const ran = await runCommand(this.pair, 'dumps', 'now')
    isDone = true
    await writing
    t.equal(ran.code, 0, ran.stderr)
    const id = String((await this.pair.status()).dumps?.newest?.id)
    const sql = zstdDecompressSync(await readFile(join(stateDir(this.pair), 'dumps', id, '0.zst')))
    await notePosition(stateDir(this.pair), id, positionIn(sql.toString('latin1')))
    const second = Math.floor(Date.now() / 1000)
    while (Date.now() < (second + 1) * 1000) await delay(20) // what is defined while it is taken is another matter
    return id
  }

  /** Writes, and waits until its second is over: then nothing else is stamped with it. `at`: when it began. */
  async instant(work: () => Promise<void>): Promise<{ at: number; tables: Record<string, string> }> {
    await work()
    const second = Number((await this.server.query('SELECT UNIX_TIMESTAMP()')).trim())
    while (Date.now() < (second + 1) * 1000) await delay(20)
    return { at: second * 1000, tables: await tablesOf(this.server, SEAFILE_DATABASES, false) }
  }

  /** In place of whatever lies there. */
  async archive(options: ArchiveOptions = {}): Promise<string> {
    if (!options.run) await rm(archiveDir(stateDir(this.pair)), { recursive: true, force: true })
    return layArchive(stateDir(this.pair), this.server, options)
  }

  restore(to: string, ...args: string[]) {
    return runCommand(this.pair, 'restore', '--to', to, '--database', this.targetFile, ...args)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pair[Symbol.asyncDispose]()
    await this.theirs[Symbol.asyncDispose]()
    await this.target[Symbol.asyncDispose]()
  }
}

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

t.test(
  'promote: the tables are as of the end of the archive, not of the dump; killed in the middle and run again, the same',
  { skip: noMariadb },
  async t => {
    await using ours = await testDatabase('mysql')
    await using world = await World.start(t, 'MIXED', ours)
    const { pair } = world
    const mine = ours.server as Mariadb
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Diary', owner: 'jo@example.com' })
    await pair.until('arrived', async () => (await pair.heads('backup')).has(repo))
    const id = await world.dump(t, () => world.write())
    for (const part of SEAFILE_DAY) await world.server.query(part)
    const head = await writer.commit(repo, [{ op: 'put', path: '/late', content: Buffer.from('late') }])
    await pair.until('late', async () => (await pair.library(repo))?.head === head)
    await pair.backup.process?.stop()
    await pair.primary.process?.stop()
    await world.archive()
    const tables = async (server: Mariadb) => {
      // whose library the backup lacks, those must sign in again
      const { ['seafile_db.RepoUserToken']: _tokens, ...others } = await tablesOf(server, SEAFILE_DATABASES, false)
      return others
    }
    const expected = await tables(world.server)

    const check = await runCommand(pair, 'promote', '--check')
    t.match(
      check.stdout,
      new RegExp(`^good +the other tables: as of .* dump ${id} and \\d+ transactions of the binlog`, 'm'),
    )
    const ran = await runCommand(pair, 'promote', ...CONFIRM, '--accept-loss', 'primary,libraries')

    t.equal(ran.code, 0, ran.stderr)
    t.match(ran.stdout, /are as of .*: dump .* transactions after it/)
    t.strictSame(await tables(mine), expected)
    t.equal(await mine.query(`SELECT commit_id FROM seafile_db.Branch WHERE repo_id = '${repo}'`), `${head}\n`)

    const file = join(stateDir(pair), 'promotion.json')
    const promotion = JSON.parse(await readFile(file, 'utf8')) as object
    await writeFile(file, JSON.stringify({ ...promotion, step: 'rows-saved' }))
    const again = await runCommand(pair, 'promote', ...CONFIRM)
    t.equal(again.code, 0, again.stderr)
    t.strictSame(await tables(mine), expected)
  },
)

t.test(
  'promote: what cannot be replayed is a loss that must be named, and then the dump alone is taken',
  { skip: noMariadb },
  async t => {
    await using ours = await testDatabase('mysql')
    await using world = await World.start(t, 'STATEMENT', ours)
    const { pair } = world
    await world.write()
    await world.dump(t)
    await pair.backup.process?.stop()
    await pair.primary.process?.stop()
    const expected = await tablesOf(world.server, SEAFILE_DATABASES, false)
    await world.server.query('INSERT INTO seafile_db.SharedRepo (repo_id) SELECT repo_id FROM seafile_db.Branch')
    await world.archive()

    const check = await runCommand(pair, 'promote', '--check')
    const refused = await runCommand(pair, 'promote', ...CONFIRM, '--accept-loss', 'primary,libraries')
    const ran = await runCommand(pair, 'promote', ...CONFIRM, '--accept-loss', 'primary,libraries,tables')

    t.match(check.stdout, /^LOSS \(tables\) .*nothing after the dump is replayed: .*reads seafile_db\.Branch/m)
    t.equal(refused.code, 2)
    t.equal(ran.code, 0, ran.stderr)
    t.match(ran.stdout, /are as in dump .*nothing after it: .*reads seafile_db\.Branch/)
    t.strictSame(await tablesOf(ours.server as Mariadb, SEAFILE_DATABASES, false), expected)
  },
)
