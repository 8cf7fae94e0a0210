/** What a restore finds where it is to go: of others nothing is touched, of a run before what it left is taken up. */

import { existsSync } from 'node:fs'
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import t from 'tap'
import { runCommand, runCommandWith } from '../support/command.js'
import { dumpToolOf } from '../support/dump-tool.js'
import { mariadbInstalled, startMariadb } from '../support/mariadb.js'
import { Pair } from '../support/pair.js'
import { testDatabase } from '../support/sides.js'
import { SmallDisk, noSmallDisk } from '../support/small-disk.js'
import type { Test } from 'tap'
import type { Mariadb } from '../support/mariadb.js'

const noMariadb = !mariadbInstalled() && 'mariadbd is not installed'

async function scratch(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'sbk-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return dir
}

t.test(
  'restore: a late failure leaves no database, a kill in the import what the same command takes away and makes anew, and no other may finish it elsewhere',
  { skip: noMariadb },
  async t => {
    await using theirs = await testDatabase('mysql')
    const server = theirs.server as Mariadb
    const dir = await scratch(t)
    await server.query(`CREATE DATABASE ccnet_db; CREATE DATABASE seahub_db;
      CREATE TABLE seafile_db.RepoUserToken (repo_id CHAR(37), token CHAR(41));
      CREATE TABLE seafile_db.RepoTokenPeerInfo (token CHAR(41));
      CREATE TABLE ccnet_db.EmailUser (email VARCHAR(255)); INSERT INTO ccnet_db.EmailUser VALUES ('jo@example.com')`)
    await using pair = await Pair.lay({ primary: { database: theirs.database as never } })
    await pair.catalog()
    // an import that lasts: its databases are there, and it has not ended
    const slow = `$REAL "$@" | sed '/^USE .seahub_db/s/$/\\nDO SLEEP(3);/'`
    await pair.startPrimary(await dumpToolOf(dir, slow))
    await pair.startBackup()
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Papers', owner: 'jo@example.com' })
    await pair.settle()
    await pair.until('arrived', async () => (await pair.library(repo))?.state === 'synchronized')
    await using other = await startMariadb()
    const file = join(dir, 'target.cnf')
    await writeFile(file, `[client]\nuser = ${other.user}\nsocket = "${other.socket}"\n`, { mode: 0o600 })
    const partial = join(dir, 'restored.partial')
    const to = ['restore', '--to', join(dir, 'restored')]
    const restore = [...to, '--database', file]

    // the rows of libraries come after all else
    await server.query(
      "CREATE TRIGGER late BEFORE INSERT ON RepoOwner FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'too late'",
      'seafile_db',
    )
    t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)
    await server.query('DROP TRIGGER late', 'seafile_db')
    const newer = await writer.createLibrary({ name: 'Newer than the dump', owner: 'jo@example.com' })
    await pair.until('the newer one', async () => (await pair.library(newer))?.state === 'synchronized')
    const late = await runCommand(pair, ...restore)
    t.equal(late.code, 1)
    t.match(late.stderr, /too late/)
    t.notMatch(await other.query('SHOW DATABASES'), /_db/, 'what was made is taken back')

    await server.query(
      `INSERT INTO RepoUserToken VALUES ('${repo}', 'a'), ('${newer}', 'b'); INSERT INTO RepoTokenPeerInfo VALUES ('a'), ('b')`,
      'seafile_db',
    )
    t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)
    await pair.backup.process?.stop()
    const state = new Database(join(pair.backup.dir, 'seaf-backup-state', 'state.db'))
    state.prepare('UPDATE library SET primary_head = ? WHERE repo = ?').run('f'.repeat(40), newer)
    state.close()
    const isImporting = async () => (await other.query('SHOW DATABASES')).includes('seahub_db')
    const killed = await runCommandWith(pair, { until: isImporting }, restore)
    t.equal(killed.code, null)
    t.ok(existsSync(partial))
    const elsewhere = await runCommand(pair, ...to, '--without-tables')
    t.equal(elsewhere.code, 2)
    t.match(elsewhere.stderr, /not finished has made .*seahub_db.* on the server at /)

    const again = await runCommand(pair, ...restore)

    t.equal(again.code, 0, again.stderr)
    t.equal(await other.query('SELECT email FROM ccnet_db.EmailUser'), 'jo@example.com\n')
    t.match(await other.query('SELECT repo_id FROM Branch', 'seafile_db'), repo)
    t.match(
      again.stdout,
      /^Clients of 1 library must sign in again/m,
      'of the one that the primary had a newer head of',
    )
    t.equal(await other.query('SELECT token FROM RepoUserToken', 'seafile_db'), 'a\n')
    t.equal(await other.query('SELECT token FROM RepoTokenPeerInfo', 'seafile_db'), 'a\n')
    t.strictSame(await readdir(join(dir, 'restored')), ['restored.json', 'seafile-data'])
    t.match(JSON.parse(await readFile(join(dir, 'restored', 'restored.json'), 'utf8')), {
      libraries: 2,
      lost: 0,
      signedOut: 1,
    })
    const over = await runCommand(pair, 'restore', '--to', join(dir, 'more'), '--database', file)
    t.equal(over.code, 2, 'finished, they are not ours to remove any more')
  },
)

t.test(
  'restore: another disk that is mounted at the target is refused before anything is written',
  { skip: noSmallDisk },
  async t => {
    await using pair = await Pair.start()
    const writer = await pair.writer()
    await writer.createLibrary({ name: 'Any', owner: 'jo@example.com' })
    await pair.until('arrived', async () => (await pair.heads('backup')).size === 1)
    const dir = await scratch(t)
    await using _disk = await SmallDisk.mount(join(dir, 'mounted'), 'size=4m')

    const ran = await runCommand(pair, 'restore', '--to', join(dir, 'mounted'))

    t.equal(ran.code, 2)
    t.match(ran.stderr, /another disk is mounted there/)
    t.notOk(existsSync(join(dir, 'mounted.partial')))
  },
)
