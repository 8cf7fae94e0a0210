/** seaf-gc on either side while libraries are pulled: nothing that it took by right is called damage, and no head moves onto a hole. */

import { randomBytes } from 'node:crypto'
import t from 'tap'
import { lacking, statusOf } from '../support/damage.js'
import { Scene, noMariadb } from '../support/scene.js'
import { ServerActs } from '../support/server-acts.js'
import type { Test } from 'tap'
import type { CommitId, RepoId } from '../../src/shared/ids.js'
import type { LogLine } from '../../scripts/local/daemon-process.js'

const MB = 1024 * 1024
const DAMAGE = new Set<unknown>(['OBJECT_MISSING', 'OBJECT_CORRUPT'])

/** One file, written again and again. */
async function rewritten({ writer }: Scene, { times, bytes }: { times: number; bytes: number }) {
  const repo = await writer.createLibrary({ name: 'Rewritten', owner: 'jo@example.com' })
  let head = '' as CommitId
  for (let i = 0; i < times; i++)
    head = await writer.commit(repo, [{ op: 'put', path: '/data/disk.img', content: randomBytes(bytes) }])
  return { repo, head }
}

/** From here on nothing comes back from the primary once so many bytes have. Resolves when that is so. */
async function holdAfter({ pair }: Scene, bytes: number): Promise<void> {
  const { relay } = pair.primary
  const from = relay.bytesFromTarget
  let held = false
  relay.onBytes = total => {
    if (held || total - from < bytes) return
    held = true
    relay.hold()
  }
  await pair.until('held in the middle', async () => held)
}

const failures = ({ pair }: Scene): LogLine[] =>
  (pair.backup.process?.log ?? []).filter(line => line.msg === 'sync did not finish')

async function endsWhole(t: Test, scene: Scene, repo: RepoId, head: CommitId): Promise<void> {
  const { pair } = scene
  await pair.until('synchronized', async () => {
    const library = await statusOf(pair, repo)
    return library.state === 'synchronized' && library.head === head
  })
  t.match(await statusOf(pair, repo), { holes: 0, failure: null })
  t.strictSame(scene.lacking(repo, head, 0), [])
  t.equal(scene.pair.backup.process?.running, true)
}

for (const engine of ['sqlite', 'mysql'] as const) {
  const skip = noMariadb(engine)

  t.test(
    `gc (${engine}): history that seaf-gc takes on the primary while a delta is being read is never called damage`,
    { skip },
    async t => {
      await using scene = await Scene.lay(engine)
      const { pair, acts, writer } = scene
      const { repo, head } = await rewritten(scene, { times: 120, bytes: MB / 4 })
      const held = holdAfter(scene, 2 * MB)
      await pair.startPrimary()
      await pair.startBackup()
      await held
      await writer.setHistory(repo, { limitDays: 0 })
      t.ok((await acts.gc(repo, { fs: true })).blocks > 60, 'seaf-gc had something to take')
      pair.primary.relay.release()

      await endsWhole(t, scene, repo, head)
      t.ok(failures(scene).some(({ code }) => code === 'PRIMARY_CHANGED'))
      t.notOk(failures(scene).some(({ code }) => DAMAGE.has(code)))
    },
  )

  t.test(
    `gc (${engine}): blocks that seaf-gc takes after the delta was read, before they are asked for, are never called damage`,
    { skip },
    async t => {
      await using scene = await Scene.lay(engine)
      const { pair, acts, writer } = scene
      const { repo, head } = await rewritten(scene, { times: 16, bytes: 8 * MB })
      const held = holdAfter(scene, 4 * MB)
      await pair.startPrimary()
      await pair.startBackup()
      await held
      await writer.setHistory(repo, { limitDays: 0 })
      t.equal((await acts.gc(repo)).blocks, 15)
      pair.primary.relay.release()

      await endsWhole(t, scene, repo, head)
      t.ok(failures(scene).some(({ code }) => code === 'PRIMARY_CHANGED'))
      t.notOk(failures(scene).some(({ code }) => DAMAGE.has(code)))
    },
  )

  t.test(
    `gc (${engine}): the line cut in the middle, seaf-gc on the primary, the line back: complete by the new rules`,
    { skip },
    async t => {
      await using scene = await Scene.lay(engine)
      const { pair, acts, writer } = scene
      const { repo, head } = await rewritten(scene, { times: 120, bytes: MB / 4 })
      const held = holdAfter(scene, 2 * MB)
      await pair.startPrimary()
      await pair.startBackup()
      await held
      pair.primary.relay.cut()
      pair.primary.relay.release()
      await writer.setHistory(repo, { limitDays: 0 })
      await acts.gc(repo, { fs: true })
      pair.primary.relay.mend()
      await pair.until('line is back', async () => (await pair.sync(null)).at(-1)?.type === 'end')

      await endsWhole(t, scene, repo, head)
      t.notOk(failures(scene).some(({ code }) => DAMAGE.has(code)))
    },
  )

  t.test(
    `gc (${engine}): objects beyond our head that seaf-gc took on the backup while no daemon ran are pulled again`,
    { skip },
    async t => {
      await using scene = await Scene.start(engine)
      const { pair } = scene
      const { repo, latest, repair } = await storedBeyondHead(scene)
      await pair.backup.process?.stop()
      await collectOurs(t, scene, repo)
      await pair.startBackup()
      await pair.settle()
      t.match(await statusOf(pair, repo), { state: 'failed', failure: { damagedTotal: 1 } })
      repair()
      await pair.sync(null)

      await endsWhole(t, scene, repo, latest)
      t.strictSame(lacking(pair, repo, latest), [])
    },
  )
}

/** A failed pull: objects of a new head are here, our head is the old one. */
async function storedBeyondHead(scene: Scene) {
  const { pair, writer, acts } = scene
  const repo = await writer.createLibrary({ name: 'Beyond', owner: 'jo@example.com' })
  await writer.setHistory(repo, { limitDays: 0 })
  const put = (path: string) => ({ op: 'put', path, content: randomBytes(1_000) }) as const
  const first = await writer.commit(repo, [put('/first.bin'), put('/a/second.bin')])
  await pair.sync(null)
  await pair.until('first', async () => (await pair.heads('backup')).get(repo) === first)
  pair.cutOff()
  const latest = await writer.commit(repo, [put('/b/new.bin'), put('/b/lost.bin'), put('/c/d/deep.bin')])
  const lost = scene.blockOf(repo, latest, '/b/lost.bin')
  const repair = acts.objects.remove('blocks', repo, lost)
  pair.reconnect()
  await pair.sync(null)
  await pair.settle()
  return { repo, first, latest, repair }
}

/** The backup's own seaf-gc. */
async function collectOurs(t: Test, { pair }: Scene, repo: RepoId): Promise<void> {
  const acts = new ServerActs(pair.backup.dataDir, pair.backup.database)
  const { blocks } = await acts.gc(repo)
  t.ok(blocks > 0, 'seaf-gc took blocks here')
}

const mysqlOnly = { skip: noMariadb('mysql') }

t.test(
  'gc (mysql): objects beyond our head that seaf-gc took on the running backup are pulled again',
  mysqlOnly,
  async t => {
    await using scene = await Scene.start('mysql')
    const { pair } = scene
    const { repo, first, latest, repair } = await storedBeyondHead(scene)
    t.equal((await pair.heads('backup')).get(repo), first)
    await collectOurs(t, scene, repo)
    repair()
    await pair.sync(null)
    await endsWhole(t, scene, repo, latest)
  },
)

t.test(
  'gc (mysql): seaf-gc on the backup while the primary is being asked: what it took is not vouched for',
  mysqlOnly,
  async t => {
    await using scene = await Scene.start('mysql')
    const { pair } = scene
    const { repo, first, latest, repair } = await storedBeyondHead(scene)
    repair()
    const { relay } = pair.primary
    relay.hold()
    const asked = relay.bytesToTarget
    const syncing = pair.sync(repo)
    await pair.until('asked', async () => relay.bytesToTarget > asked)
    await collectOurs(t, scene, repo)
    t.equal((await pair.heads('backup')).get(repo), first)
    relay.release()
    await syncing
    await endsWhole(t, scene, repo, latest)
  },
)

t.test(
  'gc (mysql): seaf-gc on the backup between storing and head move: the head does not move onto a hole',
  mysqlOnly,
  async t => {
    await using scene = await Scene.start('mysql')
    const { pair, writer, ours } = scene
    const repo = await writer.createLibrary({ name: 'Many', owner: 'jo@example.com' })
    await writer.setHistory(repo, { limitDays: 0 })
    const first = await writer.commit(repo, [{ op: 'put', path: '/first.bin', content: randomBytes(1_000) }])
    await pair.sync(null)
    await pair.until('first', async () => (await pair.heads('backup')).get(repo) === first)
    const before = ours.objects.list('blocks', repo).length

    const held = holdAfter(scene, 5 * MB)
    const files = Array.from({ length: 3_000 }, (_, i) => ({
      op: 'put' as const,
      path: `/many/${i % 50}/${i}.bin`,
      content: randomBytes(2_000),
    }))
    const latest = await writer.commit(repo, files)
    await held
    await pair.until('stored, beyond our head', async () => ours.objects.list('blocks', repo).length > before + 500)
    t.equal((await pair.heads('backup')).get(repo), first)
    await collectOurs(t, scene, repo)
    pair.primary.relay.release()

    await endsWhole(t, scene, repo, latest)
    t.ok(
      // on a machine so busy that the line was given up meanwhile, the next attempt reads the new fence
      failures(scene).some(({ code }) => code === 'HEAD_CONFLICT' || code === 'PRIMARY_UNREACHABLE'),
      'the attempt that had stored objects did not move the head',
    )
  },
)

t.test(
  'gc (mysql): a pull that broke after seaf-gc ran on the backup goes on from its checkpoint, not from the start',
  mysqlOnly,
  async t => {
    await using scene = await Scene.start('mysql')
    const { pair, ours } = scene
    const { relay } = pair.primary
    const { repo, head: first } = await rewritten(scene, { times: 1, bytes: 1_000 })
    await pair.until('first', async () => (await pair.heads('backup')).get(repo) === first)
    await pair.until('synchronized', async () => (await statusOf(pair, repo)).state === 'synchronized')
    await ours.sql.run(`REPLACE INTO GCID (repo_id, gc_id) VALUES ('${repo}', 'ran once')`)
    relay.cut()
    let head = first
    for (let i = 0; i < 160; i++)
      head = await scene.writer.commit(repo, [{ op: 'put', path: '/data/disk.img', content: randomBytes(MB) }])
    const held = holdAfter(scene, 150 * MB)
    relay.mend()
    await held
    relay.cut()
    relay.release()
    const from = relay.bytesFromTarget
    relay.mend()

    await pair.until('followed', async () => (await pair.sync(null)) && (await pair.heads('backup')).get(repo) === head)
    t.ok(relay.bytesFromTarget - from < 60 * MB, `${Math.round((relay.bytesFromTarget - from) / MB)} MB came again`)
    await pair.until('synchronized', async () => (await statusOf(pair, repo)).state === 'synchronized')
    t.strictSame(scene.lacking(repo, head, -1), [])
  },
)
