/** Dumps of the other tables: consistent or absent, said when there is none, kept as they came. */

import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import t from 'tap'
import { runCommand } from '../support/command.js'
import { dumpToolOf } from '../support/dump-tool.js'
import { mariadbInstalled, startMariadb } from '../support/mariadb.js'
import { Pair } from '../support/pair.js'
import { flipByte, testDatabase } from '../support/sides.js'
import { SmallDisk, noSmallDisk } from '../support/small-disk.js'
import type { Test } from 'tap'
import type { Mariadb } from '../support/mariadb.js'

const noMariadb = !mariadbInstalled() && 'mariadbd is not installed'

/** Due when there is none, and then not again while a test runs. */
const SELDOM = '0 0 1 1 *'

interface Listed {
  readonly id: string
  readonly tables: readonly { readonly database: string; readonly table: string; readonly rows: number }[]
  readonly absent: readonly string[]
  readonly cause: string
  readonly verdict: { readonly damage: string | null } | null
}

const dumpsDir = (pair: Pair) => join(pair.backup.dir, 'seaf-backup-state', 'dumps')

async function listed(pair: Pair): Promise<readonly Listed[]> {
  const ran = await runCommand(pair, 'dumps', '--json')
  return (JSON.parse(ran.stdout) as { dumps: Listed[] }).dumps
}

async function scratch(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'sbd-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return dir
}

/** What a person would lose with a careless dump: bytes that are no text, every kind of character, rows by the thousand. */
async function fillOthers(server: Mariadb): Promise<void> {
  await server.query(`SET NAMES utf8mb4; CREATE DATABASE ccnet_db CHARACTER SET utf8mb3; CREATE DATABASE seahub_db CHARACTER SET utf8mb4;
    CREATE TABLE ccnet_db.EmailUser (id BIGINT PRIMARY KEY AUTO_INCREMENT, email VARCHAR(255), passwd VARCHAR(256)) CHARSET utf8mb3;
    INSERT INTO ccnet_db.EmailUser (email, passwd) SELECT CONCAT('user', seq, '@example.com'), 'PBKDF2SHA256$(;)''"' FROM ccnet_db.seq_1_to_5000;
    CREATE TABLE seahub_db.avatar (id INT PRIMARY KEY, name VARCHAR(100), bytes LONGBLOB) CHARSET utf8mb4;
    INSERT INTO seahub_db.avatar VALUES (1, '😀 ünï; \\\\ ''', x'00FF0A27225C3B'), (2, NULL, REPEAT(x'00', 3000000));
    CREATE VIEW seahub_db.v AS SELECT name FROM seahub_db.avatar;
    CREATE TABLE ccnet_db.moved (n INT); INSERT INTO ccnet_db.moved VALUES (1000);
    CREATE TABLE seahub_db.moved (n INT); INSERT INTO seahub_db.moved VALUES (0);`)
}

t.test(
  'dump: on MariaDB one snapshot over three databases, that another server takes in as it was',
  { skip: noMariadb },
  async t => {
    await using theirs = await testDatabase('mysql')
    const server = theirs.server as Mariadb
    await fillOthers(server)
    await using pair = await Pair.start({ primary: { database: theirs.database as never } })
    const writer = await pair.writer()
    await writer.createLibrary({ name: 'Has rows in Repo', owner: 'jo@example.com' })
    let moving = true
    const mover = (async () => {
      const move = `START TRANSACTION; UPDATE ccnet_db.moved SET n = n - 1; UPDATE seahub_db.moved SET n = n + 1; COMMIT;`
      while (moving) await server.query(move.repeat(20))
    })()

    const ran = await runCommand(pair, 'dumps', 'now')
    moving = false
    await mover

    t.equal(ran.code, 0, ran.stderr)
    const [dump] = await listed(pair)
    const rows = new Map(dump?.tables.map(({ database, table, rows }) => [`${database}.${table}`, rows]))
    t.equal(rows.get('ccnet_db.EmailUser'), 5000)
    t.equal(rows.get('seahub_db.avatar'), 2)
    t.equal(rows.get('seafile_db.RepoOwner'), 1)
    for (const core of ['Repo', 'Branch', 'RepoHead']) t.notOk(rows.has(`seafile_db.${core}`), `${core} is left out`)

    const file = join(await scratch(t), 'all.sql')
    t.equal((await runCommand(pair, 'dumps', 'fetch', 'latest', file)).code, 0)
    await using other = await startMariadb()
    await other.loadFile(file, 'test')
    for (const table of ['ccnet_db.EmailUser', 'seahub_db.avatar']) {
      t.equal(await other.query(`CHECKSUM TABLE ${table}`), await server.query(`CHECKSUM TABLE ${table}`), table)
    }
    t.equal(await other.query('SELECT name FROM seahub_db.v'), await server.query('SELECT name FROM seahub_db.v'))
    const sum = await other.query('SELECT (SELECT n FROM ccnet_db.moved) + (SELECT n FROM seahub_db.moved)')
    t.equal(sum.trim(), '1000', 'what moved between two databases meanwhile is in one of them')
  },
)

t.test(
  'dump: the credentials are in a file for us alone while the tool runs, and nowhere else',
  { skip: noMariadb },
  async t => {
    await using theirs = await testDatabase('mysql')
    const server = theirs.server as Mariadb
    await fillOthers(server)
    const password = `hunter2 "\\'#;`
    await server.query(
      `CREATE USER sea@localhost IDENTIFIED BY 'hunter2 "\\\\\\'#;'; GRANT ALL ON *.* TO sea@localhost`,
    )
    const dir = await scratch(t)
    const database = { ...theirs.database, user: 'sea', password } as never
    await using pair = await Pair.lay({ primary: { database } })
    const conf = join(pair.primary.dir, 'conf', 'seafile.conf')
    await writeFile(
      conf,
      (await readFile(conf, 'utf8')).replace(
        /^password = .*$/m,
        () => `password = ${password.replaceAll('\\', '\\\\')}`,
      ),
    )
    await pair.catalog()
    await pair.startPrimary(
      await dumpToolOf(
        dir,
        `echo "$@" > ${dir}/args; env > ${dir}/env; stat -c %a "\${1#*=}" > ${dir}/mode; exec $REAL "$@"`,
      ),
    )
    await pair.startBackup()

    const ran = await runCommand(pair, 'dumps', 'now')

    t.equal(ran.code, 0, ran.stderr)
    t.notMatch((await readFile(join(dir, 'args'), 'utf8')) + (await readFile(join(dir, 'env'), 'utf8')), /hunter2/)
    t.equal((await readFile(join(dir, 'mode'), 'utf8')).trim(), '600')
    t.notOk((await readdir(join(pair.primary.dir, 'seaf-backup-state'))).some(name => name.startsWith('dump')))
    t.notMatch(pair.primary.process?.text() ?? '', /hunter2/)
  },
)

const TOOL_FAULTS = [
  {
    what: 'exits with an error in the middle',
    script: '$REAL "$@" | head -c 2000; echo "mysqldump: Got error: 2013" >&2; exit 3',
    said: /error: 2013/,
  },
  {
    what: 'warns, although it exits with 0',
    script: '$REAL "$@"; echo "-- Warning: table x was left out" >&2',
    said: /warned.*x was left out/,
  },
  { what: 'is killed', script: '$REAL "$@" | head -c 2000; kill -9 $$', said: /SIGKILL/ },
  {
    what: 'ends early and says nothing',
    script: '$REAL "$@" 2>/dev/null | head -c 2000; exit 0',
    said: /does not end as the dump tool ends one/,
  },
] as const

for (const { what, script, said } of TOOL_FAULTS) {
  t.test(`dump: a tool that ${what} gives no dump, and its reason is shown`, { skip: noMariadb }, async t => {
    await using theirs = await testDatabase('mysql')
    await fillOthers(theirs.server as Mariadb)
    const dir = await scratch(t)
    await using pair = await Pair.lay({ primary: { database: theirs.database as never } })
    await pair.catalog()
    await pair.startPrimary(await dumpToolOf(dir, script))
    await pair.startBackup()

    const ran = await runCommand(pair, 'dumps', 'now')

    t.equal(ran.code, 1)
    t.match(ran.stderr, said)
    t.match(ran.stderr, /Next step: /)
    t.strictSame(await listed(pair), [])
    t.strictSame(await readdir(dumpsDir(pair)), [], 'nothing partial is left')
    t.match((await runCommand(pair, 'status')).stdout, said)
  })
}

t.test(
  'dump: no tool, a database that is not there and grants that are missing are each named',
  { skip: noMariadb },
  async t => {
    await using theirs = await testDatabase('mysql')
    const server = theirs.server as Mariadb
    await using pair = await Pair.lay({ primary: { database: theirs.database as never } })
    await pair.catalog()
    await pair.startPrimary()
    await pair.startBackup()
    const missing = await runCommand(pair, 'dumps', 'now')
    t.equal(missing.code, 1)
    t.match(missing.stderr, /ccnet_db.*seahub_db/s)

    await fillOthers(server)
    await server.query(`CREATE USER sea@localhost IDENTIFIED BY 'x'; GRANT ALL ON seafile_db.* TO sea@localhost;
    GRANT ALL ON ccnet_db.* TO sea@localhost; GRANT SELECT ON seahub_db.avatar TO sea@localhost`)
    const conf = join(pair.primary.dir, 'conf', 'seafile.conf')
    const text = (await readFile(conf, 'utf8'))
      .replace('user = root', 'user = sea')
      .replace('password = ', 'password = x')
    await writeFile(conf, text)
    await pair.primary.process?.kill()
    await pair.startPrimary()
    const refused = await runCommand(pair, 'dumps', 'now')
    t.equal(refused.code, 1, 'tables that the account may not see would be missing without a word')
    t.match(refused.stderr, /GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON `seahub_db`\.\* TO 'sea'@'localhost'/)

    await server.query('GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON seahub_db.* TO sea@localhost')
    t.equal((await runCommand(pair, 'dumps', 'now')).code, 0, 'with just what was named it works')

    await pair.primary.process?.kill()
    await pair.startPrimary({ PATH: '/nonexistent' })
    const toolless = await runCommand(pair, 'dumps', 'now')
    t.match(toolless.stderr, /neither is in PATH on the primary/)
    t.equal((await listed(pair)).length, 1)
  },
)

t.test(
  'dump: on SQLite all databases that there are, each whole, the core tables without rows, nothing left on the primary',
  async t => {
    await using pair = await Pair.start()
    const writer = await pair.writer()
    await writer.createLibrary({ name: 'Has rows', owner: 'jo@example.com' })
    const seahub = new Database(join(pair.primary.dir, 'seahub.db'))
    seahub.exec("CREATE TABLE share (token TEXT, blob BLOB); INSERT INTO share VALUES ('ünï', x'00ff')")
    seahub.pragma('journal_mode = WAL') // as Django may
    seahub.exec("INSERT INTO share VALUES ('in the log', NULL)")

    const ran = await runCommand(pair, 'dumps', 'now')
    seahub.close()

    t.equal(ran.code, 0, ran.stderr)
    const [dump] = await listed(pair)
    t.ok(dump?.absent.includes('ccnet/PeerMgr/usermgr.db'), 'what is not there is named')
    const to = await scratch(t)
    t.equal((await runCommand(pair, 'dumps', 'fetch', 'latest', to)).code, 0)
    using copy = closing(join(to, 'seafile-data', 'seafile.db'))
    t.equal(copy.db.prepare('SELECT owner_id FROM RepoOwner').pluck().get(), 'jo@example.com')
    for (const core of ['Repo', 'Branch', 'RepoHead'])
      t.equal(copy.db.prepare(`SELECT COUNT(*) FROM ${core}`).pluck().get(), 0)
    using hub = closing(join(to, 'seahub.db'))
    t.strictSame(hub.db.prepare('SELECT token FROM share').pluck().all(), ['ünï', 'in the log'])
    t.notOk((await readdir(join(pair.primary.dir, 'seaf-backup-state'))).some(name => name.startsWith('dump')))
  },
)

function closing(path: string): Disposable & { readonly db: Database.Database } {
  const db = new Database(path, { fileMustExist: true })
  return { db, [Symbol.dispose]: () => void db.close() }
}

t.test('dump: one is due when there is none, and when a slot was missed while nobody ran; else not', async t => {
  await using pair = await Pair.start({ dumps: SELDOM })
  await pair.until('the first', async () => (await pair.status()).dumps?.newest !== null)
  await pair.backup.process?.stop()
  await pair.startBackup()
  await pair.settle()
  const [first] = await listed(pair)
  t.equal((await listed(pair)).length, 1, 'no slot has come since')
  t.equal(first?.cause, 'schedule')

  await pair.backup.process?.stop()
  const manifest = join(dumpsDir(pair), String(first?.id), 'manifest.json')
  const text = await readFile(manifest, 'utf8')
  await writeFile(manifest, text.replace(/"askedAt": \d+/, `"askedAt": ${Date.now() - 400 * 86_400_000}`))
  await pair.startBackup()

  await pair.until('made up', async () => ((await pair.status()).dumps?.kept ?? 0) === 2)
})

t.test('dump: while the primary is away it is owed, and says so past rpo; once it is back it is made up', async t => {
  await using pair = await Pair.lay({ dumps: SELDOM, backup: { conf: ['rpo = 0.0005'] } })
  await pair.catalog()
  await pair.startBackup()
  await pair.until('overdue', async () => (await pair.status()).overdue.some(({ what }) => what === 'dump'))
  const status = await runCommand(pair, 'status')
  t.equal(status.code, 3)
  t.match(status.stdout.split('\n')[0], /^Overdue: .*a dump of the database has been due for/)

  await pair.startPrimary()

  await pair.until('made up', async () => (await pair.status()).dumps?.newest !== null)
  t.notOk((await pair.status()).overdue.some(({ what }) => what === 'dump'))
  t.equal((await pair.status()).dumps?.problem, null)
})

t.test(
  'dump: the line cut, or the daemon killed, in the middle leaves nothing, and another one is taken at once',
  { skip: noMariadb },
  async t => {
    await using theirs = await testDatabase('mysql')
    await fillOthers(theirs.server as Mariadb)
    const dir = await scratch(t)
    await using pair = await Pair.lay({ primary: { database: theirs.database as never }, dumps: SELDOM })
    await pair.catalog()
    // it stops in the middle until it is told to go on
    await pair.startPrimary(
      await dumpToolOf(
        dir,
        `echo begun >> ${dir}/begun; while [ ! -e ${dir}/go ]; do sleep 0.05; done; exec $REAL "$@"`,
      ),
    )
    await pair.startBackup()
    const begun = async () => (await readFile(join(dir, 'begun'), 'utf8').catch(() => '')).split('\n').length - 1
    await pair.until('begun', async () => (await begun()) === 1)
    pair.cutOff()
    await pair.until('given up', async () => (await pair.status()).dumps?.problem?.code === 'PRIMARY_UNREACHABLE')
    t.strictSame(await listed(pair), [])
    pair.reconnect()
    await pair.until('begun again', async () => (await begun()) >= 2)

    await pair.backup.process?.kill()
    await writeFile(join(dir, 'go'), '')
    await pair.startBackup()

    await pair.until('taken', async () => (await pair.status()).dumps?.kept === 1)
    t.strictSame(
      (await readdir(dumpsDir(pair))).filter(name => name.startsWith('.')),
      [],
    )
  },
)

t.test('dump: a full disk gives none, says so, and takes one when there is room', { skip: noSmallDisk }, async t => {
  await using pair = await Pair.lay({ dumps: SELDOM })
  const seahub = new Database(join(pair.primary.dir, 'seahub.db'))
  seahub.exec('CREATE TABLE t (b BLOB)')
  for (let i = 0; i < 8; i++) seahub.exec('INSERT INTO t VALUES (randomblob(1000000))')
  seahub.close()
  await using small = await SmallDisk.mount(dumpsDir(pair), 'size=4m')
  await pair.catalog()
  await pair.startPrimary()
  const backup = await pair.startBackup()
  await pair.until('full', async () => (await pair.status()).dumps?.problem?.code === 'STORE_FULL')
  t.strictSame(await listed(pair), [])
  t.ok(backup.running)

  await small.remount('size=64m')

  await pair.until('taken', async () => (await pair.status()).dumps?.kept === 1)
})

t.test(
  'dump: one that rots on the disk is found by verify, shown as damaged, and replaced; the good one stays',
  async t => {
    await using pair = await Pair.start({ dumps: SELDOM, backup: { conf: ['keep_hourly = 0', 'keep_daily = 0'] } })
    await pair.until('the first', async () => (await pair.status()).dumps?.newest !== null)
    const [first] = await listed(pair)
    await flipByte(join(dumpsDir(pair), String(first?.id), '0.zst'))
    t.equal((await runCommand(pair, 'dumps')).code, 0, 'nobody has looked yet')

    const verified = await runCommand(pair, 'dumps', 'verify')

    t.equal(verified.code, 1)
    t.match(verified.stdout, /DAMAGED/)
    t.equal((await runCommand(pair, 'dumps')).code, 1)
    t.match((await runCommand(pair, 'dumps')).stdout, /DAMAGED/)
    await pair.until('another', async () => (await listed(pair)).some(({ verdict }) => !verdict?.damage))
    await pair.until('the damaged one gone', async () => (await listed(pair)).length === 1)
    t.equal((await runCommand(pair, 'dumps', 'verify', 'latest')).code, 0)
  },
)

t.test('dump: one by a clock that ran ahead keeps none from being taken, and is not the newest', async t => {
  await using pair = await Pair.start({ dumps: SELDOM })
  await pair.until('the first', async () => (await pair.status()).dumps?.newest !== null)
  await pair.backup.process?.stop()
  const [first] = await listed(pair)
  const manifest = join(dumpsDir(pair), String(first?.id), 'manifest.json')
  const text = await readFile(manifest, 'utf8')
  await writeFile(manifest, text.replace(/"askedAt": \d+/, `"askedAt": ${Date.now() + 400 * 86_400_000}`))

  await pair.startBackup()

  await pair.until('another', async () => ((await pair.status()).dumps?.kept ?? 0) === 2)
  t.not((await pair.status()).dumps?.newest?.id, first?.id)
})
