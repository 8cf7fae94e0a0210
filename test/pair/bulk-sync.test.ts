/** One sync of the filesystem for many objects, of all pull threads: what its failure and its end mean for each of them. */

import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import t from 'tap'
import { FakeSync } from '../support/fake-sync.js'
import { Pair } from '../support/pair.js'
import { sameBytes } from '../support/replica.js'
import { filesBelow } from '../support/sides.js'
import { closing } from '../../src/shared/lifecycle.js'
import type { RepoId } from '../../src/shared/ids.js'

const FILES = 200
/** A file has one block. */
const OBJECTS = 2 * FILES

async function createLibrary(pair: Pair, name: string): Promise<RepoId> {
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name, owner: 'jo@example.com' })
  const changes = Array.from({ length: FILES }, (_, n) => ({
    op: 'put' as const,
    path: `/${n}`,
    content: randomBytes(100),
  }))
  await writer.commit(repo, changes)
  return repo
}

const temps = async (pair: Pair): Promise<number> =>
  (await filesBelow(join(pair.backup.dataDir, 'tmpfiles', 'seaf-backup'))).length

t.test(
  'bulk sync: a sync that failed for one pull thread is not followed by a success of the other for what it had written',
  async t => {
    await using pair = await Pair.lay({ backup: { conf: ['workers = 2'] } })
    const sync = await FakeSync.lay(join(pair.dir, 'sync'))
    const repos = [await createLibrary(pair, 'One'), await createLibrary(pair, 'Other')]
    await pair.startPrimary()
    const backup = await pair.startBackup(sync.env)
    await pair.until('all is written', async () => (await temps(pair)) >= repos.length * OBJECTS)

    await sync.fail(1)
    await backup.logged('sync did not finish')
    await sync.succeed()
    const at = (msg: string, repo: RepoId) => backup.log.findIndex(line => line.msg === msg && line['repo'] === repo)
    await pair.until('recorded', async () => repos.every(repo => at('head recorded', repo) >= 0))

    for (const repo of repos) {
      const failed = at('sync did not finish', repo)
      t.match(backup.log[failed], { code: 'STORE_IO' }, 'its bytes may be lost')
      t.ok(at('head recorded', repo) > failed, 'it was recorded when it had been written anew')
    }
    await pair.settle()
    await sameBytes(t, pair)
  },
)

t.test('bulk sync: a stop that ends the sync too, as systemd and Ctrl-C do, is no failure of any library', async t => {
  await using pair = await Pair.lay()
  const sync = await FakeSync.lay(join(pair.dir, 'sync'))
  const repo = await createLibrary(pair, 'First copy')
  await pair.startPrimary()
  const backup = await pair.startBackup(sync.env)
  await pair.until('it syncs', async () => (await sync.pid(1)) !== undefined)

  process.kill(backup.pid, 'SIGTERM')
  process.kill((await sync.pid(1)) ?? NaN, 'SIGTERM')

  t.strictSame(await backup.exited, { code: 0, signal: null })
  t.notOk(backup.log.some(line => line.msg === 'sync did not finish'))
  using state = closing(new Database(join(pair.backup.dir, 'seaf-backup-state', 'state.db'), { readonly: true }))
  const row = state.value.prepare('SELECT head, failure FROM library WHERE repo = ?').get(repo)
  t.match(row, { head: null, failure: null })
})
