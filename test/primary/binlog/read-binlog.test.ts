/** The agent reads the server's binlog: the file's own bytes, in bounded pieces, over connections that do not stay. */

import { spawnSync } from 'node:child_process'
import { readFile, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { binlogOf, sqliteHasNone } from '../../../src/primary/binlog/read-binlog.js'
import { ANSWER_BYTES_MAX } from '../../../src/shared/wire/binlog-messages.js'
import { BINLOG_ARGS, closed, serversFiles } from '../../support/binlog.js'
import { binlogEnd } from '../../support/binlog-archive.js'
import { mariadbInstalled, startMariadb } from '../../support/mariadb.js'
import { mysqlConfig } from '../../support/sides.js'
import type { Test } from 'tap'
import type { BinlogAnswer, ReadBinlog } from '../../../src/primary/binlog/read-binlog.js'
import type { MysqlConfig } from '../../../src/shared/catalog/database-config.js'
import type { BinlogPosition } from '../../../src/shared/binlog-events.js'
import type { Mariadb } from '../../support/mariadb.js'

const skip = !mariadbInstalled() && 'mariadbd is not installed'
const never = new AbortController().signal

async function prepared(t: Test, args: readonly string[] = []) {
  const server = await startMariadb({ args: [...BINLOG_ARGS, '--binlog-format=ROW', ...args] })
  t.teardown(() => server[Symbol.asyncDispose]())
  await server.query('CREATE DATABASE seafile_db; CREATE TABLE seafile_db.t (n INT, b LONGBLOB)')
  const config = mysqlConfig(server) as MysqlConfig
  return { server, config, read: binlogOf(config) }
}

const write = (server: Mariadb, rows: number) =>
  server.query(`INSERT INTO t SELECT seq, REPEAT('b', 3000) FROM seq_1_to_${rows}`, 'seafile_db')

/** Files by name, as they grow. */
class Files {
  readonly bytes = new Map<string, Buffer>()
  #name = ''

  take({ pieces }: BinlogAnswer): BinlogPosition {
    for (const piece of pieces) {
      if (typeof piece === 'string') this.bytes.set((this.#name = piece), Buffer.alloc(0))
      else this.bytes.set(this.#name, Buffer.concat([this.bytes.get(this.#name) ?? Buffer.alloc(0), piece]))
    }
    return { file: this.#name, offset: this.bytes.get(this.#name)?.byteLength ?? 0 }
  }
}

async function readAll(read: ReadBinlog, bytes: number): Promise<{ files: Files; answers: number; largest: number }> {
  const files = new Files()
  let from: BinlogPosition | null = null
  let largest = 0
  for (let answers = 1; ; answers++) {
    const answer: BinlogAnswer = await read({ from, bytes }, never)
    const size = answer.pieces.reduce((sum, piece) => sum + (typeof piece === 'string' ? 0 : piece.byteLength), 0)
    largest = Math.max(largest, size)
    from = files.take(answer)
    if (answer.header.atEnd) return { files, answers, largest }
  }
}

t.test('read binlog: in pieces of any size it is the file that the server has', { skip }, async t => {
  const { server, read } = await prepared(t)
  await write(server, 300)
  await server.query('FLUSH BINARY LOGS')
  const [last = ''] = [...(await serversFiles(server)).keys()].sort().slice(-1)
  await write(server, 300)
  await server.query('FLUSH BINARY LOGS')
  await write(server, 10)

  for (const bytes of [1, 10_000, ANSWER_BYTES_MAX]) {
    // from the first file on: what is asked for from nowhere is the newest one
    const files = new Files()
    const first = await read({ from: null, bytes: ANSWER_BYTES_MAX }, never)
    t.equal(first.header.atEnd, true)
    t.equal(first.header.format, null)
    files.take(first)
    const theirs = await serversFiles(server)
    for (const [name, ours] of files.bytes) t.ok(ours.equals(closed(theirs.get(name) as Buffer)), `${name} as a whole`)

    const { answers, largest, files: newest } = await readAll(read, bytes)
    for (const [name, ours] of newest.bytes) t.ok(ours.equals(closed(theirs.get(name) as Buffer)), `${name} in pieces`)
    if (bytes === 1) t.ok(answers > 5, `${answers} answers of one event each`)
    t.ok(largest < bytes + 10_000, 'no answer is longer than asked by more than an event')
  }
  t.ok(last)
})

t.test('read binlog: from the middle on it says which file it is, and goes over a rotation', { skip }, async t => {
  const { server, read } = await prepared(t)
  const files = new Files()
  const from = files.take(await read({ from: null, bytes: ANSWER_BYTES_MAX }, never))
  const before = Date.now()
  await write(server, 20)
  await server.query('FLUSH BINARY LOGS')
  await write(server, 20)

  const answer = await read({ from, bytes: ANSWER_BYTES_MAX }, never)
  files.take(answer)

  t.match(answer.header, { lost: null, atEnd: true, server: { id: 1, version: /MariaDB/ } })
  t.ok((answer.header.zone?.offsets.length ?? 0) > 0, 'a file begins in it, and so it says where the server is')
  t.ok(Buffer.isBuffer(answer.header.format))
  t.ok(answer.header.serverTime >= before - 1 && answer.header.serverTime <= Date.now() + 1, "the server's clock")
  const theirs = await serversFiles(server)
  t.equal(files.bytes.size, 2)
  for (const [name, ours] of files.bytes) t.ok(ours.equals(closed(theirs.get(name) as Buffer)), name)
  const nothing = await read(
    { from: { file: 'mysql-bin.000002', offset: files.take({ ...answer, pieces: [] }).offset }, bytes: 1 },
    never,
  )
  t.match(nothing, { header: { lost: null, atEnd: true, zone: null }, pieces: [] }, 'at the end there is nothing')
})

t.test('read binlog: a place that it cannot be read from is said, with the file that it is in', { skip }, async t => {
  const { server, read } = await prepared(t)
  await write(server, 20)
  const within = await read({ from: { file: 'mysql-bin.000001', offset: 1_111 }, bytes: 1 }, never)
  t.match(within.header, { lost: /the server cannot read it from mysql-bin\.000001 at 1111/, atEnd: false })
  t.ok(Buffer.isBuffer(within.header.format))
  for (const from of [
    { file: 'mysql-bin.000009', offset: 400 },
    { file: '../../etc/passwd', offset: 400 },
    { file: 'mysql-bin.000001', offset: 2 ** 31 },
    { file: 'mysql-bin.000001', offset: 2 ** 40 },
  ]) {
    t.match(await read({ from, bytes: 1 }, never), { header: { lost: /mysql-bin|passwd/, format: null }, pieces: [] })
  }
})

t.test('read binlog: where a file is torn, what is whole comes first, and then that it is torn', { skip }, async t => {
  const { server, read } = await prepared(t)
  for (let n = 0; n < 3; n++) await write(server, 20)
  const { offset: end } = await binlogEnd(server)
  await server.query('FLUSH BINARY LOGS')
  const path = join(server.dir, 'data', 'mysql-bin.000001')
  await truncate(path, end - 10)
  const file = await readFile(path)
  const from = { file: 'mysql-bin.000001', offset: firstEventOf(file) }

  const whole = await read({ from, bytes: ANSWER_BYTES_MAX }, never)
  t.match(whole.header, { lost: null, atEnd: false })
  const bytes = Buffer.concat(whole.pieces.map(piece => Buffer.from(piece)))
  t.ok(bytes.byteLength > 120_000, 'all but the last event')
  t.ok(bytes.equals(file.subarray(from.offset, from.offset + bytes.byteLength)))
  const torn = await read({ from: { ...from, offset: from.offset + bytes.byteLength }, bytes: 1 }, never)
  t.match(torn, { header: { lost: /cannot read it from mysql-bin\.000001/, atEnd: false }, pieces: [] })
})

/** Behind its format description. */
const firstEventOf = (file: Buffer): number => 4 + file.readUInt32LE(4 + 9)

t.test('read binlog: no connection stays, and one that follows the log is let be', { skip }, async t => {
  const { server, config, read } = await prepared(t)
  const other = binlogOf(config)
  for (let n = 0; n < 5; n++) {
    await write(server, 50)
    await Promise.all([readAll(read, 5_000), readAll(other, 1)])
  }
  const deadline = Date.now() + 20_000
  let left = ''
  do
    left = await server.query(
      `SELECT COMMAND FROM information_schema.PROCESSLIST WHERE COMMAND <> 'Daemon' AND ID <> CONNECTION_ID()`,
    )
  while (left !== '' && Date.now() < deadline)
  t.equal(left, '')
})

t.test('read binlog: while nothing new is logged, the server has nothing to note', { skip }, async t => {
  const { server, read } = await prepared(t, ['--general-log', '--general-log-file=general.log'])
  const dumps = async () =>
    (await readFile(join(server.dir, 'data', 'general.log'), 'utf8')).split('Binlog Dump').length
  const aborted = () => server.query("SHOW GLOBAL STATUS LIKE 'Aborted_clients'")
  const before = await aborted()
  const files = new Files()
  let from = files.take(await read({ from: null, bytes: ANSWER_BYTES_MAX }, never))
  const first = await read({ from, bytes: ANSWER_BYTES_MAX }, never)
  const asked = await dumps()

  for (let n = 0; n < 5; n++) {
    const { header, pieces } = await read({ from, bytes: ANSWER_BYTES_MAX }, never)
    t.match(header, { lost: null, atEnd: true, format: first.header.format as Buffer })
    t.ok(header.serverTime >= first.header.serverTime)
    t.strictSame(pieces, [])
  }
  t.equal(await dumps(), asked, 'the log was not opened again')

  const size = from.offset
  for (const statement of ["INSERT INTO t VALUES (1, 'x')", 'FLUSH BINARY LOGS', "INSERT INTO t VALUES (2, 'x')"]) {
    await server.query(statement, 'seafile_db')
    const answer = await read({ from, bytes: ANSWER_BYTES_MAX }, never)
    from = files.take({ ...answer, pieces: [from.file, files.bytes.get(from.file) as Buffer, ...answer.pieces] })
    t.match(answer.header, { lost: null, atEnd: true })
  }
  t.equal(await aborted(), before, 'nobody left without a word')
  t.ok(from.file === 'mysql-bin.000002' && (files.bytes.get('mysql-bin.000001')?.byteLength ?? 0) > size)
  const theirs = await serversFiles(server)
  for (const [name, ours] of files.bytes) t.ok(ours.equals(closed(theirs.get(name) as Buffer)), name)
})

t.test('read binlog: whoever hangs up is not waited for', { skip }, async t => {
  const { server, read } = await prepared(t)
  await write(server, 50)
  const gone = new AbortController()
  const reading = read({ from: null, bytes: ANSWER_BYTES_MAX }, gone.signal)
  gone.abort()
  await t.rejects(reading, { name: 'AbortError' })
})

t.test('read binlog: a log that the server encrypts would come with holes, and is refused', { skip }, async t => {
  const keys = join(t.testdir({ keys: `1;${'ab'.repeat(32)}` }), 'keys')
  const plugin = ['--plugin-load-add=file_key_management', `--file-key-management-filename=${keys}`]
  const { read } = await prepared(t, [...plugin, '--encrypt-binlog=ON'])
  await t.rejects(read({ from: null, bytes: 1 }, never), {
    code: 'BINLOG_UNAVAILABLE',
    message: /set encrypt_binlog = OFF/,
  })
})

for (const [filter, said] of [
  ['--binlog-do-db=seafile_db', /leaves databases out .*binlog_do_db \(seafile_db\)/],
  ['--binlog-ignore-db=ccnet_db', /leaves databases out .*binlog_ignore_db \(ccnet_db\)/],
] as const) {
  t.test(
    `read binlog: with ${filter} changes would be missing that nobody misses, and it is refused`,
    { skip },
    async t => {
      const { server, read } = await prepared(t, [filter])
      const end = await binlogEnd(server)
      for (const from of [null, end]) {
        await t.rejects(read({ from, bytes: 1 }, never), { code: 'BINLOG_UNAVAILABLE', message: said })
      }
    },
  )
}

t.test("read binlog: in the hour that comes twice, the server's clock is still one", { skip }, async t => {
  const { server, config } = await prepared(t)
  const zone = spawnSync('mariadb-tzinfo-to-sql', ['/usr/share/zoneinfo/Europe/Berlin', 'Europe/Berlin'])
  await server.query(
    `${zone.stdout.toString()};
    CREATE USER plain@localhost IDENTIFIED BY 'pw-1'; GRANT SELECT ON *.* TO plain@localhost;
    GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO plain@localhost`,
    'mysql',
  )
  const read = binlogOf({ ...config, user: 'plain', password: 'pw-1' })
  for (const second of [Date.UTC(2025, 9, 26, 0, 30) / 1000, Date.UTC(2025, 9, 26, 1, 30) / 1000]) {
    await server.query(`SET GLOBAL init_connect = "SET time_zone = 'Europe/Berlin', timestamp = ${second}.25"`)
    const { header } = await read({ from: null, bytes: 1 }, never)
    t.equal(header.serverTime, second * 1000 + 250)
  }
})

t.test('read binlog: what is missing is named, with what gives it', { skip }, async t => {
  const { server, config } = await prepared(t)
  await server.query(
    `CREATE USER poor@localhost IDENTIFIED BY 'pw-1'; GRANT SELECT, REPLICATION CLIENT ON *.* TO poor@localhost`,
  )
  const poor = binlogOf({ ...config, user: 'poor', password: 'pw-1' })
  const asked = { from: null, bytes: 1 }
  await t.rejects(poor(asked, never), {
    code: 'BINLOG_UNAVAILABLE',
    message: /poor@localhost lacks REPLICATION SLAVE; .*GRANT REPLICATION SLAVE ON/,
  })
  await t.rejects(binlogOf({ ...config, user: 'poor', password: 'no' })(asked, never), {
    code: /BINLOG_UNAVAILABLE|DATABASE_REFUSED/,
  })
  await t.rejects(sqliteHasNone()(asked, never), { code: 'BINLOG_UNAVAILABLE', message: /SQLite/ })

  const without = await startMariadb({ args: ['--server-id=1'] })
  t.teardown(() => without[Symbol.asyncDispose]())
  await without.query('CREATE DATABASE seafile_db')
  await t.rejects(binlogOf(mysqlConfig(without) as MysqlConfig)(asked, never), {
    code: 'BINLOG_UNAVAILABLE',
    message: /set log_bin/,
  })
  await server.stop()
  await t.rejects(binlogOf(config)(asked, never), { code: 'DATABASE_DOWN' })
})
