/** A promotion whose import of the other tables fails, and a server that could not take them. */

import { chmod, mkdir, readFile, readdir, writeFile } from 'node:fs/promises'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { runCommand, runCommandWith } from '../support/command.js'
import { mariadbInstalled } from '../support/mariadb.js'
import { Pair } from '../support/pair.js'
import { CONFIRM, promotionFile, stateDir } from '../support/promote.js'
import { testDatabase } from '../support/sides.js'
import type { Test } from 'tap'
import type { Mariadb } from '../support/mariadb.js'

const skip = !mariadbInstalled() && 'mariadbd is not installed'
const ACCEPT = ['--accept-loss', 'primary,libraries,tables']

const OF_NO_LIBRARY = '00000000-0000-4000-8000-000000000000'

interface Scene {
  readonly pair: Pair
  readonly ours: Mariadb
}

/** A library, users and shares, a dump of them, and a backup that is stopped. */
async function scene(t: Test): Promise<Scene> {
  const [theirs, ours] = [await testDatabase('mysql'), await testDatabase('mysql')]
  const server = theirs.server as Mariadb
  await server.query(`CREATE DATABASE ccnet_db; CREATE DATABASE seahub_db;
    CREATE TABLE ccnet_db.EmailUser (email VARCHAR(255)); INSERT INTO ccnet_db.EmailUser VALUES ('jo@example.com');
    CREATE TABLE seahub_db.share (token TEXT); INSERT INTO seahub_db.share VALUES ('link')`)
  const side = ({ database }: typeof theirs) => ({ database: database as never })
  const pair = await Pair.start({ primary: side(theirs), backup: side(ours) })
  t.teardown(async () => {
    await pair[Symbol.asyncDispose]()
    for (const database of [theirs, ours]) await database[Symbol.asyncDispose]()
  })
  const repo = await (await pair.writer()).createLibrary({ name: 'Papers', owner: 'jo@example.com' })
  await server.query(`INSERT INTO RepoTrash (repo_id) VALUES ('${repo}'), ('${OF_NO_LIBRARY}')`, 'seafile_db')
  await pair.settle()
  t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)
  await pair.backup.process?.stop()
  return { pair, ours: ours.server as Mariadb }
}

/** The server's client, which loses its server where the dump comes to its second database. */
async function failingClient(pair: Pair): Promise<NodeJS.ProcessEnv> {
  const found = spawnSync('sh', ['-c', 'command -v mariadb || command -v mysql'], { encoding: 'utf8' })
  const second = '^CREATE DATABASE .*32312.*`ccnet_db`'
  const script = `#!/bin/sh
sql=$(mktemp ${join(pair.dir, 'sql.XXXXXX')}); cat > "$sql"
grep -aq '${second}' "$sql" || exec ${found.stdout.trim()} "$@" < "$sql"
sed '/${second}/,$d' "$sql" | ${found.stdout.trim()} "$@"
echo 'ERROR 2013 (HY000): Lost connection to server during query' >&2; exit 1\n`
  const bin = join(pair.dir, 'bin')
  await mkdir(bin)
  await writeFile(join(bin, 'mariadb'), script)
  await chmod(join(bin, 'mariadb'), 0o755)
  return { PATH: `${bin}:${process.env['PATH'] ?? ''}` }
}

t.test(
  'promote: an import that failed in the middle is brought to its end, and is not left for none',
  { skip },
  async t => {
    const { pair, ours } = await scene(t)
    const failed = await runCommandWith(pair, { env: await failingClient(pair) }, ['promote', ...CONFIRM, ...ACCEPT])
    t.equal(failed.code, 1, failed.stderr)
    t.match(failed.stderr, /Lost connection/)
    t.match(JSON.parse(await readFile(promotionFile(pair), 'utf8')), { step: 'importing' })

    const without = await runCommand(pair, 'promote', ...CONFIRM, '--without-tables')

    t.equal(without.code, 2)
    t.match(without.stderr, /half of the tables/)
    const again = await runCommand(pair, 'promote', ...CONFIRM)
    t.equal(again.code, 0, again.stderr)
    t.equal(await ours.query('SELECT email FROM ccnet_db.EmailUser'), 'jo@example.com\n')
    t.equal(await ours.query('SELECT token FROM seahub_db.share'), 'link\n')
    t.equal(
      await ours.query('SELECT repo_id FROM RepoTrash', 'seafile_db'),
      `${OF_NO_LIBRARY}\n`,
      'what lives is no trash',
    )
  },
)

t.test(
  'promote: a dump of another kind of server, or of a newer one, stops it before anything is fenced',
  { skip },
  async t => {
    const { pair } = await scene(t)
    const [id = ''] = await readdir(join(stateDir(pair), 'dumps'))
    const manifest = join(stateDir(pair), 'dumps', id, 'manifest.json')
    const text = await readFile(manifest, 'utf8')
    for (const [server, why] of [
      ['8.0.36', 'of another kind'],
      ['99.1.2-MariaDB', 'which is older'],
    ]) {
      await writeFile(manifest, text.replace(/"server": "[^"]*"/, `"server": "${server}"`))

      const check = await runCommand(pair, 'promote', '--check', ...ACCEPT)

      t.equal(check.code, 1)
      t.match(check.stdout, new RegExp(`^STOP {2}the database: the dump is of ${server}, .*${why}`, 'm'))
    }
  },
)
