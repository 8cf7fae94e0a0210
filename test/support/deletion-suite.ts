/** Libraries that the primary deletes, in part or for good, and that come back: a backup keeps them whatever happens there. */

import t from 'tap'
import { noMariadb, OWNER, Scene } from './scene.js'
import type { Test } from 'tap'
import type { RepoId } from '../../src/shared/ids.js'
import type { Engine } from './sides.js'

interface Doomed {
  readonly repo: RepoId
  readonly head: string
  readonly rows: unknown
  readonly objects: readonly string[]
}

/** A library with some history, copied; `other` stays as it is. */
async function doomed(scene: Scene): Promise<Doomed> {
  const repo = await scene.writer.createLibrary({ name: 'Doomed', owner: OWNER })
  await scene.writer.setHistory(repo, { limitDays: 90, validSince: 1_000_000_000 })
  await scene.put(repo, '/a.md', 'one')
  const head = await scene.put(repo, '/a.md', 'two')
  await scene.settle()
  return { repo, head, rows: await scene.rowsHere(repo), objects: scene.held(repo) }
}

/** All rows and objects as they were, and said to be deleted over there. */
async function keptHere(t: Test, scene: Scene, { repo, head, rows, objects }: Doomed, what: string): Promise<void> {
  const library = await scene.library(repo)
  t.equal(library.deletedOnPrimary, true, `${what}: shown as deleted on the primary`)
  t.strictSame({ head: library.head, failure: library.failure }, { head, failure: null }, `${what}: no failure`)
  t.strictSame(await scene.rowsHere(repo), rows, `${what}: every row is kept`)
  t.strictSame(scene.held(repo), objects, `${what}: every object is kept`)
}

/** A new commit arrives, and nothing is left of the deletion. */
async function followed(t: Test, scene: Scene, repo: RepoId, what: string): Promise<void> {
  const head = await scene.put(repo, '/back.md', `back: ${what}`)
  await scene.settle()
  const { state, deletedOnPrimary } = await scene.library(repo)
  t.strictSame({ state, deletedOnPrimary }, { state: 'synchronized', deletedOnPrimary: false }, `${what}: followed`)
  t.equal((await scene.pair.heads('backup')).get(repo), head)
  t.strictSame(scene.lacking(repo, head, await scene.acts.truncateTime(repo)), [])
}

export function deletionSuite(engine: Engine): void {
  const skip = noMariadb(engine)

  t.test(
    `deletion (${engine}): a library in the trash is kept here with all rows and objects, and followed after a restore`,
    { skip },
    async t => {
      await using scene = await Scene.start(engine)
      const library = await doomed(scene)

      const trashed = await scene.acts.trash(library.repo)
      await scene.settle()
      await keptHere(t, scene, library, 'trashed')
      t.equal((await scene.pair.status()).counts.deletedOnPrimary, 1)

      await scene.acts.restore(trashed)
      await scene.pair.until('back', async () => {
        await scene.settle()
        const { state, deletedOnPrimary } = await scene.library(library.repo)
        return state === 'synchronized' && !deletedOnPrimary
      })
      const { state, deletedOnPrimary, head } = await scene.library(library.repo)
      t.strictSame(
        { state, deletedOnPrimary, head },
        { state: 'synchronized', deletedOnPrimary: false, head: library.head },
      )
      t.notSame(await scene.rowsHere(library.repo), library.rows, 'its history limit did not come back, here neither')
      await followed(t, scene, library.repo, 'restored')
    },
  )

  t.test(
    `deletion (${engine}): a library that was purged, its objects with it, is kept here, also over a restart`,
    { skip },
    async t => {
      await using scene = await Scene.start(engine)
      const library = await doomed(scene)

      await scene.acts.trash(library.repo)
      await scene.acts.purge(library.repo)
      await scene.settle()
      await keptHere(t, scene, library, 'purged')
      scene.acts.removeObjects(library.repo)
      await scene.settle()
      await keptHere(t, scene, library, 'collected')
      t.match((await scene.pair.sync(library.repo)).at(-1), { type: 'error', error: { code: 'LIBRARY_GONE' } })
      await keptHere(t, scene, library, 'asked for by name')

      await scene.pair.backup.process?.kill()
      await scene.pair.startBackup()
      await scene.settle()
      await keptHere(t, scene, library, 'after a restart')
    },
  )

  t.test(
    `deletion (${engine}): between the statements of a deletion a library is never called damaged nor forgotten`,
    { skip },
    async t => {
      await using scene = await Scene.start(engine)
      const library = await doomed(scene)
      const virtual = await scene.virtualOf(library.repo, '/dir', 'Part')
      const before = { ...library, head: await scene.acts.head(library.repo) }
      await scene.settle()
      Object.assign(before, { rows: await scene.rowsHere(library.repo), objects: scene.held(library.repo) })

      let looks = 0
      await scene.acts.trash(library.repo, async () => {
        looks += 1
        await scene.sweep()
        await keptHere(t, scene, before, `after statement ${looks}`)
      })

      await scene.settle()
      await keptHere(t, scene, before, 'at the end')
      t.equal((await scene.library(virtual)).deletedOnPrimary, true, 'its virtual library went with it')
      t.ok(scene.held(virtual).length > 0)
    },
  )

  t.test(
    `deletion (${engine}): a Branch row that is gone fails the library until it is back, and its head here is kept`,
    { skip },
    async t => {
      await using scene = await Scene.start(engine)
      const library = await doomed(scene)

      await scene.acts.sql.run(`DELETE FROM Branch WHERE repo_id = '${library.repo}'`)
      await scene.sweep()
      const { state, failure, head } = await scene.library(library.repo)
      t.strictSame({ state, code: failure?.code, head }, { state: 'failed', code: 'HEAD_MISSING', head: library.head })
      t.strictSame(await scene.rowsHere(library.repo), library.rows)
      t.strictSame(scene.held(library.repo), library.objects)

      await scene.acts.sql.run(
        `INSERT INTO Branch (repo_id, name, commit_id) VALUES ('${library.repo}', 'master', '${library.head}')`,
      )
      await scene.settle()
      await followed(t, scene, library.repo, 'the row is back')
    },
  )

  t.test(
    `deletion (${engine}): an owner row that is gone is gone here too, and the library goes on`,
    { skip },
    async t => {
      await using scene = await Scene.start(engine)
      const { repo } = await doomed(scene)

      await scene.acts.sql.run(`DELETE FROM RepoOwner WHERE repo_id = '${repo}'`)
      await scene.settle()

      const { state, owner, deletedOnPrimary } = await scene.library(repo)
      t.strictSame({ state, owner, deletedOnPrimary }, { state: 'synchronized', owner: null, deletedOnPrimary: false })
      await followed(t, scene, repo, 'without an owner')
    },
  )

  t.test(
    `deletion (${engine}): a library made anew under the same id, with another history, is not followed until it is forced`,
    { skip },
    async t => {
      await using scene = await Scene.start(engine)
      const library = await doomed(scene)
      await scene.acts.trash(library.repo)
      await scene.acts.purge(library.repo)
      scene.acts.removeObjects(library.repo)
      await scene.settle()
      await keptHere(t, scene, library, 'purged')

      await scene.fresh().createLibrary({ name: 'Another', owner: OWNER, repo: library.repo })
      const theirs = await scene.put(library.repo, '/b.md', 'another')
      await scene.settle()

      const refused = await scene.library(library.repo)
      t.strictSame(
        { code: refused.failure?.code, head: refused.head, deleted: refused.deletedOnPrimary },
        { code: 'HEAD_DIVERGED', head: library.head, deleted: false },
      )
      t.strictSame(await scene.rowsHere(library.repo), library.rows)

      await scene.pair.sync(library.repo, true)
      t.equal((await scene.library(library.repo)).state, 'synchronized')
      t.equal((await scene.pair.heads('backup')).get(library.repo), theirs)
      const held = new Set(scene.held(library.repo))
      t.ok(
        library.objects.every(id => held.has(id)),
        'what was displaced is still here',
      )
      await followed(t, scene, library.repo, 'forced')
    },
  )
}
