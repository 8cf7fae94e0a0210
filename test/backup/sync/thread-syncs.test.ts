/** Pull threads on one disk: what one of them is told of it counts for all. */

import t from 'tap'
import { ThreadSyncs, syncFor } from '../../../src/backup/sync/thread-syncs.js'
import { BackupError } from '../../../src/shared/errors.js'
import { DiskObjectStore } from '../../../src/shared/store/disk-object-store.js'
import { ProcessSyncs } from '../../../src/shared/store/filesystem-sync.js'
import { OnDisk } from '../../shared/store/disk-support.js'
import { blocks, listed } from '../../shared/store/store-suite.js'
import type { SyncAnswer } from '../../../src/backup/sync/thread-syncs.js'

const signal = new AbortController().signal

/** Two threads on one disk that loses something before its first sync, and says so once. */
function twoThreads(disk: OnDisk) {
  let runs = 0
  const syncs = new ProcessSyncs(() =>
    runs++ === 0 ? Promise.reject(new BackupError('STORE_FULL', 'sync -f: No space left')) : Promise.resolve(),
  )
  const posts: Array<{ postMessage(answer: SyncAnswer): void }> = []
  const thread = () => {
    const own = new ThreadSyncs(message => void syncFor(post, message, { syncs, all: posts }))
    const post = { postMessage: (answer: SyncAnswer) => void setImmediate(() => own.told(structuredClone(answer))) }
    posts.push(post)
    return new DiskObjectStore(disk.store.dataDir, own)
  }
  return [thread(), thread()] as const
}

/** Of many objects, so that they are synced together. */
async function write(store: DiskObjectStore, name: string) {
  const batch = store.openBatch()
  for (const object of blocks(60, name)) await batch.put(object)
  return batch
}

t.test('thread syncs: a failure that one thread was told of fails what another had written before', async t => {
  using disk = new OnDisk()
  const [one, other] = twoThreads(disk)
  const batches = [await write(one, 'one'), await write(other, 'other')] as const

  await t.rejects(batches[0].commit(signal), { code: 'STORE_FULL' })
  await t.rejects(batches[1].commit(signal), { code: 'STORE_IO', message: /failed since they were written/ })
  t.strictSame(await listed(disk.store), [], 'neither has placed anything')
})

t.test('thread syncs: the same where both asked before the failure was known', async t => {
  using disk = new OnDisk()
  const [one, other] = twoThreads(disk)
  const batches = [await write(one, 'one'), await write(other, 'other')] as const

  const ends = await Promise.allSettled(batches.map(batch => batch.commit(signal)))
  t.match(ends, [{ status: 'rejected' }, { status: 'rejected' }])
  t.strictSame(await listed(disk.store), [])
})

t.test('thread syncs: what any thread writes when it has heard of the failure is taken as durable', async t => {
  using disk = new OnDisk()
  const [one, other] = twoThreads(disk)
  await t.rejects((await write(one, 'lost')).commit(signal), { code: 'STORE_FULL' })

  for (const store of [one, other]) await (await write(store, 'anew')).commit(signal)
  t.equal((await listed(disk.store)).length, 60)
})
