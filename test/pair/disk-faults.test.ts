/** Disks that break in other ways than by being full: said with the reason, nothing taken as done, and on by itself. */

import { randomBytes } from 'node:crypto'
import { statSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import t from 'tap'
import { cannotFailCalls, failCalls } from '../support/failing-calls.js'
import { mariadbInstalled } from '../support/mariadb.js'
import { Pair } from '../support/pair.js'
import { sameBytes } from '../support/replica.js'
import { filesBelow, testDatabase } from '../support/sides.js'
import { SmallDisk, noSmallDisk } from '../support/small-disk.js'
import { sqlOn } from '../support/sql.js'
import type { RepoId } from '../../src/shared/ids.js'

const MB = 1024 * 1024
const noFaults = cannotFailCalls()

const code = async (pair: Pair, repo: RepoId): Promise<string | undefined> => (await pair.library(repo))?.failure?.code

async function put(pair: Pair, repo: RepoId, files: number, bytes = 100): Promise<void> {
  const writer = await pair.writer()
  const changes = Array.from({ length: files }, (_, n) => ({
    op: 'put' as const,
    path: `/${n}`,
    content: randomBytes(bytes),
  }))
  await writer.commit(repo, changes)
}

t.test(
  'disk faults: without inodes a library fails as on a full disk, and ends by itself',
  { skip: noSmallDisk },
  async t => {
    await using pair = await Pair.lay()
    await using disk = await SmallDisk.mount(pair.backup.dataDir, 'size=64m,nr_inodes=150')
    const writer = await pair.writer()
    const small = await writer.createLibrary({ name: 'Small', owner: 'jo@example.com' })
    const many = await writer.createLibrary({ name: 'Many files', owner: 'jo@example.com' })
    await put(pair, many, 300)
    await pair.startPrimary()
    const backup = await pair.startBackup()

    await pair.until('failed', async () => (await code(pair, many)) === 'STORE_FULL')
    t.match((await pair.library(many))?.failure, { nextStep: /room/, retrying: true })
    t.notOk((await pair.heads('backup')).has(many), 'no head before its closure')
    await pair.until('the other is copied', async () => (await pair.library(small))?.state === 'synchronized')

    await disk.remount('nr_inodes=20000')
    await pair.settle()
    await sameBytes(t, pair)
    t.strictSame(await filesBelow(join(pair.backup.dataDir, 'tmpfiles')), [])
    t.ok(backup.running)
  },
)

t.test(
  'disk faults: a disk that turns read-only fails what is written, and is used again when it can be',
  { skip: noSmallDisk || (!mariadbInstalled() && 'mariadbd is not installed') },
  async t => {
    await using ours = await testDatabase('mysql') // its rows could move: only the order of things holds them back
    await using pair = await Pair.lay({ backup: ours.database ? { database: ours.database } : {} })
    await using disk = await SmallDisk.mount(pair.backup.dataDir, 'size=64m')
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Frozen', owner: 'jo@example.com' })
    await pair.startPrimary()
    const backup = await pair.startBackup()
    await pair.settle()
    const before = (await pair.heads('backup')).get(repo)

    await disk.remount('ro')
    await put(pair, repo, 5)
    await pair.until('failed', async () => (await code(pair, repo)) === 'STORE_READ_ONLY')
    t.match((await pair.library(repo))?.failure, { nextStep: /./, retrying: true })
    t.equal((await pair.heads('backup')).get(repo), before, 'the head stays where it is')

    await disk.remount('rw')
    await pair.settle()
    await sameBytes(t, pair)
    t.ok(backup.running)
  },
)

t.test(
  'disk faults: the state on a full disk fails the library, and goes on with room',
  { skip: noSmallDisk },
  async t => {
    await using pair = await Pair.lay()
    const stateDir = join(pair.backup.dir, 'seaf-backup-state')
    await using _disk = await SmallDisk.mount(stateDir, 'size=6m,mode=700')
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Remembered', owner: 'jo@example.com' })
    await pair.startPrimary()
    const backup = await pair.startBackup()
    await pair.settle()
    const filler = join(stateDir, 'filler')
    await writeFile(filler, Buffer.alloc(6 * MB)).catch(() => {}) // as much as fits

    const commitUntilFull = async () => {
      await put(pair, repo, 1)
      return (await code(pair, repo)) === 'STORE_FULL'
    }
    await pair.until('failed', commitUntilFull)
    await rm(filler)
    await pair.settle()
    await sameBytes(t, pair)
    t.ok(backup.running)
  },
)

t.test('disk faults: rows on a full disk fail the library, and move with room', { skip: noSmallDisk }, async t => {
  await using pair = await Pair.lay()
  await using _disk = await SmallDisk.mount(pair.backup.dataDir, 'size=16m')
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'Changes hands', owner: 'jo@example.com' })
  await pair.startPrimary()
  const backup = await pair.startBackup()
  await pair.settle()
  const filler = join(pair.backup.dataDir, 'filler')
  await writeFile(filler, Buffer.alloc(16 * MB)).catch(() => {})

  let owners = 0
  const changeUntilFull = async () => {
    await sqlOn(pair.primary.database).run(`UPDATE RepoOwner SET owner_id = 'owner${owners++}@example.com'`)
    await pair.sync(null)
    return (await code(pair, repo)) === 'STORE_FULL'
  }
  await pair.until('failed', changeUntilFull)
  await rm(filler)
  await pair.sync(repo)
  const owner = async () => (await sqlOn(pair.backup.database).select('SELECT owner_id FROM RepoOwner'))[0]?.[0]
  await pair.until('moved', async () => (await owner()) === `owner${owners - 1}@example.com`)
  t.equal((await pair.libraryAtRest(repo))?.state, 'synchronized')
  t.ok(backup.running)
})

for (const { files, call, title } of [
  { files: 3, call: 'fsync', title: 'few objects' },
  { files: 200, call: 'syncfs', title: 'many objects' },
]) {
  t.test(
    `disk faults: ${call} that fails is not asked again: what it was for is written anew (${title})`,
    { skip: noFaults },
    async t => {
      await using pair = await Pair.start()
      const writer = await pair.writer()
      const repo = await writer.createLibrary({ name: 'On a bad disk', owner: 'jo@example.com' })
      await pair.settle()
      const backup = pair.backup.process
      const before = (await pair.heads('backup')).get(repo)

      // from before the first attempt: the second may have begun when the failure of the first is seen
      const sentBefore = pair.primary.relay.bytesFromTarget
      {
        await using _broken = await failCalls(backup?.pid ?? -1, { calls: [call], error: 'EIO' })
        await put(pair, repo, files, 20_000)
        await pair.until('failed', async () => (await code(pair, repo)) === 'STORE_IO')
        t.match((await pair.library(repo))?.failure, {
          message: /EIO|[Ii]nput.output error/,
          nextStep: /./,
          retrying: true,
        })
        t.equal((await pair.heads('backup')).get(repo), before, 'the head stays where it is')
      }
      await pair.settle()
      await sameBytes(t, pair)
      const sent = pair.primary.relay.bytesFromTarget - sentBefore
      t.ok(sent >= 2 * files * 20_000, `all of it came again: ${sent} bytes in all`)
      t.strictSame(await filesBelow(join(pair.backup.dataDir, 'tmpfiles')), [])
      t.ok(backup?.running)
    },
  )
}

t.test(
  'disk faults: an object that our own disk cannot read (EIO) is had again from the primary',
  { skip: noFaults },
  async t => {
    await using pair = await Pair.start()
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Bad sector', owner: 'jo@example.com' })
    await put(pair, repo, 3)
    await pair.settle()
    const [block = ''] = await filesBelow(join(pair.backup.dataDir, 'storage', 'blocks', repo))
    const before = statSync(block).ino

    {
      const fault = { calls: ['openat'], error: 'EIO', path: block }
      await using _broken = await failCalls(pair.backup.process?.pid ?? -1, fault)
      const end = (await pair.sync(repo, false, true)).at(-1)
      t.match(end, { type: 'end' })
    }
    t.not(statSync(block).ino, before, 'another file has the name')
    t.equal((await pair.libraryAtRest(repo))?.state, 'synchronized')
    await sameBytes(t, pair)
  },
)

t.test(
  'disk faults: an object that the primary cannot read (EIO) is named, and had when it can',
  { skip: noFaults },
  async t => {
    await using pair = await Pair.start()
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Bad sector over there', owner: 'jo@example.com' })
    await pair.settle()
    await put(pair, repo, 3)
    await pair.settle()
    const [block = ''] = await filesBelow(join(pair.primary.dataDir, 'storage', 'blocks', repo))
    const id = basename(dirname(block)) + basename(block)
    await rm(join(pair.backup.dataDir, 'storage', 'blocks', repo, basename(dirname(block)), basename(block)))

    {
      const fault = { calls: ['openat', 'read', 'pread64'], error: 'EIO', path: block }
      await using _broken = await failCalls(pair.primary.process?.pid ?? -1, fault)
      await pair.sync(repo, false, true)
      t.match((await pair.library(repo))?.failure?.damaged, [{ id, problem: 'unreadable' }])
    }
    await pair.sync(repo)
    t.equal((await pair.libraryAtRest(repo))?.state, 'synchronized')
    await sameBytes(t, pair)
  },
)
