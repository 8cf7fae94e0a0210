/** A disk that cannot be written: said with the next step, nothing partial, no exit, and on it goes when it can. */

import { randomBytes } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import t from 'tap'
import { Pair } from '../support/pair.js'
import { sameBytes } from '../support/replica.js'
import { filesBelow } from '../support/sides.js'
import { SmallDisk, noSmallDisk } from '../support/small-disk.js'

const MB = 1024 * 1024

t.test('disk full: the line cut in the middle of a pull leaves no temp file behind', async t => {
  await using pair = await Pair.start()
  await pair.settle()
  const { relay } = pair.primary
  relay.onBytes = total => total > 4 * MB && relay.cut()
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'Broken off', owner: 'jo@example.com' })
  await writer.commit(repo, [{ op: 'put', path: '/film', content: randomBytes(20 * MB) }])
  await pair.until('failed', async () => (await pair.library(repo))?.failure?.code === 'PRIMARY_UNREACHABLE')

  t.strictSame(await filesBelow(`${pair.backup.dataDir}/tmpfiles`), [])
})

t.test(
  'disk full: in the middle of a first copy it is said, and with room again it ends by itself',
  { skip: noSmallDisk },
  async t => {
    await using pair = await Pair.lay()
    await using _small = await SmallDisk.mount(pair.backup.dataDir, 'size=48m')
    const filler = join(pair.backup.dataDir, 'filler')
    await writeFile(filler, Buffer.alloc(32 * MB))
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Too large', owner: 'jo@example.com' })
    for (let i = 0; i < 24; i++) {
      await writer.commit(repo, [{ op: 'put', path: `/${i}`, content: randomBytes(MB) }])
    }
    await pair.startPrimary()
    const backup = await pair.startBackup()

    await pair.until('tried three times', async () => backup.log.filter(l => l['code'] === 'STORE_FULL').length > 2)
    await pair.until('failed', async () => (await pair.library(repo))?.state === 'failed')
    t.match((await pair.library(repo))?.failure, { code: 'STORE_FULL', nextStep: /room/, retrying: true })
    t.notOk((await pair.heads('backup')).has(repo), 'no head before its closure')
    await rm(filler)

    await pair.settle()
    await sameBytes(t, pair)
    t.ok(backup.running)
  },
)

t.test('disk full: a checkpoint that the state cannot take fails the library, not the daemon', async t => {
  await using pair = await Pair.start()
  await pair.settle()
  await pair.backup.process?.stop()
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'Long history', owner: 'jo@example.com' })
  for (let i = 0; i < 11; i++) {
    await writer.commit(repo, [{ op: 'put', path: '/replaced', content: randomBytes(i < 10 ? 30 * MB : 1) }])
  }
  const state = new Database(join(pair.backup.dir, 'seaf-backup-state', 'state.db'))
  t.teardown(() => state.close())
  pair.primary.relay.onBytes = total => {
    if (total > 20 * MB && !state.inTransaction) state.exec('BEGIN IMMEDIATE') // whoever writes now is refused
  }

  const backup = await pair.startBackup()
  const refused = () => backup.log.some(l => l.msg === 'sync did not finish' && l['code'] === 'STORE_IO')
  await pair.until('refused', async () => !backup.running || refused())
  t.ok(backup.running, 'the daemon stays')
  pair.primary.relay.onBytes = () => {}
  state.exec('ROLLBACK')

  await pair.settle()
  t.equal((await pair.libraryAtRest(repo))?.state, 'synchronized')
})
