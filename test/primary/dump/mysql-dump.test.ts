/** The dump of a real MariaDB that is in somebody's way. */

import { spawn } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { mysqlDump } from '../../../src/primary/dump/mysql-dump.js'
import { mariadbInstalled, startMariadb } from '../../support/mariadb.js'
import { mysqlConfig } from '../../support/sides.js'
import type { Test } from 'tap'
import type { DumpSink } from '../../../src/primary/dump/dump-source.js'
import type { Mariadb } from '../../support/mariadb.js'

const skip = !mariadbInstalled() && 'mariadbd is not installed'

async function prepared(t: Test) {
  const dir = await mkdtemp(join(tmpdir(), 'seaf-backup-mysqldump-'))
  const server = await startMariadb()
  t.teardown(async () => {
    await server[Symbol.asyncDispose]()
    await rm(dir, { recursive: true, force: true })
  })
  await server.query('CREATE DATABASE seafile_db; CREATE TABLE seafile_db.a (n INT); CREATE TABLE seafile_db.b (n INT)')
  const database = mysqlConfig(server) as Parameters<typeof mysqlDump>[0]['database']
  const take = mysqlDump({ database, databases: () => ['seafile_db'], stateDir: dir, mayLock: false, silenceMs: 1_500 })
  return { dir, server, take }
}

const nowhere: DumpSink = { async header() {}, async part() {}, async bytes() {} }

/** A client that holds a lock until it is let go. */
async function lock(server: Mariadb, table: string): Promise<() => Promise<void>> {
  const client = spawn(
    'mariadb',
    ['--no-defaults', `--user=${server.user}`, `--socket=${server.socket}`, '--unbuffered'],
    {
      stdio: ['pipe', 'pipe', 'ignore'],
    },
  )
  const ended = new Promise<void>(resolve => client.once('close', () => resolve()))
  client.stdin.write(`LOCK TABLES ${table} WRITE; SELECT 'locked';\n`)
  await new Promise<void>(resolve => client.stdout.once('data', () => resolve()))
  return async () => {
    client.stdin.end()
    await ended
  }
}

/** Connections besides the one that asks. */
const connections = async (server: Mariadb): Promise<number> =>
  Number(
    await server.query(
      "SELECT COUNT(*) FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user = 'root'",
    ),
  )

t.test(
  'dump: a table that stays locked is waited for so long and no longer; nothing of it runs on',
  { skip },
  async t => {
    const { dir, server, take } = await prepared(t)
    const release = await lock(server, 'seafile_db.b')

    await t.rejects(take(nowhere, new AbortController().signal), { code: 'DUMP_FAILED', message: /is a table locked/ })

    t.strictSame(await readdir(dir), [], 'the credentials are gone')
    await release()
    for (let i = 0; (await connections(server)) > 0 && i < 100; i++) await delay(50)
    t.equal(await connections(server), 0)
    await take(nowhere, new AbortController().signal)
  },
)

t.test('dump: a table that is locked for a moment, and a receiver that is slow, are no failure', { skip }, async t => {
  const { server, take } = await prepared(t)
  const release = await lock(server, 'seafile_db.b')
  setTimeout(() => void release(), 700)
  let slow = 0
  const sink: DumpSink = {
    ...nowhere,
    async bytes() {
      if (slow++ === 0) await delay(2_500) // longer than silence may last
    },
  }
  await take(sink, new AbortController().signal)
  t.ok(slow > 0)
})

t.test('dump: a receiver that goes away in the middle ends the tool', { skip }, async t => {
  const { dir, server, take } = await prepared(t)
  await server.query('INSERT INTO seafile_db.a SELECT seq FROM seafile_db.seq_1_to_300000')
  const sink: DumpSink = { ...nowhere, bytes: () => Promise.reject(new Error('gone')) }
  await t.rejects(take(sink, new AbortController().signal), { message: 'gone' })
  t.strictSame(await readdir(dir), [])
})

t.test('dump: given up in the middle, the tool is ended and nothing stays', { skip }, async t => {
  const { dir, server, take } = await prepared(t)
  const release = await lock(server, 'seafile_db.b')
  const giveUp = new AbortController()
  setTimeout(() => giveUp.abort(), 500)
  await t.rejects(take(nowhere, giveUp.signal), { name: 'AbortError' })
  t.strictSame(await readdir(dir), [])
  await release()
})

t.test('dump: it says where in the binlog it lies, unless a table is in no snapshot', { skip }, async t => {
  const { server, take } = await prepared(t)
  await server.query('CREATE DATABASE other; CREATE TABLE other.t (n INT) ENGINE = MyISAM')
  await server.query(
    'CREATE TABLE Repo (repo_id CHAR(37)) ENGINE = MyISAM; CREATE VIEW v AS SELECT n FROM a',
    'seafile_db',
  )
  const hasPosition = async () => {
    let text = ''
    await take({ ...nowhere, bytes: async bytes => void (text += bytes.toString()) }, new AbortController().signal)
    t.match(text, /Dump completed/)
    return /^-- CHANGE MASTER TO MASTER_LOG_FILE/m.test(text)
  }
  t.equal(await hasPosition(), true, 'what is not dumped does not count, nor a view')
  for (const engine of ['MyISAM', 'Aria']) {
    await server.query(`ALTER TABLE b ENGINE = ${engine}`, 'seafile_db')
    t.equal(await hasPosition(), false, `with a table of ${engine}`)
  }
  await server.query('ALTER TABLE b ENGINE = InnoDB', 'seafile_db')
  t.equal(await hasPosition(), true, 'and again when it is none any more')
})
