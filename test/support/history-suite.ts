/** History rules: what is absent by right is never called damage, what is required and absent always is. */

import { rmSync } from 'node:fs'
import t from 'tap'
import { fixturesMissing, referenceCheck } from './fixtures.js'
import { figures } from './replica.js'
import { daysAgo, noMariadb, OWNER, Scene } from './scene.js'
import type { Test } from 'tap'
import type { CommitId, RepoId } from '../../src/shared/ids.js'
import type { Engine } from './sides.js'

/** Ages of the commits of `aged` in days, oldest first. */
const AGES = [400, 300, 40, 20, 1] as const
const DIARY = '/a/diary.md'

/** A library whose diary was written anew at each age. */
async function aged(scene: Scene, name = 'Aged', ages: readonly number[] = AGES) {
  const repo = await scene.at(daysAgo(401)).createLibrary({ name, owner: OWNER })
  const commits: string[] = []
  for (const age of ages) commits.push(await scene.put(repo, DIARY, `${name}: ${age} days`, daysAgo(age)))
  return { repo, commits, head: commits.at(-1) ?? '' }
}

interface Limit {
  readonly name: string
  readonly row: { readonly limitDays?: number; readonly validSince?: number }
  /** What the rule keeps of AGES and the first commit, newest first. */
  readonly keeps: number
}

const LIMITS: readonly Limit[] = [
  { name: 'unlimited', row: { limitDays: -1 }, keeps: 6 },
  { name: '0 days', row: { limitDays: 0 }, keeps: 1 },
  { name: '30 days', row: { limitDays: 30 }, keeps: 3 },
  { name: 'valid since 350 days', row: { limitDays: -1, validSince: daysAgo(350) }, keeps: 5 },
  { name: '30 days, valid since 10', row: { limitDays: 30, validSince: daysAgo(10) }, keeps: 2 },
  { name: 'the default of 200 days', row: {}, keeps: 4 },
]

/** A library for each limit; SeafileConf has the default. */
async function limited(scene: Scene) {
  await scene.keepDaysByDefault(200)
  const libraries: { limit: Limit; repo: RepoId; head: string; commits: string[] }[] = []
  for (const limit of LIMITS) {
    const library = await aged(scene, limit.name)
    await scene.writer.setHistory(library.repo, limit.row)
    libraries.push({ ...library, limit })
  }
  return libraries
}

/** Nothing owed is lacking, nothing is called damage, and an independent reader finds what it finds on the primary. */
async function wholeByRule(t: Test, scene: Scene, libraries: Awaited<ReturnType<typeof limited>>): Promise<void> {
  for (const { limit, repo, head } of libraries) {
    const truncateTime = await scene.acts.truncateTime(repo)
    t.equal(scene.acts.objects.keptCommits(repo, head, truncateTime).length, limit.keeps, `${limit.name}: as planned`)
    t.strictSame(scene.lacking(repo, head, truncateTime), [], `${limit.name}: all that is owed is here`)
    const { state, failure } = await scene.library(repo)
    t.strictSame(
      { state, failure },
      { state: 'synchronized', failure: null },
      `${limit.name}: nothing is called damage`,
    )
  }
  if (fixturesMissing()) return
  await scene.keepDaysByDefault(200, scene.ours.sql) // a backup's own Seafile is configured by its administrator
  const [theirs, ours] = await Promise.all(
    [scene.pair.primary, scene.pair.backup].map(side => referenceCheck(side.dataDir, side.database)),
  )
  const byId = new Map(ours?.libraries.map(library => [library.id, library]))
  for (const library of theirs?.libraries ?? [])
    t.strictSame(figures(byId.get(library.id)), figures(library), 'an independent reader finds the same')
}

/** On one kind of database. */
export function historySuite(engine: Engine): void {
  const skip = noMariadb(engine)
  for (const fs of [false, true]) {
    const gc = fs ? 'seaf-gc -R' : 'seaf-gc'

    t.test(
      `history (${engine}): under every limit, what ${gc} took before the first copy is absent by right`,
      { skip },
      async t => {
        await using scene = await Scene.lay(engine)
        const libraries = await limited(scene)
        let taken = 0
        for (const { repo } of libraries) taken += (await scene.acts.gc(repo, { fs })).blocks
        t.equal(taken, 4 + 2 + 0 + 3 + 1, 'blocks beyond the limits')

        await scene.run()

        await wholeByRule(t, scene, libraries)
        for (const { repo, commits } of libraries)
          for (const id of commits) t.ok(scene.ours.objects.has('commits', repo, id), 'every commit object is here')
      },
    )

    t.test(
      `history (${engine}): under every limit, what ${gc} takes after the first copy stays here and is not missed`,
      { skip },
      async t => {
        await using scene = await Scene.lay(engine)
        const libraries = await limited(scene)
        for (const { repo } of libraries) await scene.writer.setHistory(repo, { limitDays: -1, validSince: null })
        await scene.run()
        const before = libraries.map(({ repo }) => scene.held(repo))

        for (const { repo, limit } of libraries) {
          await scene.writer.setHistory(repo, { limitDays: limit.row.limitDays ?? null, ...limit.row })
          await scene.acts.gc(repo, { fs })
        }
        await scene.settle()
        await wholeByRule(t, scene, libraries)
        t.strictSame(
          libraries.map(({ repo }) => scene.held(repo)),
          before,
          'a backup keeps what it has',
        )

        const next: typeof libraries = []
        for (const library of libraries) {
          const head = await scene.put(library.repo, '/b/new.md', 'new', daysAgo(0))
          next.push({ ...library, head, limit: { ...library.limit, keeps: 0 } })
        }
        await scene.settle()
        for (const { repo, head, limit } of next) {
          t.equal((await scene.library(repo)).state, 'synchronized', `${limit.name}: followed after seaf-gc`)
          t.strictSame(scene.lacking(repo, head, await scene.acts.truncateTime(repo)), [])
        }
      },
    )
  }

  t.test(
    `history (${engine}): an object that the rule requires and the primary lacks is damage, with its path; beyond the rule it is not`,
    { skip },
    async t => {
      await using scene = await Scene.lay(engine)
      const { repo, commits, head } = await aged(scene)
      await scene.writer.setHistory(repo, { limitDays: 30 })
      const lost = (age: number) => scene.blockOf(repo, commits[AGES.indexOf(age as never)] ?? '', DIARY)
      for (const age of [40, 300]) rmSync(scene.acts.objects.path('blocks', repo, lost(age)))

      await scene.run()

      const { state, failure } = await scene.library(repo)
      t.equal(state, 'failed')
      t.equal(failure?.code, 'OBJECT_MISSING')
      t.strictSame(
        failure?.damaged,
        [{ kind: 'blocks', id: lost(40), problem: 'missing', path: DIARY, where: 'history' }],
        'of the first older commit, not of the one before it',
      )
      t.equal((await scene.pair.heads('backup')).get(repo), head, 'the latest state is protected')

      await scene.writer.setHistory(repo, { limitDays: 10 })
      await scene.settle()
      t.equal((await scene.library(repo)).state, 'synchronized', 'a narrower rule requires it no more')
    },
  )

  t.test(
    `history (${engine}): damage that the window slides past, while nothing else changes, is damage no more`,
    { skip },
    async t => {
      await using scene = await Scene.lay(engine)
      const repo = await scene.at(daysAgo(9)).createLibrary({ name: 'Sliding', owner: OWNER })
      const lost = await scene.put(repo, DIARY, 'lost', daysAgo(8))
      rmSync(scene.acts.objects.path('blocks', repo, scene.blockOf(repo, lost, DIARY)))
      await scene.run()
      await scene.writer.setHistory(repo, { limitDays: 7 })
      await scene.put(repo, DIARY, 'on the sill', daysAgo(7) + 12) // leaves the window in 12 s, the one before it goes then
      await scene.put(repo, DIARY, 'new', daysAgo(0))
      await scene.settle()
      t.strictSame(
        (await scene.library(repo)).failure?.damaged.map(({ path }) => path),
        [DIARY],
        'required while the window has the next one',
      )

      await scene.pair.until('synchronized', async () => {
        await scene.sweep()
        return (await scene.library(repo)).state === 'synchronized'
      })
      t.ok((await scene.acts.truncateTime(repo)) >= daysAgo(7) - 1, 'the rule is the one it was')
    },
  )

  t.test(
    `history (${engine}): a rule that was made wider requires the older trees again, without a commit`,
    { skip },
    async t => {
      await using scene = await Scene.lay(engine)
      await scene.keepDaysByDefault(0)
      const byRow = await aged(scene, 'By row')
      await scene.writer.setHistory(byRow.repo, { limitDays: 0 })
      const byDefault = await aged(scene, 'By default')
      const virtual = await scene.at(daysAgo(2)).createVirtualLibrary({ origin: byRow.repo, path: '/a', name: 'Part' })
      for (const text of ['b', 'c']) await scene.put(virtual, '/more.md', text, daysAgo(1))
      await scene.run()
      const older = scene.blockOf(byDefault.repo, byDefault.commits[0] ?? '', DIARY)
      t.notOk(scene.ours.objects.has('blocks', byDefault.repo, older), 'not required at first')

      await scene.writer.setHistory(byRow.repo, { limitDays: -1 })
      await scene.keepDaysByDefault(-1)
      await scene.settle()

      for (const [repo, storeId] of [
        [byRow.repo, byRow.repo],
        [virtual, byRow.repo],
        [byDefault.repo, byDefault.repo],
      ] as const) {
        const { name, state } = await scene.library(repo)
        t.equal(state, 'synchronized')
        t.strictSame(scene.lacking(repo, await scene.acts.head(repo), -1, storeId), [], `${name}: all is held`)
      }
    },
  )

  t.test(
    `history (${engine}): what seaf-gc -R took is required again when somebody takes valid-since away; what is held here is not missed`,
    { skip },
    async t => {
      await using scene = await Scene.lay(engine)
      const late = await aged(scene, 'Copied late')
      const early = await aged(scene, 'Copied early')
      const collect = async (repo: RepoId) => {
        await scene.writer.setHistory(repo, { limitDays: 30 })
        await scene.acts.gc(repo, { fs: true })
        await scene.writer.setHistory(repo, { limitDays: 350 })
      }
      await collect(late.repo)
      await scene.run()
      t.equal((await scene.library(late.repo)).state, 'synchronized', 'valid-since stands for what seaf-gc left')
      await collect(early.repo)
      await scene.settle()
      t.equal((await scene.library(early.repo)).state, 'synchronized')

      for (const { repo } of [late, early]) await scene.writer.setHistory(repo, { validSince: null })
      await scene.settle()

      const { failure } = await scene.library(late.repo)
      t.equal(failure?.code, 'OBJECT_MISSING')
      t.strictSame(
        failure?.damaged.map(({ kind, path, where }) => `${kind} ${path} ${where}`),
        ['fs / history', 'fs / history'],
        'of 400 and of 300 days',
      )
      t.equal((await scene.library(early.repo)).state, 'synchronized', 'copied before seaf-gc came')
    },
  )

  t.test(
    `history (${engine}): keep_days of seafile.conf is the last of the rules, and a wider one is followed after a restart`,
    { skip },
    async t => {
      await using scene = await Scene.lay(engine, { primary: { conf: ['', '[history]', 'keep_days = 30'] } })
      const { repo, commits, head } = await aged(scene)
      const lost = scene.blockOf(repo, commits[1] ?? '', DIARY)
      await scene.run()
      t.strictSame(scene.lacking(repo, head, daysAgo(30)), [])
      t.notOk(scene.ours.objects.has('blocks', repo, lost), 'beyond keep_days')

      await scene.pair.primary.process?.kill()
      scene.editConf(conf => conf.replace('keep_days = 30', 'keep_days = -1'))
      await scene.pair.startPrimary()
      await scene.settle()

      t.strictSame(scene.lacking(repo, head, -1), [])
    },
  )

  t.test(
    `history (${engine}): a commit whose parent is its own descendant ends the walk, and is followed`,
    { skip },
    async t => {
      await using scene = await Scene.lay(engine)
      const early = await aged(scene, 'Cycle before')
      const late = await aged(scene, 'Cycle after')
      scene.rewriteCommit(early.repo, early.commits[0] ?? '', { parent_id: early.commits[3] })
      await scene.run()
      t.strictSame(scene.lacking(early.repo, early.head, -1), [])

      scene.rewriteCommit(late.repo, late.commits[0] ?? '', { parent_id: late.commits[3] })
      for (const { repo } of [early, late]) {
        const head = await scene.put(repo, DIARY, 'round and round')
        await scene.settle()
        t.equal((await scene.library(repo)).state, 'synchronized')
        t.equal((await scene.pair.heads('backup')).get(repo), head)
        t.strictSame(scene.lacking(repo, head, -1), [])
        scene.rewriteCommit(repo, head, { second_parent_id: head })
        const next = await scene.put(repo, DIARY, 'its own parent')
        await scene.settle()
        t.equal((await scene.pair.heads('backup')).get(repo), next)
      }
    },
  )

  t.test(
    `history (${engine}): of a merge both parents are followed, and the first older commit on each branch is held`,
    { skip },
    async t => {
      await using scene = await Scene.lay(engine)
      const merged = async (name: string) => {
        const { repo, head } = await aged(scene, name, [90, 80])
        const branch = async (parent: string, age: number) =>
          scene.writer.uploadCommit(
            repo,
            [{ op: 'put', path: '/branch.md', content: Buffer.from(`${name}: branch of ${age} days`) }],
            { parent: parent as CommitId, ctime: daysAgo(age) },
          )
        const oldest = await branch(head, 70)
        const older = await branch(oldest, 60)
        const second = await branch(older, 5)
        const parent = await scene.put(repo, DIARY, 'main', daysAgo(50))
        const merge = { parent, secondParent: second, changes: [{ op: 'remove', path: DIARY }] }
        return { repo, oldest, older, parent, head: await scene.writer.mergeCommit(repo, merge as never) }
      }
      const before = await merged('Before')
      await scene.writer.setHistory(before.repo, { limitDays: 30 })
      await scene.acts.gc(before.repo, { fs: true })
      await scene.run()
      const after = await merged('After')
      await scene.writer.setHistory(after.repo, { limitDays: 30 })
      await scene.settle()

      for (const { repo, head, older, oldest, parent } of [before, after]) {
        const kept = scene.acts.objects.keptCommits(repo, head, daysAgo(30)).map(commit => commit.commit_id)
        t.ok(kept.includes(older) && kept.includes(parent) && !kept.includes(oldest), 'one older commit on each branch')
        t.strictSame(scene.lacking(repo, head, daysAgo(30)), [])
        t.equal((await scene.library(repo)).state, 'synchronized')
      }
      rmSync(scene.acts.objects.path('blocks', after.repo, scene.blockOf(after.repo, after.older, '/branch.md')))
      const fresh = scene.ours.objects.has('blocks', after.repo, scene.blockOf(after.repo, after.older, '/branch.md'))
      t.ok(fresh, 'held, whatever becomes of it there')
    },
  )
}
