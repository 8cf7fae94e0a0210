/** A copy that is there already, however it came: read, verified and used; only what it lacks travels. */

import { randomBytes } from 'node:crypto'
import { statSync } from 'node:fs'
import { cp, mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import Database from 'better-sqlite3'
import t from 'tap'
import { FRAME } from '../../src/shared/wire/frames.js'
import { FakePrimary, rowsOf } from '../support/fake-primary.js'
import { REPO, block, commit, dir, file } from '../support/objects.js'
import { Pair } from '../support/pair.js'
import { RawObjects } from '../support/raw-objects.js'
import { sameBytes } from '../support/replica.js'
import { filesBelow, flipByte } from '../support/sides.js'
import { sqlOn } from '../support/sql.js'
import type { Test } from 'tap'
import type { RepoId } from '../../src/shared/ids.js'

const MB = 1024 * 1024

type Side = Pair['backup']

const storage = (side: Side): string => join(side.dataDir, 'storage')

const names = async (side: Side): Promise<string[]> =>
  (await filesBelow(storage(side))).map(path => relative(storage(side), path)).sort()

const sizeOf = async (side: Side): Promise<number> =>
  (await filesBelow(storage(side))).reduce((sum, path) => sum + statSync(path).size, 0)

/** Bytes of what the primary has and the backup has not, or not so. */
async function lacking(pair: Pair): Promise<number> {
  let bytes = 0
  for (const name of await names(pair.primary)) {
    const theirs = await readFile(join(storage(pair.primary), name))
    const ours = await readFile(join(storage(pair.backup), name)).catch(() => undefined)
    if (!ours?.equals(theirs)) bytes += theirs.byteLength
  }
  return bytes
}

const files = (folder: string, count: number, bytes: number) =>
  Array.from({ length: count }, (_, n) => ({
    op: 'put' as const,
    path: `/${folder}/${n}`,
    content: randomBytes(bytes),
  }))

/** A primary alone, with some libraries of small and large files that were changed now and then. */
async function primaryWith(libraries: number): Promise<{ pair: Pair; repos: RepoId[] }> {
  const pair = await Pair.lay()
  const writer = await pair.writer()
  await pair.startPrimary()
  const repos: RepoId[] = []
  for (let n = 0; n < libraries; n++) {
    const repo = await writer.createLibrary({ name: `Adopted ${n}`, owner: 'jo@example.com' })
    await writer.commit(repo, [...files('large', 2, 3 * MB), ...files('small', 300, 4_000)])
    for (let i = 0; i < 5; i++) await writer.commit(repo, files(`later ${i}`, 4, 10_000))
    repos.push(repo)
  }
  return { pair, repos }
}

const copyAll = (pair: Pair): Promise<void> =>
  cp(storage(pair.primary), storage(pair.backup), { recursive: true, preserveTimestamps: true })

async function isWhole(t: Test, pair: Pair): Promise<void> {
  await pair.settle()
  t.strictSame(await names(pair.backup), await names(pair.primary), 'every object of the primary is here, none else')
  await sameBytes(t, pair)
  t.strictSame(await pair.heads('backup'), await pair.heads('primary'))
}

/** What the primary sends while `work` is done is below one in a hundred of all that it has, beyond `owed`. */
async function sendsLittle(t: Test, pair: Pair, owed: number, work: () => Promise<unknown>): Promise<void> {
  const before = pair.primary.relay.bytesFromTarget
  await work()
  const sent = pair.primary.relay.bytesFromTarget - before
  const all = await sizeOf(pair.primary)
  t.ok(sent < owed + all / 100, `${sent} bytes were sent, of ${all}; ${owed} were lacking`)
}

t.test('adoption: a copied data directory without rows or state: only what it lacks travels', async t => {
  const { pair, repos } = await primaryWith(3)
  await using _pair = pair
  await copyAll(pair)
  const ours = new RawObjects(pair.backup.dataDir)
  const [first, second, third] = repos as [RepoId, RepoId, RepoId]
  for (const kind of ['fs', 'blocks'] as const)
    for (const id of ours.list(kind, first).slice(0, 3)) ours.remove(kind, first, id)
  const { commit_id: root } = ours.commit(first, ours.list('commits', first)[0] as string)
  ours.remove('commits', first, root)
  for (const kind of ['commits', 'fs', 'blocks'] as const) await flipByteOf(ours, kind, second)
  await truncate(ours.path('blocks', second, ours.list('blocks', second)[1] as string), 0)
  await (await pair.writer()).commit(third, files('new', 10, 20_000))

  const owed = await lacking(pair)
  await sendsLittle(t, pair, owed, async () => {
    await pair.startBackup()
    await isWhole(t, pair)
  })
  await sendsLittle(t, pair, 0, () => pair.sync(null))
})

/** Broken so that it shows: an fs object or a block by its hash, a commit by its form. */
async function flipByteOf(ours: RawObjects, kind: 'commits' | 'fs' | 'blocks', repo: RepoId): Promise<void> {
  const path = ours.path(kind, repo, ours.list(kind, repo)[0] as string)
  if (kind === 'commits') await truncate(path, 30)
  else await flipByte(path)
}

t.test('adoption: sync --full and a lost state read what is here, and fetch none of it', async t => {
  const { pair, repos } = await primaryWith(2)
  await using _pair = pair
  await pair.startBackup()
  await isWhole(t, pair)

  for (const repo of repos) await sendsLittle(t, pair, 0, () => pair.sync(repo, false, true))
  await isWhole(t, pair)

  await pair.backup.process?.stop()
  await rm(join(pair.backup.dir, 'seaf-backup-state'), { recursive: true })
  await sendsLittle(t, pair, 0, async () => {
    await pair.startBackup()
    await isWhole(t, pair)
  })
})

t.test('adoption: a longer history limit brings nothing that is here already', async t => {
  const { pair, repos } = await primaryWith(1)
  await using _pair = pair
  const [repo] = repos as [RepoId]
  await pair.startBackup()
  await isWhole(t, pair)
  const sql = sqlOn(pair.primary.database)
  await sql.run(`INSERT INTO RepoHistoryLimit (repo_id, days) VALUES ('${repo}', 0)`)
  await pair.sync(repo)
  await sql.run('DELETE FROM RepoHistoryLimit')
  await sendsLittle(t, pair, 0, () => pair.sync(repo))
  await isWhole(t, pair)
})

t.test('adoption: where hardly anything is found all is streamed, not asked for one by one', async t => {
  const pair = await Pair.lay()
  await using _pair = pair
  const writer = await pair.writer()
  await pair.startPrimary()
  const repo = await writer.createLibrary({ name: 'Commits alone', owner: 'jo@example.com' })
  for (let i = 0; i < 10; i++) await writer.commit(repo, files(`${i}`, 400, 100))
  await cp(join(storage(pair.primary), 'commits'), join(storage(pair.backup), 'commits'), { recursive: true })

  await pair.startBackup()
  await isWhole(t, pair)
  const asked = pair.primary.relay.bytesToTarget
  t.ok(asked < 4_000 * 21, `${asked} bytes of requests: less than a name for each file`)
})

t.test('adoption: an older agent that sends the trees all the same is understood', async t => {
  await using pair = await Pair.lay()
  await using fake = await FakePrimary.start()
  pair.primary.relay.target = fake.port
  const content = block('content')
  const note = file(content.ref.id)
  const root = dir({ note })
  const head = commit('of an older agent', { rootId: root.ref.id, ctime: 1 })
  fake.lies.set(REPO, {
    head: head.ref.id,
    async delta(answer) {
      await answer.library(rowsOf(REPO, head.ref.id))
      await answer.object(FRAME.commit, head.ref.id, head.bytes)
      await answer.frame(FRAME.trees)
      await answer.frame(FRAME.tree, Buffer.from(head.ref.id, 'hex'))
      for (const { ref, bytes } of [root, note]) await answer.object(FRAME.fs, ref.id, bytes)
      await answer.object(FRAME.block, content.ref.id, content.bytes)
      await answer.end()
    },
  })
  const path = new RawObjects(pair.backup.dataDir).path('commits', REPO, head.ref.id)
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, head.bytes)

  await pair.startBackup()
  await pair.until('adopted', async () => (await pair.library(REPO))?.state === 'synchronized')
  t.equal(fake.asked.get('/v1/objects'), undefined, 'nothing was asked for by name')
})

t.test('adoption: one that is killed goes on from the last commit that was whole', async t => {
  const pair = await Pair.lay()
  await using _pair = pair
  const writer = await pair.writer()
  await pair.startPrimary()
  const repo = await writer.createLibrary({ name: 'Films', owner: 'jo@example.com' })
  const first = await writer.commit(repo, files('old', 17, 8 * MB))
  await copyAll(pair)
  await writer.commit(repo, files('new', 1, 8 * MB))

  const { relay } = pair.primary
  relay.onBytes = total => {
    if (total > MB) relay.hold()
  }
  await pair.startBackup()
  await pair.until('noted', async () => vouched(pair, repo) === first)
  await pair.backup.process?.kill()
  relay.onBytes = () => {}
  relay.release()
  const ours = new RawObjects(pair.backup.dataDir)
  const theirs = new RawObjects(pair.primary.dataDir)
  const [film] =
    [...theirs.tree(repo, theirs.commit(repo, first).root_id)].find(([, { kind }]) => kind === 'blocks') ?? []
  await truncate(ours.path('blocks', repo, String(film)), 9)

  await pair.startBackup()
  await pair.settle()
  t.equal(ours.bytes('blocks', repo, String(film)).byteLength, 9, 'what was read is not read again')
  await pair.sync(repo, false, true)
  await isWhole(t, pair)
})

/** The commit whose closure the stopped or running backup remembers to hold. */
function vouched(pair: Pair, repo: RepoId): unknown {
  const db = new Database(join(pair.backup.dir, 'seaf-backup-state', 'state.db'), { readonly: true })
  try {
    return db.prepare('SELECT vouched FROM library WHERE repo = ?').pluck().get(repo)
  } finally {
    db.close()
  }
}
