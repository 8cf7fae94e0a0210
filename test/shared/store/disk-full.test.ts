/** A disk that fills up or turns read-only under a batch. */

import { randomBytes } from 'node:crypto'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { DiskObjectStore } from '../../../src/shared/store/disk-object-store.js'
import { block } from '../../support/objects.js'
import { Tmpfs, failureOf, skip, storeOrDiscard, temps } from './disk-support.js'
import { blocks, countWhole, listed, store } from './store-suite.js'

const signal = () => new AbortController().signal
const MEBIBYTE = 1024 * 1024

for (const [what, objects] of [
  ['one large object', () => [block(randomBytes(3 * MEBIBYTE))]],
  ['few objects', () => Array.from({ length: 40 }, () => block(randomBytes(MEBIBYTE / 10)))],
  ['many objects', () => Array.from({ length: 700 }, () => block(randomBytes(4096)))],
] as const) {
  t.test(
    `disk store: when ${what} fill the disk the failure is STORE_FULL and nothing is half stored`,
    { skip },
    async t => {
      using disk = new Tmpfs('size=2m')
      const full = new DiskObjectStore(disk.path)
      full.prepare()
      const ballast = join(disk.path, 'ballast')
      const wanted = objects()

      writeFileSync(ballast, randomBytes(1.5 * MEBIBYTE))
      t.equal(await failureOf(() => storeOrDiscard(full, wanted)), 'STORE_FULL')
      t.strictSame(temps(full), [], 'what was written is given back')
      for (const { ref } of wanted) {
        const { state } = full.read(ref)
        if (state !== 'missing' && state !== 'whole') t.fail(`an object is ${state}`)
      }

      rmSync(ballast)
      disk.remount('size=8m')
      await storeOrDiscard(full, wanted)
      t.equal(await countWhole(full, wanted), wanted.length, 'with space again, it works')
    },
  )
}

t.test(
  'disk store: a disk without inodes is full, also when the directories are what is missing',
  { skip },
  async t => {
    using disk = new Tmpfs('size=8m,nr_inodes=40')
    const full = new DiskObjectStore(disk.path)
    full.prepare()
    for (const count of [20, 60]) {
      t.equal(await failureOf(() => storeOrDiscard(full, blocks(count))), 'STORE_FULL', `${count} objects`)
      t.strictSame(temps(full), [])
    }
  },
)

t.test(
  'disk store: a disk that is read-only is STORE_READ_ONLY, and what is there is still read',
  { skip },
  async t => {
    using disk = new Tmpfs('size=2m')
    const frozen = new DiskObjectStore(disk.path)
    frozen.prepare()
    const before = block('before')
    await store(frozen, before)

    disk.remount('ro')
    t.equal(await failureOf(() => storeOrDiscard(frozen, [block('after')])), 'STORE_READ_ONLY')
    t.equal(await countWhole(frozen, [before]), 1)
    disk.remount('rw')
    await storeOrDiscard(frozen, [block('after')])
    t.equal(await countWhole(frozen, [block('after')]), 1)
  },
)

for (const count of [60, 2_000]) {
  t.test(`disk store: a disk that turns read-only under ${count} objects is STORE_READ_ONLY`, { skip }, async t => {
    using disk = new Tmpfs('size=32m')
    const frozen = new DiskObjectStore(disk.path)
    frozen.prepare()
    const objects = blocks(count)
    // Node says ENOENT of a recursive mkdir on a read-only disk: here the renames are to fail
    for (const object of objects) mkdirSync(dirname(frozen.path(object.ref)), { recursive: true })
    const batch = frozen.openBatch()
    for (const object of objects) void batch.put(object) // no flush has got further than starting `sync`
    disk.remount('ro')
    t.equal(await failureOf(() => batch.commit(signal())), 'STORE_READ_ONLY')
    await batch.discard() // what cannot be removed now is dropped at the next start
    t.strictSame(await listed(frozen), [])

    disk.remount('rw')
    frozen.prepare()
    t.strictSame(temps(frozen), [])
    await storeOrDiscard(frozen, objects)
    t.equal(await countWhole(frozen, objects), count)
  })
}
