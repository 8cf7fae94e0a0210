/** A promotion's other tables: the newest dump, and all that was archived of the binlog after it. */

import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { World, stateDir } from '../support/binlog-world.js'
import { runCommand } from '../support/command.js'
import { mariadbInstalled } from '../support/mariadb.js'
import { SEAFILE_DATABASES, SEAFILE_DAY } from '../support/seafile-statements.js'
import { testDatabase } from '../support/sides.js'
import { tablesOf } from '../support/tables.js'
import type { Mariadb } from '../support/mariadb.js'

const noMariadb = !mariadbInstalled() && 'mariadbd is not installed'
const CONFIRM = ['--confirm', 'PROMOTE']

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

t.test(
  'promote: a replay that the server stops in the middle is a loss that must be named, and then the dump alone is taken',
  { skip: noMariadb },
  async t => {
    await using ours = await testDatabase('mysql')
    await using world = await World.start(t, 'STATEMENT', ours)
    const { pair, server } = world
    await server.query('CREATE TABLE seahub_db.narrow (a INT PRIMARY KEY)')
    await world.write()
    await world.dump(t)
    await pair.backup.process?.stop()
    await pair.primary.process?.stop()
    const expected = await tablesOf(server, SEAFILE_DATABASES, false)
    // as a temporary table that was there before the dump: the log alone does not make it
    await server.query(
      'SET sql_log_bin = 0; CREATE TABLE seahub_db.unlogged (a INT); SET sql_log_bin = 1; CREATE TABLE seahub_db.made (a INT); INSERT INTO seahub_db.narrow VALUES (1); INSERT INTO seahub_db.narrow SELECT 2 FROM seahub_db.unlogged',
    )
    await world.archive()

    const stopped = await runCommand(pair, 'promote', ...CONFIRM, '--accept-loss', 'primary,libraries')
    t.equal(stopped.code, 1)
    t.match(stopped.stderr, /seahub_db\.unlogged.*--accept-loss tables/s)
    const ran = await runCommand(pair, 'promote', ...CONFIRM, '--accept-loss', 'primary,libraries,tables')

    t.equal(ran.code, 0, ran.stderr)
    t.match(ran.stdout, /are as in dump .*nothing after it: .*seahub_db\.unlogged/s)
    t.strictSame(await tablesOf(ours.server as Mariadb, SEAFILE_DATABASES, false), expected)
  },
)
