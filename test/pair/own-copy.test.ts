/** What the backup remembers, and what is really there: a copy that was lost is never reported as one. */

import { rm } from 'node:fs/promises'
import { join, relative } from 'node:path'
import t from 'tap'
import { Pair } from '../support/pair.js'
import { filesBelow } from '../support/sides.js'
import type { Test } from 'tap'
import type { RepoId } from '../../src/shared/ids.js'

/** Two libraries with history, backed up. */
async function pairWithCopy(): Promise<{ pair: Pair; repos: readonly RepoId[] }> {
  const pair = await Pair.start()
  const writer = await pair.writer()
  const repos: RepoId[] = []
  for (const name of ['Photos', 'Notes']) {
    const repo = await writer.createLibrary({ name, owner: 'jo@example.com' })
    for (let i = 0; i < 3; i++)
      await writer.commit(repo, [{ op: 'put', path: `/deep/down/${i % 2}.txt`, content: Buffer.from(`${name} ${i}`) }])
    repos.push(repo)
  }
  await pair.settle()
  return { pair, repos }
}

const objects = async (side: Side): Promise<string[]> =>
  (await filesBelow(join(side.dataDir, 'storage'))).map(path => relative(side.dataDir, path)).sort()

async function isWhole(t: Test, pair: Pair): Promise<void> {
  await pair.settle()
  t.strictSame(await objects(pair.backup), await objects(pair.primary), 'every object of the primary is here')
  t.strictSame(await pair.heads('backup'), await pair.heads('primary'))
  t.match((await pair.status()).counts, { total: 2, synchronized: 2 })
}

type Side = Pair['backup']

const LOSSES: ReadonlyArray<{ readonly what: string; readonly path: string }> = [
  { what: 'all objects (a disk that was not mounted)', path: 'seafile-data/storage' },
  { what: 'all blocks', path: 'seafile-data/storage/blocks' },
  { what: 'the rows', path: 'seafile-data/seafile.db' },
  { what: 'seafile-data', path: 'seafile-data' },
  { what: 'the state', path: 'seaf-backup-state' },
]

for (const { what, path } of LOSSES) {
  t.test(`own copy: ${what} gone while the daemon was stopped: not called synchronized before all is back`, async t => {
    const { pair, repos } = await pairWithCopy()
    await using _pair = pair
    await pair.backup.process?.stop()
    await pair.primary.process?.kill()
    await rm(join(pair.backup.dir, path), { recursive: true })

    await pair.startBackup()
    t.match((await pair.status()).counts, { total: repos.length, synchronized: 0 }, 'known, and not believed')
    await pair.startPrimary()

    await isWhole(t, pair)
  })
}

t.test('own copy: objects gone while the daemon runs are pulled again with the next change, history too', async t => {
  const { pair, repos } = await pairWithCopy()
  await using _pair = pair
  await rm(join(pair.backup.dataDir, 'storage'), { recursive: true })

  const writer = await pair.writer()
  for (const repo of repos) await writer.commit(repo, [{ op: 'put', path: '/new.txt', content: Buffer.from('new') }])

  await isWhole(t, pair)
})
