/** What is replayed of a binlog: all of the dump's tables, none of the core ones, nothing of anybody else. */

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { crc32 } from 'node:zlib'
import t from 'tap'
import { encodeFileInfo, fileInfoPath, readArchive } from '../../../src/backup/binlog/archive-layout.js'
import { EVENT, readEvents } from '../../../src/backup/binlog/events.js'
import { expectReplayable, replayBinlog } from '../../../src/backup/binlog/replay.js'
import { planReplay } from '../../../src/backup/binlog/replay-plan.js'
import { MysqlClient } from '../../../src/backup/restore/mysql-client.js'
import { planTables } from '../../../src/backup/restore/tables-plan.js'
import { MAGIC } from '../../../src/shared/binlog-events.js'
import { binlogEnd, dumpOf, layArchive } from '../../support/binlog-archive.js'
import { mariadbInstalled, startMariadb } from '../../support/mariadb.js'
import { SEAFILE_DATABASES, SEAFILE_DAY, SEAFILE_TABLES } from '../../support/seafile-statements.js'
import { mysqlConfig } from '../../support/sides.js'
import { tablesOf } from '../../support/tables.js'
import type { Test } from 'tap'
import type { Replay } from '../../../src/backup/binlog/replay-plan.js'
import type { BinlogPosition } from '../../../src/shared/binlog-events.js'
import type { ArchiveOptions } from '../../support/binlog-archive.js'
import type { Dump } from '../../../src/backup/dumps/dump-manifest.js'
import type { Mariadb } from '../../support/mariadb.js'

const noMariadb = !mariadbInstalled() && 'mariadbd is not installed'
const ZONES = '/usr/share/zoneinfo/'
const noZones = noMariadb || (!existsSync(`${ZONES}Europe/Berlin`) && 'no time zones are installed')
const { signal } = new AbortController()

async function scratch(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'sbf-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return dir
}

const dumpAt = (position: BinlogPosition): Dump => ({
  id: '20261121T140310Z',
  engine: 'mysql',
  server: '',
  tool: '',
  databases: SEAFILE_DATABASES,
  absent: [],
  askedAt: Date.now() - 1000,
  endedAt: Date.now(),
  cause: 'manual',
  parts: [],
  tables: [],
  position,
})

async function nextSecond(): Promise<void> {
  const second = Math.floor(Date.now() / 1000)
  while (Date.now() < (second + 1) * 1000) await delay(20)
}

async function copied(t: Test, from: Mariadb, to: Mariadb): Promise<Dump> {
  const { sql, position } = await dumpOf(from, SEAFILE_DATABASES)
  const file = join(await scratch(t), 'dump.sql')
  await writeFile(file, sql)
  await to.loadFile(file, 'mysql') // which makes its databases itself
  const dump = dumpAt(position)
  await nextSecond() // what is defined while a dump is taken is another matter
  return dump
}

async function planned(t: Test, server: Mariadb, dump: Dump): Promise<Replay> {
  const stateDir = await scratch(t)
  await layArchive(stateDir, server)
  const { replay } = await planReplay(readArchive(stateDir), dump, null, signal)
  if (!replay) throw new Error('there is nothing to be replayed')
  return replay
}

async function replayInto(server: Mariadb, replay: Replay): Promise<void> {
  using client = new MysqlClient(mysqlConfig(server) as never)
  await replayBinlog(client, replay, await expectReplayable(client, replay, signal), signal)
}

const FORMATS = [
  { format: 'ROW', args: [] },
  { format: 'MIXED', args: [] },
  { format: 'STATEMENT', args: [] },
  { format: 'ROW', args: ['--binlog-checksum=NONE', '--log-bin-compress=ON', '--log-bin-compress-min-len=10'] },
  { format: 'MIXED', args: ['--binlog-checksum=NONE', '--log-bin-compress=ON', '--log-bin-compress-min-len=10'] },
  { format: 'ROW', args: ['--binlog-row-image=MINIMAL', '--binlog-row-metadata=FULL'] },
]

for (const { format, args } of FORMATS) {
  t.test(
    `filter: a day of Seafile in format ${format} ${args.join(' ')}: the tables are as on the primary, the core ones untouched`,
    { skip: noMariadb },
    async t => {
      const logging = ['--log-bin=mysql-bin', '--server-id=1', `--binlog-format=${format}`, ...args]
      await using primary = await startMariadb({ args: logging })
      await using target = await startMariadb({ args: ['--log-bin', '--server-id=2', '--gtid-strict-mode=ON'] })
      await primary.query(SEAFILE_TABLES)
      await primary.query("INSERT INTO seafile_db.Branch VALUES (99, 'master', 'old', 'old')")
      const dump = await copied(t, primary, target)
      await target.query('CREATE TABLE seafile_db.Branch (id INT); CREATE DATABASE other')
      for (const part of SEAFILE_DAY) {
        await primary.query(part)
        await primary.query('FLUSH BINARY LOGS')
      }

      const replay = await planned(t, primary, dump)
      await replayInto(target, replay)

      t.strictSame(await tablesOf(target, SEAFILE_DATABASES), await tablesOf(primary, SEAFILE_DATABASES))
      t.equal(await target.query('SELECT COUNT(*) FROM seafile_db.Branch'), '0\n')
      t.equal(await target.query('SHOW TABLES IN other'), '')
      t.ok(replay.transactions > 20)
      t.notMatch([...replay.tables].join(' '), /seafile_db\.(Branch|Repo|RepoHead)\b/)
    },
  )
}

t.test(
  'filter: an ALTER that is logged in two phases is replayed once, and one that failed is not',
  { skip: noMariadb },
  async t => {
    await using primary = await startMariadb({
      args: ['--log-bin=mysql-bin', '--server-id=1', '--binlog-alter-two-phase=ON'],
    })
    await using target = await startMariadb()
    await primary.query(SEAFILE_TABLES)
    const dump = await copied(t, primary, target)
    await primary.query(`
      CREATE TABLE seahub_db.twice (a INT NOT NULL); INSERT INTO seahub_db.twice VALUES (1), (1);
      ALTER TABLE seahub_db.twice ADD COLUMN b INT;
      ALTER TABLE seahub_db.twice ADD COLUMN c INT, ALGORITHM=COPY;`)
    await t.rejects(primary.query('ALTER TABLE seahub_db.twice ADD UNIQUE (a), ALGORITHM=COPY'), {
      message: /Duplicate/,
    })
    await primary.query('INSERT INTO seahub_db.twice VALUES (2, 3, 4)')
    const log = await primary.query("SHOW BINLOG EVENTS IN 'mysql-bin.000001'")
    t.match(log, /START ALTER/)
    t.match(log, /ROLLBACK ALTER/)

    await replayInto(target, await planned(t, primary, dump))

    t.strictSame(await tablesOf(target, SEAFILE_DATABASES), await tablesOf(primary, SEAFILE_DATABASES))
    const shown = 'SHOW CREATE TABLE seahub_db.twice'
    t.equal(await target.query(shown), await primary.query(shown))
  },
)

/** What only another server logs: an UPDATE of rows as one of parts of JSON values, which is as an UPDATE in all that is read. */
async function madePartial(stateDir: string): Promise<void> {
  for (const { path, name, bytes } of readArchive(stateDir)[0]?.files ?? []) {
    const events = [...readEvents({ path, name, from: 0, to: bytes })].map(event => ({
      ...event,
      bytes: Buffer.from(event.bytes),
    }))
    for (const { type, bytes: changed } of events) {
      if (type !== EVENT.updateRowsV1) continue
      changed.writeUInt8(EVENT.partialUpdateRows, 4)
      changed.writeUInt32LE(crc32(changed.subarray(0, -4)), changed.byteLength - 4)
    }
    await writeFile(path, Buffer.concat([MAGIC, ...events.map(event => event.bytes)]))
  }
}

t.test(
  'filter: what cannot be replayed stops nothing where another application has written it in a database of its own',
  { skip: noMariadb },
  async t => {
    const logging = ['--log-bin=mysql-bin', '--server-id=1', '--binlog-format=STATEMENT', '--binlog-checksum=CRC32']
    await using primary = await startMariadb({ args: logging })
    await using target = await startMariadb()
    const rows = join(await scratch(t), 'rows')
    await writeFile(rows, '5\n6\n')
    await primary.query(`${SEAFILE_TABLES}
      CREATE TABLE seahub_db.n (a INT); INSERT INTO seahub_db.n VALUES (0);
      CREATE DATABASE other; CREATE TABLE other.n (a INT); INSERT INTO other.n VALUES (0);`)
    const dump = await copied(t, primary, target)
    const load = (table: string) => `LOAD DATA INFILE '${rows}' INTO TABLE ${table};`
    const xa = (table: string) =>
      `XA START 'x'; SAVEPOINT s; INSERT INTO ${table} VALUES (4); XA END 'x'; XA PREPARE 'x';`
    const parts = (table: string) => `SET binlog_format = ROW; UPDATE ${table} SET a = a + 1;`
    await primary.query(`
      INSERT INTO seahub_db.n VALUES (1);
      ${xa('other.n')} XA COMMIT 'x'; ${load('other.n')}
      START TRANSACTION; ${load('other.n')} INSERT INTO seahub_db.n VALUES (2); COMMIT;
      SET binlog_format = ROW; ${xa('other.n')} XA ROLLBACK 'x'; ${parts('other.n')} ${xa('other.n')}`)
    await primary.query('FLUSH BINARY LOGS')
    const stateDir = await scratch(t)
    const plan = async (from: Dump) => {
      await layArchive(stateDir, primary)
      await madePartial(stateDir)
      return (await planReplay(readArchive(stateDir), from, null, signal)).replay as Replay
    }

    await primary.query("XA COMMIT 'x'; INSERT INTO seahub_db.n VALUES (3)")
    const replay = await plan(dump)
    await replayInto(target, replay)

    t.equal(replay.transactions, 3)
    t.strictSame([...replay.tables], ['seahub_db.n'])
    t.strictSame(await tablesOf(target, SEAFILE_DATABASES), await tablesOf(primary, SEAFILE_DATABASES))
    t.equal(await target.query('SELECT a FROM seahub_db.n'), '0\n1\n2\n3\n')
    for (const [sql, message] of [
      [`${xa('seahub_db.n')} XA ROLLBACK 'x'`, /distributed transaction \(XA\)/],
      [`SET binlog_format = ROW; ${xa('seahub_db.n')} XA ROLLBACK 'x'`, /distributed transaction \(XA\)/],
      [load('seahub_db.n'), /LOAD DATA/],
      [parts('seahub_db.n'), /part of a JSON value/],
    ] as const) {
      const before = dumpAt(await binlogEnd(primary))
      await primary.query(sql)
      await t.rejects(plan(before), { code: 'BINLOG_UNREPLAYABLE', message }, sql)
    }
  },
)

t.test(
  'filter: what a distributed transaction wrote before the dump and commits after it is known to an older dump alone',
  { skip: noMariadb },
  async t => {
    await using primary = await startMariadb({ args: ['--log-bin=mysql-bin', '--server-id=1'] })
    await primary.query(`${SEAFILE_TABLES} CREATE DATABASE other; CREATE TABLE other.n (a INT);`)
    const stateDir = await scratch(t)
    const older = { ...dumpAt(await binlogEnd(primary)), id: 'older' }
    const write = (name: string) =>
      primary.query(`XA START '${name}'; INSERT INTO other.n VALUES (1); XA END '${name}'; XA PREPARE '${name}'`)
    await write('committed')
    await write('given up')
    const newer = dumpAt(await binlogEnd(primary))
    const order = async (...dumps: Dump[]) => {
      await layArchive(stateDir, primary)
      return planTables(stateDir, dumps, { at: null, withoutBinlog: false }, signal)
    }

    await primary.query("XA ROLLBACK 'given up'; INSERT INTO seahub_db.django_session VALUES ('a', '', NOW())")
    t.match(await order(newer, older), { dump: { id: newer.id }, between: { replay: { transactions: 1 } } })
    await primary.query("XA COMMIT 'committed'")

    await t.rejects(order(newer), { code: 'BINLOG_UNREPLAYABLE', message: /\(XA\) that was begun before the dump/ })
    t.match(await order(newer, older), { dump: { id: 'older' }, between: { replay: { transactions: 1 } } })
  },
)

/** As the database server has it. */
async function timesOf(server: Mariadb): Promise<string> {
  const sql = "SET time_zone = '+00:00'; SELECT id, here, moment FROM seahub_db.times ORDER BY id"
  return server.query(sql)
}

t.test(
  'filter: statements with times of the time zone of the primary write the same in a server elsewhere, or nothing',
  { skip: noZones },
  async t => {
    const args = ['--log-bin=mysql-bin', '--server-id=1', '--binlog-format=MIXED']
    await using primary = await startMariadb({ args, timeZone: 'Europe/Paris' })
    await using target = await startMariadb({ timeZone: 'America/New_York' })
    await primary.query(`${SEAFILE_TABLES}
      CREATE TABLE seahub_db.times (id INT PRIMARY KEY, here DATETIME, moment TIMESTAMP NULL)`)
    const dump = await copied(t, primary, target)
    const stateDir = await scratch(t)
    const write = (id: number) =>
      primary.query(`INSERT INTO seahub_db.times VALUES
        (${id}, NOW(), NULL), (${id + 1}, NULL, '2026-07-01 12:00'), (${id + 2}, FROM_UNIXTIME(1767225600), '2026-01-01')`)
    const plan = async (options: ArchiveOptions = {}) => {
      const dir = await layArchive(stateDir, primary, options)
      return { dir, plan: async () => (await planReplay(readArchive(stateDir), dump, null, signal)).replay as Replay }
    }

    await write(1)
    await plan()
    const paris = readArchive(stateDir)[0]?.files[0]?.zone ?? null
    await primary.kill()
    primary.timeZone = 'Asia/Kolkata'
    await primary.start()
    await write(11)
    const { dir, plan: planned } = await plan()
    await writeFile(fileInfoPath(dir, 1), encodeFileInfo({ name: 'mysql-bin.000001', zone: paris }))

    await t.rejects(
      planned().then(replay => replayInto(target, replay)),
      {
        code: 'RESTORE_FAILED',
        message: /time zone \(CET, 1 or 2 hours east of UTC\), and that of the server is another \(E[SD]T, -5 or -4 /,
        details: { nextStep: /mariadb-tzinfo-to-sql.*, or start it in a zone such as Europe\/.*--without-binlog/ },
      },
    )
    t.equal(await timesOf(target), '', 'nothing is written')
    await load('Europe/Berlin', target)
    await replayInto(target, await planned())

    t.strictSame(await tablesOf(target, SEAFILE_DATABASES), await tablesOf(primary, SEAFILE_DATABASES))
    t.equal(await timesOf(target), await timesOf(primary))
    t.strictSame(
      (await planned()).parts.map(({ zones }) => zones),
      [['SYSTEM'], ['SYSTEM']],
    )
  },
)

t.test(
  'filter: a time zone that somebody named must be known, and one that was never told is no guess',
  { skip: noZones },
  async t => {
    await using primary = await startMariadb({
      args: ['--log-bin=mysql-bin', '--server-id=1', '--binlog-format=MIXED'],
    })
    await using target = await startMariadb()
    await load('Europe/Berlin', primary)
    await primary.query(
      'CREATE DATABASE seahub_db; CREATE TABLE seahub_db.times (id INT, here DATETIME, moment TIMESTAMP NULL)',
    )
    const stateDir = await scratch(t)
    const plan = async (sql: string, withoutZone = false) => {
      const dump = { ...dumpAt(await binlogEnd(primary)), databases: ['seahub_db'] }
      await primary.query(sql)
      await layArchive(stateDir, primary, { withoutZone })
      return (await planReplay(readArchive(stateDir), dump, null, signal)).replay as Replay
    }
    using client = new MysqlClient(mysqlConfig(target) as never)
    const ready = async (replay: Replay) => expectReplayable(client, replay, signal)
    const insert = 'INSERT INTO seahub_db.times VALUES (1, NOW(), NULL)'
    const others = 'CREATE TABLE IF NOT EXISTS test_other.t (a DATETIME); INSERT INTO test_other.t VALUES (NOW())'
    const named = await plan(`SET time_zone = 'Europe/Berlin'; ${insert}; SET time_zone = '+03:00'; ${insert}`)

    await t.rejects(ready(named), {
      code: 'RESTORE_FAILED',
      message: /have times of Europe\/Berlin, which the server does not know/,
      details: { nextStep: /mariadb-tzinfo-to-sql/ },
    })
    await load('Europe/Berlin', target)
    await ready(named)
    await t.rejects(plan(insert, true), {
      code: 'BINLOG_UNREPLAYABLE',
      message: /time zone of the database server.*too old/,
    })
    const rows = await plan(
      `SET binlog_format = ROW; ${insert}; SET binlog_format = STATEMENT; CREATE DATABASE test_other; ${others}`,
      true,
    )
    t.match(await ready(rows), { systemZones: ['SYSTEM'] }, 'rows have no zone, and statements of others do not count')
  },
)

/** One zone alone: all of them take seconds. */
async function load(zone: string, server: Mariadb): Promise<void> {
  const { stdout, stderr } = spawnSync('mariadb-tzinfo-to-sql', [`${ZONES}${zone}`, zone], {
    encoding: 'utf8',
  })
  if (stdout === '') throw new Error(stderr)
  await server.query(stdout, 'mysql')
}

t.test(
  'filter: what a hostile primary logs beside SQL is not obeyed by the tools that read it',
  { skip: noMariadb },
  async t => {
    await using primary = await startMariadb({
      args: ['--log-bin=mysql-bin', '--server-id=1', '--binlog-format=STATEMENT'],
    })
    await using target = await startMariadb()
    await primary.query(SEAFILE_TABLES)
    const dump = await copied(t, primary, target)
    const dir = await scratch(t)
    const evil = `\n\\\\! touch ${dir}/obeyed\nsystem touch ${dir}/obeyed\nsource ${dir}/x\ntee ${dir}/obeyed\n`
    const client = spawnSync(
      'mariadb',
      ['--no-defaults', '--binary-mode', `--socket=${primary.socket}`, '--user=root', 'seahub_db'],
      {
        input: `INSERT INTO django_session /* ${evil} */ VALUES ('a', '${evil}', NOW());`,
      },
    )
    t.equal(client.status, 0, client.stderr.toString())

    await replayInto(target, await planned(t, primary, dump))

    t.equal(await target.query('SELECT session_key FROM seahub_db.django_session'), 'a\n')
    t.notOk(existsSync(join(dir, 'obeyed')))
  },
)
