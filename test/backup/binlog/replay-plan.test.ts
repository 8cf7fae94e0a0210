/** Up to where a log is replayed: the last transaction of the wanted second; and what is not known is said. */

import { mkdir, mkdtemp, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { Archive, removeRun } from '../../../src/backup/binlog/archive.js'
import {
  archiveDir,
  encodeReached,
  fileInfoPath,
  filePath,
  readArchive,
  reachedPath,
} from '../../../src/backup/binlog/archive-layout.js'
import { EVENT, readEvents } from '../../../src/backup/binlog/events.js'
import { holdReplay } from '../../../src/backup/binlog/hold-replay.js'
import { expectReplayable } from '../../../src/backup/binlog/replay.js'
import { planReplay } from '../../../src/backup/binlog/replay-plan.js'
import { MysqlClient } from '../../../src/backup/restore/mysql-client.js'
import { planTables } from '../../../src/backup/restore/tables-plan.js'
import { binlogEnd, layArchive } from '../../support/binlog-archive.js'
import { mariadbInstalled, startMariadb } from '../../support/mariadb.js'
import { flipByte, mysqlConfig } from '../../support/sides.js'
import { writeFileSync } from 'node:fs'
import type { Test } from 'tap'
import type { BetweenDumps, Replay } from '../../../src/backup/binlog/replay-plan.js'
import type { BinlogPosition } from '../../../src/shared/binlog-events.js'
import type { Dump } from '../../../src/backup/dumps/dump-manifest.js'
import type { Mariadb } from '../../support/mariadb.js'

const noMariadb = !mariadbInstalled() && 'mariadbd is not installed'
const { signal } = new AbortController()
const ARGS = ['--log-bin=mysql-bin', '--server-id=1', '--binlog-format=ROW']

async function scratch(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'sbq-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return dir
}

const dumpAt = (position: BinlogPosition | null, askedAt = Date.now(), id = 'x'): Dump => ({
  id,
  engine: 'mysql',
  server: '',
  tool: '',
  databases: ['seafile_db'],
  absent: [],
  askedAt,
  endedAt: askedAt + 100,
  cause: 'manual',
  parts: [],
  tables: [],
  position,
})

async function server(): Promise<Mariadb> {
  const started = await startMariadb({ args: ARGS })
  await started.query('CREATE DATABASE seafile_db; CREATE TABLE seafile_db.t (a INT)')
  return started
}

const insert = (server: Mariadb, a: number, stamp?: number) =>
  server.query(`${stamp === undefined ? '' : `SET timestamp = ${stamp};`} INSERT INTO seafile_db.t VALUES (${a})`)

const transactions = ({ replay }: BetweenDumps) => replay?.transactions

t.test(
  'cut: all transactions of the wanted second and none of the next, also when one comes late with an older time',
  { skip: noMariadb },
  async t => {
    await using primary = await server()
    const dump = dumpAt(await binlogEnd(primary), Date.now())
    const from = Math.floor(Date.now() / 1000) + 100
    for (const [a, stamp] of [
      [1, 0],
      [2, 0],
      [3, 1],
      [4, 10],
      [5, 5],
      [6, 11],
    ] as const)
      await insert(primary, a, from + stamp)
    const stateDir = await scratch(t)
    await layArchive(stateDir, primary)
    const until = async (second: number) =>
      transactions(await planReplay(readArchive(stateDir), dump, (from + second) * 1000, signal))

    const quiet = (from - 1) * 1000
    const before = await planReplay(readArchive(stateDir), dump, quiet, signal)
    t.match(before, { replay: { transactions: 0, asOf: quiet }, short: null }, 'nothing was written until then')
    t.equal(await until(0), 2)
    t.equal(await until(1), 3)
    t.equal(await until(6), 3, 'the one that is stamped 5 was committed after 10')
    t.equal(await until(10), 5)
    t.equal(await until(11), 6)
    t.equal(transactions(await planReplay(readArchive(stateDir), dump, null, signal)), 6)
  },
)

t.test(
  'cut: where the clock of the server was set back behind it, that is said with both times',
  { skip: noMariadb },
  async t => {
    await using primary = await server()
    const dump = dumpAt(await binlogEnd(primary), Date.now())
    const from = Math.floor(Date.now() / 1000) + 100
    await insert(primary, 1, from)
    await primary.query(
      `SET timestamp = ${from}; CREATE DATABASE other; SET timestamp = ${from + 3_600}; CREATE TABLE other.t (a INT)`,
    )
    await insert(primary, 2, from + 10)
    await primary.query('FLUSH BINARY LOGS')
    await insert(primary, 3, from + 20)
    const stateDir = await scratch(t)
    const dir = await layArchive(stateDir, primary)
    const until = (second: number) => planReplay(readArchive(stateDir), dump, (from + second) * 1000, signal)
    const iso = (second: number) => new Date((from + second) * 1000).toISOString()

    t.match(await until(30), {
      replay: { transactions: 1, asOf: from * 1000 },
      short: `behind a transaction of ${iso(3_600)} the log has 2 of up to ${iso(20)}`,
    })
    t.match(await until(10), { replay: { transactions: 1 }, short: /has 1 of up to/ })
    t.match(await until(5), { replay: { transactions: 1, asOf: (from + 5) * 1000 }, short: null })
    t.equal(transactions(await planReplay(readArchive(stateDir), dump, null, signal)), 3)
    await flipByte(filePath(dir, 2))
    t.match(await until(10), { replay: { transactions: 1 } }, 'damage behind the cut is nothing to it')
  },
)

t.test(
  "cut: a second is one of the database server's clock, whose difference from ours is known",
  { skip: noMariadb },
  async t => {
    await using primary = await server()
    const dump = { ...dumpAt(await binlogEnd(primary)), endedAt: Date.now() + 10_000 }
    const from = Math.floor(Date.now() / 1000) + 100
    for (const a of [0, 1, 2, 3, 4]) await insert(primary, a, from + a)
    const stateDir = await scratch(t)
    const planned = async (skewMs: number) => {
      await layArchive(stateDir, primary, { skewMs })
      return planReplay(readArchive(stateDir), dump, from * 1000, signal)
    }

    t.match(await planned(0), { replay: { transactions: 1, skewMs: 0, asOf: from * 1000 } })
    t.match(await planned(300), { replay: { transactions: 1, skewMs: 0 } }, 'less than a second is none')
    t.match(await planned(3_000), { replay: { transactions: 4, skewMs: 3_000 } })
    t.match(await planned(-3_000), { replay: { transactions: 0, skewMs: -3_000 } })
  },
)

t.test(
  'cut: what is being committed at the end of the archive is not replayed, and what lies beyond it is not read',
  { skip: noMariadb },
  async t => {
    await using primary = await server()
    const dump = dumpAt(await binlogEnd(primary), Date.now())
    await insert(primary, 1)
    await insert(primary, 2)
    const stateDir = await scratch(t)
    const dir = await layArchive(stateDir, primary)
    const path = filePath(dir, 1)
    const { size } = await stat(path)
    const events = [...readEvents({ path, name: 'x', from: 0, to: size })]
    const rows = events.filter(({ type }) => type === EVENT.writeRowsV1).at(-1)
    const moment = { serverTime: Date.now(), at: Date.now() }
    writeFileSync(reachedPath(dir), encodeReached({ n: 1, offset: rows?.end ?? 0, ...moment }))
    await truncate(path, (rows?.end ?? 0) + 3)

    const plan = await planReplay(readArchive(stateDir), dump, null, signal)

    t.equal(transactions(plan), 1)
    t.equal(plan.short, null)
  },
)

t.test(
  'cut: a transaction that a killed server left open is none; one that a file simply ends in is damage',
  { skip: noMariadb },
  async t => {
    await using primary = await server()
    const dump = dumpAt(await binlogEnd(primary), Date.now())
    await insert(primary, 1)
    await insert(primary, 2)
    await primary.kill()
    await primary.start()
    await insert(primary, 3)
    await primary.query('FLUSH BINARY LOGS')
    await insert(primary, 4)
    const stateDir = await scratch(t)
    const dir = await layArchive(stateDir, primary)
    const cutInCommit = async (n: number) => {
      const path = filePath(dir, n)
      const { size } = await stat(path)
      const xid = [...readEvents({ path, name: 'x', from: 0, to: size })]
        .filter(({ type }) => type === EVENT.xid)
        .at(-1)
      await truncate(path, xid?.position ?? 0)
    }

    t.equal(transactions(await planReplay(readArchive(stateDir), dump, null, signal)), 4)
    await cutInCommit(1)
    t.equal(transactions(await planReplay(readArchive(stateDir), dump, null, signal)), 3)
    await cutInCommit(2)
    await t.rejects(planReplay(readArchive(stateDir), dump, null, signal), {
      code: 'BINLOG_DAMAGED',
      message: /no end/,
    })
  },
)

t.test(
  'coverage: a log that is another of the same name, or ended before the dump, or lacks its place, is not taken for it',
  { skip: noMariadb },
  async t => {
    await using primary = await server()
    await insert(primary, 1)
    const dump = dumpAt(await binlogEnd(primary), Date.now())
    const stateDir = await scratch(t)
    const short = async (other = dump) => (await planReplay(readArchive(stateDir), other, null, signal)).short

    t.match(await short(), /no binlog of the primary is archived/)
    t.match(await short(dumpAt(null)), /not known where in the binlog/)
    await layArchive(stateDir, primary)
    t.equal(await short(), null)
    t.match(
      await short(dumpAt(dump.position, Date.now() + 60_000)),
      /is not archived here/,
      'it ended before that dump',
    )
    t.match(await short(dumpAt({ file: 'mysql-bin.000009', offset: 4 })), /mysql-bin\.000009 4.* is not archived here/)
    await new Promise(resolve => setTimeout(resolve, 3_200)) // a clock of whole seconds
    await primary.query('RESET MASTER')
    for (const a of [1, 2, 3, 4, 5, 6, 7]) await insert(primary, a)
    await rm(join(stateDir, 'binlog'), { recursive: true })
    await layArchive(stateDir, primary, { run: 2, why: 'gap: the server began its log anew', began: Date.now() })
    t.match(await short(), /is not archived here; the archive begins after it \(gap: the server began its log anew\)/)
  },
)

t.test(
  'tables: an older dump from which the log goes on comes nearer than a newer one from which it does not',
  { skip: noMariadb },
  async t => {
    await using primary = await server()
    const older = dumpAt(await binlogEnd(primary), Date.now(), 'older')
    await insert(primary, 1)
    const newer = dumpAt(null, older.askedAt + 150, 'newer')
    await new Promise(resolve => setTimeout(resolve, 400))
    const stateDir = await scratch(t)
    await layArchive(stateDir, primary)
    const order = (at: number | null, withoutBinlog = false) =>
      planTables(stateDir, [newer, older], { at, withoutBinlog }, signal)

    t.match(await order(null), { dump: { id: 'older' }, between: { replay: { transactions: 1 }, short: null } })
    t.match(await order(older.askedAt + 260), { dump: { id: 'older' } })
    t.match(await order(null, true), { dump: { id: 'newer' }, between: { replay: null, short: /as was asked/ } })
    t.match(await order(older.askedAt), { dump: null })
    await rm(join(stateDir, 'binlog'), { recursive: true })
    t.match(await order(null), { dump: { id: 'newer' }, between: { replay: null, short: /not known where/ } })
  },
)

t.test(
  'tables: what is defined while a dump is taken is refused by name, and gone around by an older dump',
  { skip: noMariadb },
  async t => {
    await using primary = await server()
    const older = dumpAt(await binlogEnd(primary), Date.now() - 1_000, 'older')
    const second = Math.ceil(Date.now() / 1000) + 1
    const at = async (seconds: number, sql: string) =>
      primary.query(`SET timestamp = ${second + seconds}; USE seafile_db; ${sql}`)
    await at(0, 'INSERT INTO t VALUES (1)')
    const newer = { ...dumpAt(await binlogEnd(primary), Date.now(), 'newer'), endedAt: (second + 10) * 1000 }
    const before = { ...newer, id: 'before', endedAt: (second + 4) * 1000 }
    await at(5, 'CREATE TEMPORARY TABLE x (a INT); CREATE VIEW v AS SELECT a FROM t')
    await at(6, 'INSERT INTO t VALUES (2)')
    const stateDir = await scratch(t)
    await layArchive(stateDir, primary)
    const order = (...dumps: Dump[]) => planTables(stateDir, dumps, { at: null, withoutBinlog: false }, signal)

    await t.rejects(order(newer), { code: 'BINLOG_UNREPLAYABLE', message: /seafile_db\.v was made.* while the dump/ })
    t.match(await order(newer, older), { dump: { id: 'older' }, between: { replay: { transactions: 3 } } })
    t.match(await order(before, older), { dump: { id: 'before' }, between: { replay: { transactions: 2 } } })
  },
)

t.test(
  'tables: a damaged run is passed over where another has what follows a dump, and an error where none has',
  { skip: noMariadb },
  async t => {
    await using primary = await server()
    const older = dumpAt(await binlogEnd(primary), Date.now(), 'older')
    await insert(primary, 1)
    const stateDir = await scratch(t)
    const first = await layArchive(stateDir, primary)
    await new Promise(resolve => setTimeout(resolve, 20))
    await primary.query('FLUSH BINARY LOGS')
    const { file, offset } = await binlogEnd(primary)
    const began = Date.now()
    const newer = dumpAt({ file, offset }, began + 20, 'newer')
    await insert(primary, 2)
    await new Promise(resolve => setTimeout(resolve, 150))
    await layArchive(stateDir, primary, { run: 2, why: 'gap: damaged', began, from: file })
    writeFileSync(reachedPath(first), '{"version":1,"n":1')
    const order = (dumps: Dump[]) => planTables(stateDir, dumps, { at: null, withoutBinlog: false }, signal)

    t.match(await order([newer, older]), {
      dump: { id: 'newer' },
      between: { replay: { transactions: 1 }, short: null },
    })
    await t.rejects(order([older]), { code: 'DUMP_DAMAGED', message: /reached\.json/ })
    await writeFile(join(first, 'run.json'), 'x')
    t.match(await order([newer, older]), { dump: { id: 'newer' }, between: { short: null } })
  },
)

t.test(
  'replay: files that are let go while a restore copies its libraries are there until it ends',
  { skip: noMariadb },
  async t => {
    await using primary = await server()
    const dump = dumpAt(await binlogEnd(primary), Date.now())
    await insert(primary, 1)
    await primary.query('FLUSH BINARY LOGS')
    await insert(primary, 2)
    const stateDir = await scratch(t)
    await layArchive(stateDir, primary)
    const plan = await planReplay(readArchive(stateDir), dump, null, signal)
    if (!plan.replay) throw new Error('there is no replay')
    const dir = archiveDir(stateDir)
    {
      using held = holdReplay(stateDir, plan.replay)
      await mkdir(join(dir, '.using-x-4194300'))
      new Archive(stateDir).open()
      t.match(await readdir(dir), [/^\.using-.*-\d+$/, '00000001'], 'what a dead process left goes, this stays')
      removeRun(stateDir, 1)
      const events = held.replay.parts.flatMap(part => [...readEvents(part)].map(({ type }) => type))
      t.equal(events.filter(type => type === EVENT.xid).length, 2)
    }
    t.strictSame(await readdir(dir), [])
    t.throws(() => holdReplay(stateDir, plan.replay as Replay), { code: 'BINLOG_DAMAGED', message: /ENOENT/ })
    t.strictSame(await readdir(dir), [])
  },
)

t.test(
  "replay: the log of another kind of server needs that server's own tool, and its absence is named",
  { skip: noMariadb },
  async t => {
    await using primary = await server()
    const dump = dumpAt(await binlogEnd(primary), Date.now())
    await insert(primary, 1)
    const stateDir = await scratch(t)
    await layArchive(stateDir, primary)
    const { replay } = await planReplay(readArchive(stateDir), dump, null, signal)
    using client = new MysqlClient(mysqlConfig(primary) as never)
    if (!replay) throw new Error('there is no replay')

    await t.rejects(expectReplayable(client, { ...replay, server: '8.0.36' }, signal), {
      code: 'RESTORE_FAILED',
      message: /mysqlbinlog.*of 8\.0\.36/,
    })
    t.match(await expectReplayable(client, replay, signal), { withoutLog: true })
  },
)

t.test(
  'coverage: files of the archive that were let go are no gap, as long as they lie before the dump',
  { skip: noMariadb },
  async t => {
    await using primary = await server()
    await primary.query('FLUSH BINARY LOGS')
    const dump = dumpAt(await binlogEnd(primary), Date.now())
    await insert(primary, 1)
    const stateDir = await scratch(t)
    const dir = await layArchive(stateDir, primary)
    await rm(filePath(dir, 1))
    await rm(fileInfoPath(dir, 1))
    t.equal(transactions(await planReplay(readArchive(stateDir), dump, null, signal)), 1)
  },
)
