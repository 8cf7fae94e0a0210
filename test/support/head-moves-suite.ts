/** Heads that do not simply go forward: followed where nothing can be lost by it, else kept until a person decides. */

import Database from 'better-sqlite3'
import { join } from 'node:path'
import t from 'tap'
import { lacking, newLibrary, putPlan, spoil, statusOf, victimsOf } from './damage.js'
import { RawObjects } from './raw-objects.js'
import { Scene, noMariadb } from './scene.js'
import { quoted } from './sql.js'
import type { Test } from 'tap'
import type { ErrorCode } from '../../src/shared/errors.js'
import type { CommitId, RepoId } from '../../src/shared/ids.js'
import type { Pair } from './pair.js'
import type { Engine } from './sides.js'

const now = () => Math.floor(Date.now() / 1000)

interface LoggedHead {
  readonly head: string
  readonly displaced: string | null
  readonly relation: string
  readonly cause: string
}

function headLog(pair: Pair, repo: RepoId): LoggedHead[] {
  const db = new Database(join(pair.backup.dir, 'seaf-backup-state', 'state.db'), { readonly: true })
  try {
    const sql = 'SELECT head, displaced, relation, cause FROM head_log WHERE repo = ? ORDER BY id DESC'
    return db.prepare(sql).all(repo) as LoggedHead[]
  } finally {
    db.close()
  }
}

async function ourHead(pair: Pair, repo: RepoId): Promise<string | undefined> {
  return (await pair.heads('backup')).get(repo)
}

/** A library with a history of three commits, days apart, all here. */
async function threeCommits({ pair, writer }: Scene) {
  const repo = await writer.createLibrary({ name: 'Plans', owner: 'jo@example.com' })
  const put = (text: string, daysAgo: number) =>
    writer.commit(repo, [{ op: 'put', path: '/docs/plan.md', content: Buffer.from(text.padEnd(64, '.')) }], {
      ctime: now() - daysAgo * 86_400,
    })
  const [first, second, third] = [await put('first', 30), await put('second', 20), await put('third', 10)]
  await pair.sync(null)
  await pair.until('all here', async () => (await ourHead(pair, repo)) === third)
  return { repo, first, second, third }
}

/** The head is not followed by itself; a person who forces it is obeyed, nothing is lost, and new commits are followed. */
async function keptUntilForced(
  t: Test,
  { pair }: Scene,
  { repo, ours, theirs, code }: { repo: RepoId; ours: string; theirs: string; code: ErrorCode },
): Promise<void> {
  await pair.until('refused', async () => (await statusOf(pair, repo)).failure?.code === code)
  await pair.sync(null)
  const { state, head, failure } = await statusOf(pair, repo)
  t.match({ state, head }, { state: 'failed', head: ours })
  t.equal(failure?.code, code, 'at every sweep')
  t.equal(await ourHead(pair, repo), ours, 'our head is kept')
  t.match(failure?.nextStep, `sync --force ${repo}`, 'the next step is named')
  const held = await heldNow(pair, repo)

  await pair.sync(repo, true)

  await pair.until('synchronized', async () => (await statusOf(pair, repo)).state === 'synchronized')
  t.match(await statusOf(pair, repo), { head: theirs, holes: 0, failure: null })
  t.equal(await ourHead(pair, repo), theirs, 'forced, it follows')
  const relation = code === 'HEAD_REWOUND' ? 'rewound' : 'diverged'
  t.match(headLog(pair, repo)[0], { head: theirs, displaced: ours, relation, cause: 'forced' })
  const stillHeld = new Set(await heldNow(pair, repo))
  t.strictSame(
    held.filter(object => !stillHeld.has(object)),
    [],
    'all objects of the displaced head are still here',
  )

  const next = await putPlan(pair, repo, `after ${code}`)
  await pair.until('followed', async () => (await ourHead(pair, repo)) === next)
  t.strictSame(lacking(pair, repo, next), [])
  await pair.until('synchronized', async () => (await statusOf(pair, repo)).state === 'synchronized')
}

async function heldNow(pair: Pair, repo: RepoId): Promise<string[]> {
  const objects = new RawObjects(pair.backup.dataDir)
  return (['commits', 'fs', 'blocks'] as const).flatMap(kind => objects.list(kind, repo).map(id => `${kind} ${id}`))
}

/** On one kind of database. */
export function headMovesSuite(engine: Engine): void {
  const skip = noMariadb(engine)

  t.test(`head moves (${engine}): a head that went back is kept here until it is forced`, { skip }, async t => {
    await using scene = await Scene.start(engine)
    const { repo, first, third } = await threeCommits(scene)
    await scene.acts.moveBranch(repo, first)
    await keptUntilForced(t, scene, { repo, ours: third, theirs: first, code: 'HEAD_REWOUND' })
  })

  t.test(
    `head moves (${engine}): after seaf-fsck made a commit on an older one, ours is kept until it is forced`,
    { skip },
    async t => {
      await using scene = await Scene.start(engine)
      const { repo, second, third } = await threeCommits(scene)
      const repaired = await scene.writer.uploadCommit(repo, [], {
        parent: second as CommitId,
        description: 'Repaired by system.',
      })
      await scene.acts.moveBranch(repo, repaired)
      await keptUntilForced(t, scene, { repo, ours: third, theirs: repaired, code: 'HEAD_DIVERGED' })
    },
  )

  t.test(
    `head moves (${engine}): an older database restored and then committed on is kept out until it is forced`,
    { skip },
    async t => {
      await using scene = await Scene.start(engine)
      const { repo, first, third } = await threeCommits(scene)
      scene.pair.cutOff()
      await scene.acts.moveBranch(repo, first)
      const theirs = await putPlan(scene.pair, repo, 'written after the restore')
      scene.pair.reconnect()
      await scene.pair.sync(null)
      await keptUntilForced(t, scene, { repo, ours: third, theirs, code: 'HEAD_DIVERGED' })
    },
  )

  t.test(
    `head moves (${engine}): a library made anew under the same id is kept out until it is forced`,
    { skip },
    async t => {
      await using scene = await Scene.start(engine)
      const { pair, acts, writer } = scene
      const { repo, third } = await threeCommits(scene)
      await acts.trash(repo)
      await acts.purge(repo)
      acts.removeObjects(repo)
      await pair.until('gone', async () => {
        await pair.sync(null)
        return (await statusOf(pair, repo)).deletedOnPrimary
      })
      await writer.createLibrary({ repo, name: 'Anew', owner: 'mo@example.com' })
      const theirs = await putPlan(pair, repo, 'of another life')
      await keptUntilForced(t, scene, { repo, ours: third, theirs, code: 'HEAD_DIVERGED' })
    },
  )

  t.test(
    `head moves (${engine}): without a Branch row our head is kept; the row that seaf-fsck writes decides`,
    { skip },
    async t => {
      await using scene = await Scene.start(engine)
      const { pair, acts, writer } = scene
      const { repo, second, third } = await threeCommits(scene)
      await acts.sql.run(`DELETE FROM Branch WHERE repo_id = ${quoted(repo)}`)
      await pair.sync(null)
      t.match(await statusOf(pair, repo), { state: 'failed', head: third, failure: { code: 'HEAD_MISSING' } })
      t.match((await statusOf(pair, repo)).failure?.nextStep, /seaf-fsck --repair/)
      await pair.sync(repo, true)
      t.equal(await ourHead(pair, repo), third, 'nothing to adopt: our head stays, forced too')

      const insert = (head: string) =>
        acts.sql.run(
          `DELETE FROM Branch WHERE repo_id = ${quoted(repo)}`,
          `INSERT INTO Branch (name, repo_id, commit_id) VALUES ('master', ${quoted(repo)}, ${quoted(head)})`,
        )
      await insert(third)
      await pair.sync(null)
      t.match(await statusOf(pair, repo), { state: 'synchronized', head: third, failure: null }, 'the same row again')

      const parent = second as CommitId
      const repaired = await writer.uploadCommit(repo, [], { parent, description: 'Repaired by system.' })
      await insert(repaired)
      await pair.sync(null)
      await keptUntilForced(t, scene, { repo, ours: third, theirs: repaired, code: 'HEAD_DIVERGED' })
    },
  )

  t.test(`head moves (${engine}): A, B and A again within one second are followed`, { skip }, async t => {
    await using scene = await Scene.start(engine)
    const { pair, writer, acts } = scene
    const { repo } = await newLibrary(pair, 'Twice')
    const ctime = now()
    const put = (text: string) =>
      writer.commit(repo, [{ op: 'put', path: '/a.txt', content: Buffer.from(text) }], { ctime })
    const a = await put('a')
    const b = await put('b')
    await pair.until('at B', async () => (await ourHead(pair, repo)) === b)
    await acts.moveBranch(repo, a)
    await pair.until('at A again', async () => (await ourHead(pair, repo)) === a)
    await pair.until('synchronized', async () => (await statusOf(pair, repo)).state === 'synchronized')
    t.match(headLog(pair, repo)[0], { head: a, displaced: b, relation: 'revisit' })
    const next = await put('c')
    await pair.until('followed', async () => (await ourHead(pair, repo)) === next)
  })
}

t.test('head moves: a refused head that goes on to descend from ours again is followed, without force', async t => {
  await using scene = await Scene.start('sqlite')
  const { pair, acts } = scene
  const { repo, first, third } = await threeCommits(scene)
  await acts.moveBranch(repo, first)
  await pair.until('refused', async () => (await statusOf(pair, repo)).failure?.code === 'HEAD_REWOUND')
  await acts.moveBranch(repo, third)
  await pair.until('well again', async () => (await statusOf(pair, repo)).state === 'synchronized')
  t.equal(await ourHead(pair, repo), third)
  t.equal((await statusOf(pair, repo)).failure, null)
})

t.test('head moves: a refusal outlives a restart of the backup, and so does the head that it kept', async t => {
  await using scene = await Scene.start('sqlite')
  const { pair, acts } = scene
  const { repo, first, third } = await threeCommits(scene)
  await acts.moveBranch(repo, first)
  await pair.until('refused', async () => (await statusOf(pair, repo)).failure?.code === 'HEAD_REWOUND')
  await pair.backup.process?.kill()
  await pair.startBackup()
  await pair.settle()
  await keptUntilForced(t, scene, { repo, ours: third, theirs: first, code: 'HEAD_REWOUND' })
})

t.test('head moves: seaf-fsck --repair on the damaged head blanks the file, and its commit is followed', async t => {
  await using scene = await Scene.start('sqlite')
  const { pair, acts, writer } = scene
  const { repo, third } = await threeCommits(scene)
  pair.cutOff()
  const damaged = await putPlan(pair, repo, 'a plan that rots')
  const { block } = victimsOf(acts.objects, repo, damaged)
  spoil(pair, repo, block, 'bit-flipped')
  pair.reconnect()
  await pair.sync(null)
  t.match(await statusOf(pair, repo), { state: 'failed', head: third, failure: { code: 'OBJECT_CORRUPT' } })

  acts.objects.remove('blocks', repo, block.id) // as seaf-fsck does
  const repaired = await writer.commit(repo, [{ op: 'put', path: '/docs/plan.md', content: Buffer.alloc(0) }], {
    description: 'Repaired by system.\nDamaged files:\n/docs/plan.md\n',
  })
  await pair.until('followed', async () => (await ourHead(pair, repo)) === repaired)
  t.match(await statusOf(pair, repo), {
    state: 'failed',
    failure: { code: 'OBJECT_MISSING', damaged: [{ id: block.id, where: 'history' }] },
  })
  await pair.sync(repo, true)
  t.match(await statusOf(pair, repo), { state: 'synchronized', holes: 1 })
})

t.test(
  'head moves: a head commit that cannot be read is damage; the one that seaf-fsck makes instead is a divergence',
  async t => {
    await using scene = await Scene.start('sqlite')
    const { pair, acts, writer } = scene
    const { repo, second, third } = await threeCommits(scene)
    pair.cutOff()
    const lost = await putPlan(pair, repo, 'a commit that rots')
    spoil(pair, repo, victimsOf(acts.objects, repo, lost).commit, 'zero-length')
    pair.reconnect()
    await pair.sync(null)
    t.match(await statusOf(pair, repo), { state: 'failed', head: third, failure: { code: 'OBJECT_CORRUPT' } })

    await acts.moveBranch(repo, second) // the commit cannot be loaded, so the repair begins with another
    const repaired = await writer.uploadCommit(repo, [], {
      parent: second as CommitId,
      description: 'Repaired by system.',
    })
    await acts.moveBranch(repo, repaired)
    await pair.sync(null)
    await keptUntilForced(t, scene, { repo, ours: third, theirs: repaired, code: 'HEAD_DIVERGED' })
  },
)
