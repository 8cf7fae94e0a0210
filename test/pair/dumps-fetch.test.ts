/** Dumps taken out of the store by hand, and thrown away by rule. */

import { mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import t from 'tap'
import { runCommand } from '../support/command.js'
import { Pair } from '../support/pair.js'
import { flipByte } from '../support/sides.js'
import type { Test } from 'tap'

const NONE = ['keep_hourly = 0', 'keep_daily = 0', 'keep_weekly = 0', 'keep_monthly = 0', 'keep_yearly = 0']

const dumpsDir = (pair: Pair) => join(pair.backup.dir, 'seaf-backup-state', 'dumps')

async function listed(pair: Pair): Promise<readonly { readonly id: string }[]> {
  const ran = await runCommand(pair, 'dumps', '--json')
  return (JSON.parse(ran.stdout) as { dumps: { id: string }[] }).dumps
}

async function scratch(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'sbf-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return dir
}

t.test('dump: fetch writes over nothing unless told to, and prune says before it does', async t => {
  await using pair = await Pair.start({
    backup: { conf: NONE },
    prepare: async dir => {
      const hub = new Database(join(dir, 'seahub.db'))
      hub.exec("CREATE TABLE share (token TEXT); INSERT INTO share VALUES ('link')")
      hub.close()
    },
  })
  t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)
  const to = await scratch(t)
  t.equal((await runCommand(pair, 'dumps', 'fetch', 'latest', to)).code, 0)
  const file = join(to, 'seafile-data', 'seafile.db')
  await writeFile(file, 'mine')
  const again = await runCommand(pair, 'dumps', 'fetch', 'latest', to)
  t.equal(again.code, 2)
  t.match(again.stderr, /--force/)
  t.equal(await readFile(file, 'utf8'), 'mine')
  t.equal((await runCommand(pair, 'dumps', 'fetch', 'latest', to, '--force')).code, 0)
  t.ok((await stat(file)).size > 4096)
  t.equal((await runCommand(pair, 'dumps', 'fetch', '1999', to)).code, 2)

  const dry = await runCommand(pair, 'dumps', 'prune', '--dry-run')
  t.match(dry.stdout, /^keep +\d{8}T\d{6}Z +newest$/m)
  t.equal((await listed(pair)).length, 1)
  t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)
  t.equal((await listed(pair)).length, 1, 'with no rule, the newest alone stays')

  const below = join(file, 'not', 'a-directory')
  for (const command of [
    ['dumps', 'fetch', 'latest', below],
    ['restore', '--to', below],
  ]) {
    const unusable = await runCommand(pair, ...command)
    t.equal(unusable.code, 1)
    t.match(unusable.stderr, /DIRECTORY_UNUSABLE/, 'neither a defect nor a disk that fails')
    t.match(unusable.stderr, below)
  }

  const [kept] = await listed(pair)
  await flipByte(join(dumpsDir(pair), String(kept?.id), '1.zst'))
  const names = await readdir(to, { recursive: true })
  await writeFile(file, 'mine')
  const damaged = await runCommand(pair, 'dumps', 'fetch', 'latest', to, '--force')
  t.equal(damaged.code, 1)
  t.match(damaged.stderr, /read seahub\.db of dump .*DUMP_DAMAGED/)
  t.equal(await readFile(file, 'utf8'), 'mine', 'its other database, which is whole, takes no place either')
  t.strictSame(await readdir(to, { recursive: true }), names)
})
