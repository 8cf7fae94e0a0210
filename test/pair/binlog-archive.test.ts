/** The binlog of the primary on the backup: the server's own bytes, without a hole, or a gap that is named. */

import { appendFile, readFile, readdir, rm, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { runCommand } from '../support/command.js'
import { BINLOG_ARGS, archived, runsOf, sameAsServer, serversFiles, stateOf } from '../support/binlog.js'
import { mariadbInstalled } from '../support/mariadb.js'
import { Pair } from '../support/pair.js'
import { testDatabase } from '../support/sides.js'
import { SmallDisk, noSmallDisk } from '../support/small-disk.js'
import { filePath, runDir } from '../../src/backup/binlog/archive-layout.js'
import type { Mariadb } from '../support/mariadb.js'
import type { PairOptions } from '../support/pair.js'

const skip = !mariadbInstalled() && 'mariadbd is not installed'
const OFTEN = ['binlog_archive_interval = 1']

const TABLES = `CREATE DATABASE ccnet_db; CREATE DATABASE seahub_db;
  CREATE DATABASE x; CREATE TABLE x.t (n INT PRIMARY KEY AUTO_INCREMENT, b LONGBLOB)`

interface Scene extends AsyncDisposable {
  readonly server: Mariadb
  readonly pair: Pair
}

async function scene(options: PairOptions = {}, args: readonly string[] = []): Promise<Scene> {
  const theirs = await testDatabase('mysql', [...BINLOG_ARGS, '--binlog-format=MIXED', ...args])
  const server = theirs.server as Mariadb
  await server.query(TABLES)
  const pair = await Pair.start({
    binlog: true,
    ...options,
    primary: { database: theirs.database as never, ...options.primary },
    backup: { conf: OFTEN, ...options.backup },
  })
  return {
    server,
    pair,
    async [Symbol.asyncDispose]() {
      await pair[Symbol.asyncDispose]()
      await theirs[Symbol.asyncDispose]()
    },
  }
}

const write = (server: Mariadb, rows = 50, bytes = 200) =>
  server.query(`INSERT INTO x.t (b) SELECT REPEAT(UUID(), ${Math.ceil(bytes / 36)}) FROM seq_1_to_${rows}`, 'x')

t.test(
  'binlog: rotation, formats, checksums, events of 20 MB and a killed server leave no byte out',
  { skip },
  async t => {
    await using s = await scene()
    const { server, pair } = s
    await archived(pair, server)

    await server.query(`INSERT INTO x.t (b) VALUES (REPEAT('ü', 10000000)); FLUSH BINARY LOGS`)
    await write(server)
    await server.query(`SET SESSION binlog_format = ROW; INSERT INTO x.t (b) VALUES (REPEAT('r', 20000000)), ('small')`)
    await server.query(
      `SET GLOBAL binlog_checksum = NONE; INSERT INTO x.t (b) VALUES ('a'); FLUSH BINARY LOGS; UPDATE x.t SET b = 'c' WHERE n < 20`,
    )
    await server.query(`SET GLOBAL log_bin_compress = ON, log_bin_compress_min_len = 10`)
    await write(server)
    await server.query(`SET GLOBAL binlog_checksum = CRC32; DELETE FROM x.t WHERE n < 10`)
    await archived(pair, server)
    await sameAsServer(t, runsOf(pair)[0], server)
    t.ok(runsOf(pair)[0]?.files.every(({ zone }) => zone !== null))

    await server.kill()
    await server.start()
    await write(server)
    await server.stop()
    await server.start()
    await write(server)
    await archived(pair, server)

    const runs = runsOf(pair)
    t.equal(runs.length, 1, 'it is one run')
    t.equal(runs[0]?.why, 'first')
    await sameAsServer(t, runs[0], server)
    t.ok((runs[0]?.files.length ?? 0) >= 7)
  },
)

t.test('binlog: killed at any moment, the daemon cuts off what was not promised and goes on', { skip }, async t => {
  await using s = await scene()
  const { server, pair } = s
  await archived(pair, server)
  for (let round = 0; round < 4; round++) {
    const writing = (async () => {
      for (let n = 0; n < 6; n++) await write(server, 40, 200_000).then(() => server.query('FLUSH BINARY LOGS'))
    })()
    const before = runsOf(pair)[0]?.reached?.n ?? 0
    await pair.until('something new', async () => (runsOf(pair)[0]?.reached?.n ?? 0) > before)
    await pair.backup.process?.kill()
    const reached = runsOf(pair)[0]?.reached
    const dir = runDir(stateOf(pair), 1)
    // what a power cut may leave besides: bytes that were never promised
    await appendFile(filePath(dir, reached?.n ?? 0), Buffer.alloc(5_000, round))
    await appendFile(filePath(dir, (reached?.n ?? 0) + 1), 'half a file')
    await appendFile(join(dir, `${String((reached?.n ?? 0) + 1).padStart(8, '0')}.json`), '{"vers')
    await pair.startBackup()
    await writing
  }

  await archived(pair, server)

  const runs = runsOf(pair)
  t.equal(runs.length, 1)
  await sameAsServer(t, runs[0], server)
})

t.test(
  'binlog: of an answer that is cut on its way nothing is promised, and the next one goes on',
  { skip },
  async t => {
    await using s = await scene()
    const { server, pair } = s
    await archived(pair, server)
    const { reached } = runsOf(pair)[0] ?? {}
    await pair.backup.process?.kill()
    await write(server, 60, 200_000)
    const cut = pair.primary.relay.resetAfter('fromTarget', 3_000_000)
    await pair.startBackup()
    await cut
    await pair.until('told', async () => (await pair.status()).binlog?.problem?.code === 'PRIMARY_UNREACHABLE')
    t.strictSame(runsOf(pair)[0]?.reached?.offset, reached?.offset, 'it is promised as far as before')

    await archived(pair, server)

    await sameAsServer(t, runsOf(pair)[0], server)
    t.equal((await pair.status()).binlog?.problem, null)
  },
)

const LOST = [
  {
    what: 'purged on the server before they were archived',
    async act(server: Mariadb) {
      await write(server)
      await server.query('FLUSH BINARY LOGS')
      await write(server)
      const [last = ''] = (await server.query('SHOW BINARY LOGS')).trim().split('\n').at(-1)?.split('\t') ?? []
      await server.query(`PURGE BINARY LOGS TO '${last}'`)
    },
    why: /^gap: the server has no mysql-bin\.\d+ any more/,
  },
  {
    what: 'reset to a file of the same name that is shorter',
    act: (server: Mariadb) => server.query('RESET MASTER'),
    why: /^gap: mysql-bin\.000001 has \d+ bytes on the server, and \d+ were archived/,
  },
  {
    what: 'reset to a file of the same name that is longer',
    async act(server: Mariadb) {
      await server.query('DO SLEEP(1.1); RESET MASTER')
      await write(server, 500)
    },
    why: /^gap: mysql-bin\.000001 on the server is another file/,
  },
  {
    what: 'lost at its end by a server without sync_binlog that was killed',
    async act(server: Mariadb) {
      await server.kill()
      const [name = '', bytes = Buffer.alloc(0)] = [...(await serversFiles(server))].sort().at(-1) ?? []
      await truncate(join(server.dir, 'data', name), bytes.byteLength - 100)
      await server.start()
    },
    why: /^gap: mysql-bin\.\d+ has \d+ bytes on the server, and \d+ were archived/,
  },
  {
    what: 'of another server that has the same names',
    act: (server: Mariadb) => server.query('SET GLOBAL server_id = 7'),
    why: /^gap: the primary's database server is another one: its server_id is 7, and was 1/,
  },
]

for (const { what, act, why } of LOST) {
  t.test(`binlog: ${what}, a new run is begun and status says why until the next dump`, { skip }, async t => {
    await using s = await scene()
    const { server, pair } = s
    await write(server)
    await archived(pair, server)
    await pair.backup.process?.kill()

    await act(server)
    await pair.startBackup()
    await write(server)
    await archived(pair, server)

    const [first, second, ...more] = runsOf(pair)
    t.equal(more.length, 0, 'one gap is one new run')
    t.equal(first?.why, 'first')
    t.match(second?.why, why)
    await sameAsServer(t, second, server)
    const { binlog } = await pair.status()
    t.match(binlog?.gaps, [{ why }])
    t.match((await runCommand(pair, 'status')).stdout, /^Archive of the binlog: begun anew .*no restore passes over/m)
    t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)
    t.strictSame((await pair.status()).binlog?.gaps, [], 'a dump of after it is gone on from')
  })
}

t.test(
  'binlog: a full disk is said, tears nothing, and is gone on with when there is room',
  { skip: skip || noSmallDisk },
  async t => {
    const theirs = await testDatabase('mysql', [...BINLOG_ARGS, '--binlog-format=ROW'])
    const server = theirs.server as Mariadb
    await server.query(TABLES)
    await using pair = await Pair.lay({
      primary: { database: theirs.database as never },
      backup: { conf: OFTEN },
      binlog: true,
    })
    await using disk = await SmallDisk.mount(stateOf(pair), 'size=12m')
    await pair.catalog()
    await pair.startPrimary()
    await pair.startBackup()
    await archived(pair, server)

    await write(server, 100, 200_000)
    await pair.until('full', async () => (await pair.status()).binlog?.problem?.code === 'STORE_FULL')
    const [run] = runsOf(pair)
    t.equal(run?.files.length, run?.reached?.n)

    await disk.remount('size=120m')
    await archived(pair, server)
    await sameAsServer(t, runsOf(pair)[0], server)
    t.equal(runsOf(pair).length, 1)
    await pair.backup.process?.kill()
    await theirs[Symbol.asyncDispose]()
  },
)

t.test(
  'binlog: what an account or a server lacks is named, and is no alarm where nothing was ever archived',
  { skip },
  async t => {
    await using theirs = await testDatabase('mysql', [...BINLOG_ARGS, '--binlog-format=ROW'])
    const server = theirs.server as Mariadb
    await server.query(
      `CREATE USER sea@localhost IDENTIFIED BY 'pw-1'; GRANT ALL ON seafile_db.* TO sea@localhost; GRANT SELECT ON *.* TO sea@localhost`,
    )
    const database = { ...theirs.database, user: 'sea', password: 'pw-1' } as never
    await using pair = await Pair.start({ primary: { database }, backup: { conf: OFTEN }, binlog: true })
    await pair.until('named', async () => (await pair.status()).binlog?.problem?.code === 'BINLOG_UNAVAILABLE')
    const { binlog, overdue } = await pair.status()
    t.match(
      binlog?.problem?.message,
      /lacks REPLICATION SLAVE and REPLICATION CLIENT; .*GRANT REPLICATION SLAVE, REPLICATION CLIENT ON/,
    )
    t.equal(binlog?.upTo, null)
    t.strictSame(overdue, [])
    t.notMatch(JSON.stringify(binlog), /pw-1/)
    const status = await runCommand(pair, 'status', '--verbose')
    t.match(status.stdout, /Archive of the binlog: nothing yet/)

    await server.query('GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO sea@localhost')
    await pair.backup.process?.kill()
    await pair.startBackup()
    await archived(pair, server)
    await sameAsServer(t, runsOf(pair)[0], server)
  },
)

t.test('binlog: SQLite has none, and off asks for none', async t => {
  await using pair = await Pair.start({ backup: { conf: OFTEN }, binlog: true })
  await pair.until('named', async () => (await pair.status()).binlog?.problem !== null)
  t.match((await pair.status()).binlog, {
    archiving: true,
    upTo: null,
    problem: { code: 'BINLOG_UNAVAILABLE', message: /SQLite/ },
  })

  await using quiet = await Pair.start()
  t.match((await quiet.status()).binlog, { archiving: false, problem: null })
})

t.test(
  'binlog: a dump says where it lies in the archive, and without holding up anybody who writes',
  { skip },
  async t => {
    await using s = await scene({ dumps: '0 0 1 1 *' }, ['--general-log', '--general-log-file=general.log'])
    const { server, pair } = s
    await pair.until('dumped', async () => (await pair.status()).dumps?.newest !== null)
    const [id = ''] = await readdir(join(stateOf(pair), 'dumps'))
    const { position } = JSON.parse(await readFile(join(stateOf(pair), 'dumps', id, 'manifest.json'), 'utf8')) as {
      position: { file: string; offset: number } | null
    }
    const file = runsOf(pair)[0]?.files.find(({ name }) => name === position?.file)
    t.ok(file, 'its file is archived')
    t.ok((position?.offset ?? 0) > 4)
    t.notMatch(await readFile(join(server.dir, 'data', 'general.log'), 'utf8'), /FLUSH .*TABLES|READ LOCK/i)
  },
)

t.test(
  'binlog: an account with no more than it needs gets dumps with a position, one with less gets them without',
  { skip },
  async t => {
    await using theirs = await testDatabase('mysql', [...BINLOG_ARGS, '--binlog-format=ROW'])
    const server = theirs.server as Mariadb
    await server.query(`${TABLES}; CREATE USER sea@localhost IDENTIFIED BY 'pw-1';
    GRANT ALL ON seafile_db.* TO sea@localhost; GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON *.* TO sea@localhost`)
    const database = { ...theirs.database, user: 'sea', password: 'pw-1' } as never
    await using pair = await Pair.start({ primary: { database }, backup: { conf: OFTEN }, binlog: true })
    const positionOfNext = async () => {
      const ran = await runCommand(pair, 'dumps', 'now')
      t.equal(ran.code, 0, ran.stderr)
      const [newest] = (
        JSON.parse((await runCommand(pair, 'dumps', '--json')).stdout) as { dumps: { position: unknown }[] }
      ).dumps
      return newest?.position
    }
    t.equal(await positionOfNext(), null)
    await server.query('GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO sea@localhost')
    t.match(await positionOfNext(), { file: /^mysql-bin/ })
  },
)

t.test('binlog: what no dump needs is let go, and what the newest one needs is not', { skip }, async t => {
  await using s = await scene()
  const { server, pair } = s
  for (let n = 0; n < 3; n++) {
    await write(server)
    await server.query('FLUSH BINARY LOGS')
  }
  await archived(pair, server)
  t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)
  const before = runsOf(pair)[0]?.files ?? []
  await pair.backup.process?.kill()
  await pair.startBackup()
  await pair.until('let go', async () => (runsOf(pair)[0]?.files.length ?? 9) < before.length)

  await archived(pair, server)

  const [run] = runsOf(pair)
  t.equal(run?.files[0]?.name, before.at(-1)?.name, 'the file with its position is the oldest')
  await sameAsServer(t, run, server)
  await rm(filePath(runDir(stateOf(pair), 1), 1), { force: true })
  t.equal(runsOf(pair).length, 1, 'and what was let go is missed by nobody')
})
