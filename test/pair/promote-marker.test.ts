/** That a backup was promoted is known by its data too: whoever moves the state directory aside does not undo it. */

import { existsSync } from 'node:fs'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { runCommand } from '../support/command.js'
import { Pair } from '../support/pair.js'
import { CONFIRM, promotionFile, stateDir } from '../support/promote.js'
import type { Test } from 'tap'

const markerOf = (pair: Pair): string => join(pair.backup.dataDir, 'seaf-backup-promoted.json')

async function promoted(t: Test): Promise<{ readonly pair: Pair; readonly repo: string }> {
  const pair = await Pair.start()
  t.teardown(() => pair[Symbol.asyncDispose]())
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'Papers', owner: 'jo@example.com' })
  await pair.settle()
  await pair.backup.process?.stop()
  t.equal((await runCommand(pair, 'promote', ...CONFIRM, '--accept-loss', 'primary,tables')).code, 0)
  return { pair, repo }
}

t.test(
  'promote: with its state directory moved aside, the daemon syncs nothing still, and it is not promoted anew',
  async t => {
    const { pair, repo } = await promoted(t)
    const head = (await pair.heads('backup')).get(repo as never)
    const { epoch } = JSON.parse(await readFile(promotionFile(pair), 'utf8')) as { epoch: string }
    await rename(stateDir(pair), `${stateDir(pair)}-aside`)
    await (await pair.writer()).commit(repo as never, [{ op: 'put', path: '/late', content: Buffer.from('late') }])

    await pair.startBackup({}, 'backup promoted: nothing is synced')

    const status = await runCommand(pair, 'status')
    t.equal(status.code, 3)
    t.match(status.stdout, /PROMOTED/)
    t.equal((await runCommand(pair, 'sync', '--all')).code, 1)
    await pair.backup.process?.stop()
    t.equal((await pair.heads('backup')).get(repo as never), head)
    const anew = await runCommand(pair, 'promote', ...CONFIRM, '--accept-loss', 'primary,tables,libraries')
    t.equal(anew.code, 1, anew.stdout)
    t.match(anew.stderr, /PROMOTED/)
    t.match(anew.stderr, epoch)
    t.match(anew.stderr, markerOf(pair))
    t.notOk(existsSync(promotionFile(pair)))
  },
)

t.test(
  'promote: one that cannot be read is taken for one; one that is missing comes back with the next run',
  async t => {
    const { pair } = await promoted(t)
    const text = await readFile(markerOf(pair), 'utf8')
    await rm(markerOf(pair))
    t.equal((await runCommand(pair, 'promote', ...CONFIRM)).code, 0)
    t.equal(await readFile(markerOf(pair), 'utf8'), text)
    await rename(stateDir(pair), `${stateDir(pair)}-aside`)
    await writeFile(markerOf(pair), text.slice(1))

    const anew = await runCommand(pair, 'promote', ...CONFIRM, '--accept-loss', 'primary,tables,libraries')

    t.match(anew.stderr, /STATE_UNUSABLE/)
    t.match(anew.stderr, /Remove it only when no server runs/)
    t.notOk(existsSync(promotionFile(pair)))
  },
)
