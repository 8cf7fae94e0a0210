/** Objects in files: the promises of every store, and what a disk can do to them. */

import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { processSyncs } from '../../../src/shared/store/filesystem-sync.js'
import { REPO, block, idOf } from '../../support/objects.js'
import { SmallDisk, noSmallDisk } from '../../support/small-disk.js'
import { OnDisk, failureOf, storeOrDiscard, temps } from './disk-support.js'
import { blocks, countWhole, listed, store, storeSuite } from './store-suite.js'
import type { DiskObjectStore } from '../../../src/shared/store/disk-object-store.js'
import type { VerifiedObject } from '../../../src/shared/store/verify.js'

const signal = () => new AbortController().signal
const MEBIBYTE = 1024 * 1024

function place(store: DiskObjectStore, object: VerifiedObject, bytes: Buffer): string {
  const path = store.path(object.ref)
  mkdirSync(dirname(path), { recursive: true })
  rmSync(path, { force: true })
  writeFileSync(path, bytes)
  return path
}

storeSuite('disk store', async () => {
  const disk = new OnDisk()
  return {
    store: disk.store,
    damage: (ref, bytes) =>
      bytes ? writeFileSync(disk.store.path(ref), bytes) : rmSync(disk.store.path(ref), { force: true }),
    restart: () => disk.restarted(),
    [Symbol.asyncDispose]: async () => disk[Symbol.dispose](),
  }
})

for (const count of [1, 48, 49, 1_999]) {
  t.test(`disk store: of ${count} objects none has its name before commit`, async t => {
    using disk = new OnDisk()
    const batch = disk.store.openBatch()
    const objects = blocks(count)
    for (const object of objects) await batch.put(object)
    t.strictSame(await listed(disk.store), [])
    t.equal(temps(disk.store).length, count)
    await batch.commit(signal())
    t.equal((await listed(disk.store)).length, count)
    t.strictSame(temps(disk.store), [], 'no temp file stays')
  })
}

t.test('disk store: 64 MiB are stored on the way, so that memory and temp files stay bounded', async t => {
  using disk = new OnDisk()
  const batch = disk.store.openBatch()
  const objects = Array.from({ length: 17 }, () => block(randomBytes(4 * MEBIBYTE)))
  for (const object of objects) await batch.put(object)
  const until = performance.now() + 20_000
  while (temps(disk.store).length > 1 && performance.now() < until) await setTimeout(10)
  t.equal(temps(disk.store).length, 1, 'the first sixteen got their names before commit')
  await batch.commit(signal())
  t.equal(await countWhole(disk.store, objects), 17)
  t.strictSame(temps(disk.store), [])
})

t.test(
  'disk store: of a block in parts that was another nothing is left at once, not only when its batch ends',
  async t => {
    using disk = new OnDisk()
    const batch = disk.store.openBatch()
    const [wanted, other] = [block('wanted'), block('other')]
    for (let n = 0; n < 3; n++) {
      const coming = batch.begin(wanted.ref)
      coming.write(other.bytes)
      t.throws(() => coming.end(), { name: 'NotWhatItsNameSays' })
      t.strictSame(temps(disk.store), [])
    }
    await batch.put(other)
    await batch.commit(signal())
    t.strictSame(await listed(disk.store), [other.ref.id])
  },
)

t.test('disk store: what was written before any sync failed is not called durable by a later one', async t => {
  using disk = new OnDisk()
  const batch = disk.store.openBatch()
  for (const object of blocks(60)) await batch.put(object)
  await t.rejects(processSyncs.sync(join(disk.store.storage, 'no such directory')), { code: 'STORE_IO' })
  await t.rejects(batch.commit(signal()), { code: 'STORE_IO', message: /failed since they were written/ })
  t.strictSame(await listed(disk.store), [])
  await store(disk.store, ...blocks(60))
  t.equal(await countWhole(disk.store, blocks(60)), 60, 'the next attempt writes all anew')
})

t.test('disk store: never more than two full batches of temp files wait', async t => {
  using disk = new OnDisk()
  const batch = disk.store.openBatch()
  let most = 0
  for (const [n, object] of blocks(9_000).entries()) {
    await batch.put(object)
    if (n % 500 === 0) most = Math.max(most, temps(disk.store).length)
  }
  await batch.discard()
  t.ok(most <= 4_000, `${most} temp files`)
})

t.test('disk store: after discard no temp file is left, and what got its name before is whole', async t => {
  using disk = new OnDisk()
  for (const count of [1, 49, 2_001, 4_100]) {
    const objects = blocks(count, `discarded ${count}`)
    const batch = disk.store.openBatch()
    for (const object of objects) await batch.put(object)
    await batch.discard()
    t.strictSame(temps(disk.store), [], `${count} objects`)
  }
  for (const id of await listed(disk.store)) {
    const read = disk.store.read({ kind: 'blocks', storeId: REPO, id })
    if (read.state !== 'whole') t.fail('a name with something else', { id, read })
  }
})

t.test('disk store: an object lies where a Seafile server looks for it, readable to its owner alone', async t => {
  using disk = new OnDisk()
  const few = block('one of few')
  const many = blocks(100)
  await store(disk.store, few)
  await store(disk.store, ...many)
  const { id } = few.ref
  const path = join(disk.store.dataDir, 'storage', 'blocks', REPO, id.slice(0, 2), id.slice(2))
  t.strictSame(readFileSync(path), few.bytes)
  for (const object of [few, ...many]) {
    if ((statSync(disk.store.path(object.ref)).mode & 0o7777) !== 0o600) t.fail('another mode', { object })
  }
})

const OTHER_REPO = '0b1ec700-0000-4000-8000-000000000002'

t.test('disk store: two pulls that share one block leave no temp file', async t => {
  using disk = new OnDisk()
  const theirs = block('wanted twice', OTHER_REPO)
  await store(disk.store, theirs)
  const ours = { ...theirs.ref, storeId: REPO }
  const batches = [disk.store.openBatch(), disk.store.openBatch()]
  for (const batch of batches) await batch.share(ours, theirs.ref)
  for (const batch of batches) await batch.commit(signal())
  t.equal(await countWhole(disk.store, [theirs, block('wanted twice')]), 2)
  t.strictSame(temps(disk.store), [])
})

t.test('disk store: a block behind a symbolic link is copied, not the link', async t => {
  using disk = new OnDisk()
  const theirs = block('elsewhere', OTHER_REPO)
  const path = disk.store.path(theirs.ref)
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(join(disk.store.dataDir, 'elsewhere'), theirs.bytes)
  symlinkSync(join(disk.store.dataDir, 'elsewhere'), path)
  const batch = disk.store.openBatch()
  await batch.share({ ...theirs.ref, storeId: REPO }, theirs.ref)
  await batch.commit(signal())
  t.ok(lstatSync(disk.store.path(block('elsewhere').ref)).isFile())
  t.equal(await countWhole(disk.store, [block('elsewhere')]), 1)
  t.strictSame(temps(disk.store), [])
})

t.test('disk store: a block of another filesystem is copied', { skip: noSmallDisk }, async t => {
  using disk = new OnDisk()
  const dir = join(disk.store.storage, 'blocks', OTHER_REPO)
  mkdirSync(dir, { recursive: true })
  await using _mounted = await SmallDisk.mount(dir, 'size=1m')
  const theirs = block('far away', OTHER_REPO)
  const path = disk.store.path(theirs.ref)
  mkdirSync(dirname(path))
  writeFileSync(path, theirs.bytes)
  const batch = disk.store.openBatch()
  t.ok(await batch.share({ ...theirs.ref, storeId: REPO }, theirs.ref))
  await batch.commit(signal())
  t.equal(await countWhole(disk.store, [block('far away')]), 1)
  t.strictSame(temps(disk.store), [])
})

t.test('disk store: an object that is there and whole is not written again', async t => {
  using disk = new OnDisk()
  const object = block('whole')
  await store(disk.store, object)
  const { ino, mtimeNs } = statSync(disk.store.path(object.ref), { bigint: true })
  await store(disk.store, object, ...blocks(60))
  t.match(statSync(disk.store.path(object.ref), { bigint: true }), { ino, mtimeNs })
})

t.test('disk store: a damaged object keeps its bytes until the whole one is durable', async t => {
  using disk = new OnDisk()
  const object = block('damaged')
  const path = place(disk.store, object, Buffer.from('damage'))
  const batch = disk.store.openBatch()
  await batch.put(object)
  t.equal(readFileSync(path, 'utf8'), 'damage')
  await batch.commit(signal())
  t.strictSame(readFileSync(path), object.bytes)
})

t.test('disk store: temp files of a killed process are dropped at the next start, and are never objects', async t => {
  using disk = new OnDisk()
  const object = block('torn')
  await disk.store.openBatch().put(object) // killed here
  writeFileSync(join(disk.store.tempDir, object.ref.id), object.bytes.subarray(0, 2))
  t.equal(temps(disk.store).length, 2)
  const next = disk.restarted()
  t.strictSame(temps(next), [])
  t.strictSame(next.read(object.ref), { state: 'missing' })
})

t.test('disk store: files beside the objects, as Seafile leaves them, are not listed', async t => {
  using disk = new OnDisk()
  const object = block('the only one')
  await store(disk.store, object)
  const path = disk.store.path(object.ref)
  for (const name of [`${path}.aB3dE9`, `${path}0`, join(dirname(path), 'README'), join(dirname(path), '..', 'x')]) {
    writeFileSync(name, 'not an object')
  }
  mkdirSync(join(dirname(path), '..', 'zz'))
  t.strictSame(await listed(disk.store), [object.ref.id])
})

t.test('disk store: a directory in the place of an object is a coded failure, and gives no bytes', async t => {
  using disk = new OnDisk()
  for (const count of [1, 60]) {
    const objects = blocks(count, `beside a directory ${count}`)
    const [blocked] = objects as [VerifiedObject]
    mkdirSync(join(disk.store.path(blocked.ref), 'below'), { recursive: true })
    t.not(disk.store.read(blocked.ref).state, 'whole')
    t.equal(await failureOf(() => storeOrDiscard(disk.store, objects)), 'STORE_IO')
    t.strictSame(temps(disk.store), [])
    t.ok(existsSync(join(disk.store.path(blocked.ref), 'below')), 'what is not ours is left alone')

    rmSync(disk.store.path(blocked.ref), { recursive: true })
    await storeOrDiscard(disk.store, objects)
    t.equal(await countWhole(disk.store, objects), count)
  }
})

t.test('disk store: a file in the place of a directory of objects is a coded failure', async t => {
  using disk = new OnDisk()
  const object = block('below a file')
  mkdirSync(join(disk.store.storage, 'blocks', REPO))
  writeFileSync(dirname(disk.store.path(object.ref)), 'in the way')
  t.strictSame(disk.store.read(object.ref), { state: 'missing' })
  t.equal(await failureOf(() => storeOrDiscard(disk.store, [object])), 'STORE_IO')
  t.strictSame(temps(disk.store), [])
})

t.test('disk store: a symlink in the place of an object is replaced, never written through', async t => {
  using disk = new OnDisk()
  const target = join(disk.store.dataDir, 'elsewhere')
  writeFileSync(target, 'nobody touches this')
  for (const [name, to] of Object.entries({ garbage: target, nothing: join(target, 'x'), itself: '' })) {
    const object = block(`behind a link to ${name}`)
    const path = disk.store.path(object.ref)
    mkdirSync(dirname(path), { recursive: true })
    symlinkSync(to || path, path)
    t.not(disk.store.read(object.ref).state, 'whole', name)
    await store(disk.store, object)
    t.ok(lstatSync(path).isFile(), name)
    t.equal(await countWhole(disk.store, [object]), 1, name)
  }
  t.equal(readFileSync(target, 'utf8'), 'nobody touches this')
})

t.test('disk store: a raw read of more than it may hold gives the size alone', async t => {
  using disk = new OnDisk()
  const object = block('x'.repeat(100))
  await store(disk.store, object)
  t.strictSame(disk.store.readRaw(object.ref, 99), { state: 'large', size: 100 })
  t.match(disk.store.readRaw(object.ref, 100), { state: 'read', bytes: object.bytes })
  t.strictSame(disk.store.readRaw({ ...object.ref, id: idOf('nothing') }, 99), { state: 'missing' })
})

t.test(
  'disk store: an object that may not be read is unreadable, not missing',
  { skip: process.getuid?.() === 0 ? 'root may read everything' : false },
  async t => {
    using disk = new OnDisk()
    const object = block('locked')
    await store(disk.store, object)
    chmodSync(disk.store.path(object.ref), 0)
    t.strictSame(disk.store.read(object.ref), { state: 'unreadable', why: 'EACCES' })
  },
)
