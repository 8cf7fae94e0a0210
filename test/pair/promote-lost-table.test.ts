/** A primary that lists no libraries any more, since its table was emptied: that must not erase its backup. */

import { existsSync } from 'node:fs'
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { runCommand } from '../support/command.js'
import { Pair } from '../support/pair.js'
import { CONFIRM, execute, promotionFile, select, stateDir } from '../support/promote.js'
import type { Test } from 'tap'

const OF_NO_LIBRARY = '00000000-0000-4000-8000-000000000000'

/** Three libraries that are here, a dump, and then none of them on the primary. The daemon runs. */
async function emptied(t: Test): Promise<{ readonly pair: Pair; readonly repos: readonly string[] }> {
  const pair = await Pair.start()
  t.teardown(() => pair[Symbol.asyncDispose]())
  const writer = await pair.writer()
  const repos = []
  for (const name of ['Papers', 'Letters', 'Photos'])
    repos.push(await writer.createLibrary({ name, owner: 'jo@example.com' }))
  await pair.settle()
  await pair.until('all here', async () => (await pair.status()).counts.synchronized === 3)
  const trashed = (repo: string) => `INSERT INTO RepoTrash (repo_id, repo_name) VALUES ('${repo}', 'Trashed');`
  execute(pair, 'primary', [...repos, OF_NO_LIBRARY].map(trashed).join('\n'))
  t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)
  execute(pair, 'primary', 'DELETE FROM Repo')
  return { pair, repos: repos.sort() }
}

t.test(
  'promote: libraries that the primary has no more are a loss that names each, not noticed before or since when',
  async t => {
    const { pair, repos } = await emptied(t)
    await pair.backup.process?.stop()
    const accepted = ['--accept-loss', 'primary,tables']

    const check = await runCommand(pair, 'promote', '--check', ...accepted)

    t.equal(check.code, 1, check.stdout)
    const line = /^LOSS \(libraries\) {2}deleted libraries: .*$/m.exec(check.stdout)?.[0]
    for (const repo of repos) t.match(line, `${repo} (not noticed before)`)
    t.match(line, 'was its table lost')
    const refused = await runCommand(pair, 'promote', ...CONFIRM, ...accepted)
    t.equal(refused.code, 2)
    t.match(refused.stderr, /--with-deleted/)
    t.notOk(existsSync(promotionFile(pair)))

    await pair.startBackup()
    await pair.until('noticed', async () => (await pair.status()).libraries.every(one => one.deletedOnPrimary))
    t.match(
      (await runCommand(pair, 'status', '--verbose')).stdout,
      /3 that the primary had deleted would not come back/,
    )
    await pair.primary.process?.kill()
    await pair.backup.process?.stop()
    const later = await runCommand(pair, 'promote', '--check', ...accepted)
    t.equal(later.code, 1)
    t.match(later.stdout, new RegExp(`^LOSS \\(libraries\\) .*${repos[0]} \\(since 20`, 'm'))
  },
)

t.test('promote: with --with-deleted they come back, with owner and head', async t => {
  const { pair, repos } = await emptied(t)
  await pair.sync(null)
  await pair.backup.process?.stop()
  const heads = await pair.heads('backup')
  const accepted = ['--accept-loss', 'primary,tables', '--with-deleted']
  const check = await runCommand(pair, 'promote', '--check', ...accepted)
  t.match(check.stdout, /^good {2}deleted libraries: 3 that the primary had deleted come back/m)

  const ran = await runCommand(pair, 'promote', ...CONFIRM, ...accepted)

  t.equal(ran.code, 0, ran.stderr)
  t.strictSame(select(pair, 'backup', 'SELECT repo_id FROM Repo ORDER BY 1'), repos)
  t.strictSame(await pair.heads('backup'), heads)
  t.strictSame(select(pair, 'backup', 'SELECT DISTINCT owner_id FROM RepoOwner'), ['jo@example.com'])
  const trash = select(pair, 'backup', 'SELECT repo_id FROM RepoTrash')
  t.strictSame(trash, [OF_NO_LIBRARY], 'from there the server would purge what lives')
})

t.test(
  'promote: accepted and interrupted, it may still be run again with --with-deleted; once their rows are gone, not',
  async t => {
    const { pair, repos } = await emptied(t)
    await pair.backup.process?.stop()
    const accepted = ['--accept-loss', 'primary,tables,libraries']
    const inTheWay = join(stateDir(pair), 'promotion-rows.jsonl')
    await mkdir(inTheWay)
    t.equal((await runCommand(pair, 'promote', ...CONFIRM, ...accepted)).code, 1)
    await rmdir(inTheWay)
    const fenced = await readFile(promotionFile(pair), 'utf8')

    const ran = await runCommand(pair, 'promote', ...CONFIRM, '--with-deleted')

    t.equal(ran.code, 0, ran.stderr)
    t.strictSame(select(pair, 'backup', 'SELECT repo_id FROM Repo ORDER BY 1'), repos)
    await writeFile(promotionFile(pair), fenced)
    t.equal((await runCommand(pair, 'promote', ...CONFIRM)).code, 0)
    const late = await runCommand(pair, 'promote', ...CONFIRM, '--with-deleted')
    t.equal(late.code, 2)
    t.match(late.stderr, /promotion-rows\.jsonl/)
  },
)

t.test(
  'restore and drill: that all libraries are left out as deleted is a loss, and --with-deleted is named',
  async t => {
    const { pair, repos } = await emptied(t)
    await pair.sync(null)
    const to = join(pair.dir, 'restored')

    const dry = await runCommand(pair, 'restore', '--to', to, '--dry-run')
    const drill = await runCommand(pair, 'drill')

    t.equal(dry.code, 1, dry.stdout)
    for (const repo of repos) t.match(dry.stdout, new RegExp(`${repo} NOT RESTORED: .*--with-deleted`))
    t.equal(drill.code, 1)
    t.match(drill.stdout, 'would not be restored')
    const restored = await runCommand(pair, 'restore', '--to', to, '--with-deleted')
    t.equal(restored.code, 0, restored.stderr)
    t.match(restored.stdout, '3 libraries, none missing')
  },
)
