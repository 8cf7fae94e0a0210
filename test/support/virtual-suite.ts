/** Virtual libraries: commits of their own, objects in the store of their origin. */

import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { fixturesMissing, referenceCheck } from './fixtures.js'
import { Pair } from './pair.js'
import { RawObjects } from './raw-objects.js'
import { figures } from './replica.js'
import { noMariadb, OWNER, Scene } from './scene.js'
import { ServerActs } from './server-acts.js'
import { testDatabase } from './sides.js'
import type { Test } from 'tap'
import type { LibraryStatus } from '../../src/shared/wire/control-messages.js'
import type { Engine } from './sides.js'

const PASSWORD = 'of the origin'

/** An origin with a shared folder, /team, and another one. */
async function family(scene: Scene, password?: string) {
  const encrypted = password === undefined ? {} : { encrypted: { password, version: 2 as const } }
  const origin = await scene.writer.createLibrary({ name: 'Origin', owner: OWNER, ...encrypted })
  await scene.put(origin, '/private/old.md', 'private')
  await scene.put(origin, '/team/plan.md', 'plan')
  const given = password === undefined ? {} : { password }
  const virtual = await scene.writer.createVirtualLibrary({ origin, path: '/team', name: 'Team', ...given })
  return { origin, virtual }
}

/** Both are synchronized, with the primary's rows, commits and trees; an independent reader agrees. */
async function equal(t: Test, scene: Scene, { origin, virtual }: Awaited<ReturnType<typeof family>>, what: string) {
  for (const repo of [origin, virtual]) {
    const head = await scene.acts.head(repo)
    const library = await scene.library(repo)
    t.strictSame({ state: library.state, head: library.head }, { state: 'synchronized', head }, `${what}: synchronized`)
    t.strictSame(scene.lacking(repo, head, -1, origin), [], `${what}: nothing is lacking`)
    t.strictSame(await scene.rowsHere(repo), await scene.rowsThere(repo), `${what}: the rows are the same`)
  }
  if (fixturesMissing()) return
  const [theirs, ours] = await Promise.all(
    [scene.pair.primary, scene.pair.backup].map(side => referenceCheck(side.dataDir, side.database)),
  )
  for (const library of theirs?.libraries ?? [])
    t.strictSame(
      figures(ours?.libraries.find(({ id }) => id === library.id)),
      figures(library),
      `${what}: an independent reader finds the same`,
    )
}

const shown = ({ state, deletedOnPrimary, failure }: LibraryStatus) => ({
  state,
  deletedOnPrimary,
  code: failure?.code ?? null,
})
const FINE = { state: 'synchronized', deletedOnPrimary: false, code: null }

export function virtualSuite(engine: Engine): void {
  const skip = noMariadb(engine)

  t.test(
    `virtual (${engine}): the tree of its base commit is kept, though the origin keeps no history`,
    { skip },
    async t => {
      await using db = await testDatabase(engine)
      await using pair = await Pair.lay(db.database ? { primary: { database: db.database } } : {})
      const writer = await pair.writer()
      const origin = await writer.createLibrary({ name: 'Origin', owner: OWNER })
      await writer.commit(origin, [{ op: 'put', path: '/team/plan.md', content: Buffer.from('plan') }])
      await writer.commit(origin, [{ op: 'put', path: '/private/old.md', content: Buffer.from('old') }])
      await writer.commit(origin, [{ op: 'put', path: '/private/old.md', content: Buffer.from('new') }])
      const virtual = await writer.createVirtualLibrary({ origin, path: '/team', name: 'Team' })
      const base = await new ServerActs(pair.primary.dataDir, pair.primary.database).head(origin)
      await writer.setHistory(origin, { limitDays: 0 })
      // outside the folder: the virtual library is not merged, and its base stays behind
      await writer.commit(origin, [{ op: 'remove', path: '/private' }])
      await writer.commit(origin, [{ op: 'put', path: '/other.md', content: Buffer.from('other') }])
      const acts = new ServerActs(pair.primary.dataDir, pair.primary.database)
      t.ok((await acts.gc(origin, { fs: true })).blocks > 0, 'seaf-gc -R had something to take')

      await pair.startPrimary()
      await pair.startBackup()
      await pair.settle()

      const theirs = acts.objects
      const ours = new RawObjects(pair.backup.dataDir)
      t.equal(ours.commit(origin, base).commit_id, base)
      const owed = [...theirs.tree(origin, theirs.commit(origin, base).root_id)].filter(([, { kind }]) => kind === 'fs')
      t.ok(owed.length >= 4, 'root, two folders and files')
      t.strictSame(
        owed.filter(([id]) => !ours.has('fs', origin, id)),
        [],
      )
      t.equal((await pair.libraryAtRest(virtual))?.state, 'synchronized')
      t.equal((await pair.libraryAtRest(origin))?.state, 'synchronized')
    },
  )

  t.test(
    `virtual (${engine}): removed when its folder is, or when the origin gets another owner, it is kept here and shown as deleted`,
    { skip },
    async t => {
      await using scene = await Scene.start(engine)
      const first = await family(scene)
      const second = await family(scene)
      await scene.settle()
      const kept = await Promise.all([first, second].map(async ({ virtual }) => await scene.rowsHere(virtual)))

      await scene.writer.commit(first.origin, [{ op: 'remove', path: '/team' }])
      await scene.acts.removeVirtual(first.virtual) // what the server does when it finds the folder gone
      await scene.acts.transferOwner(second.origin, 'mo@example.com')
      await scene.settle()

      t.strictSame(shown(await scene.library(first.origin)), FINE)
      t.strictSame(shown(await scene.library(second.origin)), FINE)
      t.equal((await scene.library(second.origin)).owner, 'mo@example.com')
      for (const [i, { virtual, origin }] of [first, second].entries()) {
        const library = await scene.library(virtual)
        t.strictSame({ deleted: library.deletedOnPrimary, failure: library.failure }, { deleted: true, failure: null })
        t.strictSame(await scene.rowsHere(virtual), kept[i], 'every row is kept')
        t.ok(scene.ours.objects.tree(origin, scene.ours.objects.commit(virtual, library.head ?? '').root_id).size > 0)
      }
    },
  )

  t.test(
    `virtual (${engine}): an origin whose damage lies outside the folder fails alone, before and after the virtual one`,
    { skip },
    async t => {
      for (const order of ['origin first', 'virtual first'] as const) {
        await using scene = await Scene.lay(engine)
        const { origin, virtual } = await family(scene)
        const head = await scene.acts.head(origin)
        rmSync(scene.acts.objects.path('blocks', origin, scene.blockOf(origin, head, '/private/old.md')))
        const second = order === 'origin first' ? virtual : origin
        const hidden = await scene.hide(second)

        await scene.run()
        t.equal((await scene.pair.library(second)) === undefined, true, `${order}: the other is not there yet`)
        await hidden.show()
        await scene.settle()

        t.strictSame(shown(await scene.library(virtual)), FINE, `${order}: the virtual one does not need it`)
        t.strictSame(scene.lacking(virtual, await scene.acts.head(virtual), -1, origin), [])
        const { failure, head: recorded } = await scene.library(origin)
        t.strictSame(
          { code: failure?.code, paths: failure?.damaged.map(({ path }) => path), recorded },
          { code: 'OBJECT_MISSING', paths: ['/private/old.md'], recorded: null },
        )
        await scene.put(virtual, '/more.md', 'more')
        await scene.settle()
        t.strictSame(shown(await scene.library(virtual)), FINE, `${order}: it goes on while its origin is failed`)
        t.equal((await scene.library(virtual)).head, await scene.acts.head(virtual))
      }
    },
  )

  t.test(
    `virtual (${engine}): of the tree of its base commit what is gone is named, once, until the base is another one`,
    { skip },
    async t => {
      await using scene = await Scene.lay(engine)
      const { origin, virtual } = await family(scene)
      await scene.writer.setHistory(origin, { limitDays: 0 })
      const gone = scene.objectOf('fs', origin, await scene.acts.head(origin), '/private/old.md')
      rmSync(scene.acts.objects.path('fs', origin, gone))
      await scene.run()
      const lacks = async () =>
        (await scene.library(virtual)).failure?.damaged.map(({ id, path, where }) => [id, path, where])
      const once = [[gone, '/private/old.md', 'history']]
      t.strictSame(await lacks(), once)

      await scene.settle()
      t.strictSame(await lacks(), once, 'at each sweep')
      await scene.writer.setHistory(origin, { limitDays: -1 })
      await scene.settle()
      t.strictSame(await lacks(), once, 'under a wider rule, which pulls all anew')
      await scene.writer.setHistory(origin, { limitDays: 0 })
      await scene.writer.commit(origin, [
        { op: 'remove', path: '/private' },
        { op: 'put', path: '/team/plan.md', content: Buffer.from('another base') },
      ])
      await scene.settle()

      t.strictSame(shown(await scene.library(virtual)), FINE, 'nobody needs it any more')
      t.strictSame(shown(await scene.library(origin)), FINE)
    },
  )

  t.test(
    `virtual (${engine}): what it lacks is named in it and in its origin, whichever comes first`,
    { skip },
    async t => {
      for (const [order, lost] of [
        ['origin first', 'blocks'],
        ['virtual first', 'blocks'],
        ['virtual first', 'fs'],
      ] as const) {
        await using scene = await Scene.lay(engine)
        const { origin, virtual } = await family(scene)
        const id = scene.objectOf(lost, origin, await scene.acts.head(origin), '/team/plan.md')
        const path = scene.acts.objects.path(lost, origin, id)
        const bytes = readFileSync(path)
        rmSync(path)
        const hidden = await scene.hide(order === 'origin first' ? virtual : origin)
        await scene.run()
        await hidden.show()
        await scene.settle()

        for (const [repo, file] of [[origin, '/team/plan.md'] as const, [virtual, '/plan.md'] as const]) {
          const { failure } = await scene.library(repo)
          t.strictSame(
            failure?.damaged.map(({ kind, path: at, where }) => [kind, at, where]),
            [[lost, file, 'head']],
            `${order}: the path as that library has it`,
          )
        }
        writeFileSync(path, bytes)
        await scene.settle()
        await equal(t, scene, { origin, virtual }, `${order}: repaired`)
      }
    },
  )

  t.test(
    `virtual (${engine}): before, after and while its origin is replicated, in either order, both end whole`,
    { skip },
    async t => {
      for (const order of ['origin first', 'virtual first', 'together'] as const) {
        await using scene = await Scene.lay(engine)
        const both = await family(scene)
        const hidden =
          order === 'together' ? null : await scene.hide(order === 'origin first' ? both.virtual : both.origin)
        await scene.run()
        await hidden?.show()
        await scene.settle()
        await equal(t, scene, both, order)
      }
    },
  )

  t.test(
    `virtual (${engine}): made while the pair runs, changed from either side, renamed in the origin, it is followed`,
    { skip },
    async t => {
      await using scene = await Scene.start(engine)
      const both = await family(scene)
      await scene.settle()
      await equal(t, scene, both, 'made')

      await scene.put(both.origin, '/team/plan.md', 'from the origin')
      await scene.settle()
      await equal(t, scene, both, 'changed in the origin')
      await scene.put(both.virtual, '/new/idea.md', 'from the folder')
      await scene.settle()
      await equal(t, scene, both, 'changed in the virtual library')
      await Promise.all([scene.put(both.origin, '/team/a.md', 'a'), scene.put(both.virtual, '/b.md', 'b')])
      await scene.settle()
      await equal(t, scene, both, 'changed in both')

      await scene.writer.commit(both.origin, [{ op: 'rename', from: '/team', to: '/crew' }])
      await scene.settle()
      await equal(t, scene, both, 'based on the new folder')
      t.equal((await scene.library(both.virtual)).name, 'crew')
      t.match(await scene.rowsHere(both.virtual), { VirtualRepo: [[both.virtual, both.origin, '/crew', String]] })
      await scene.put(both.origin, '/crew/late.md', 'late')
      await scene.settle()
      await equal(t, scene, both, 'changed below the new name')
    },
  )

  t.test(
    `virtual (${engine}): of an encrypted origin, with its own key, it is held as it lies on the primary`,
    { skip },
    async t => {
      await using scene = await Scene.start(engine)
      const both = await family(scene, PASSWORD)
      await scene.settle()
      await equal(t, scene, both, 'made')

      await scene.put(both.virtual, '/secret.md', 'a secret of the folder')
      await scene.put(both.origin, '/team/other.md', 'a secret of the origin')
      await scene.settle()

      await equal(t, scene, both, 'changed')
      const id = scene.blockOf(both.virtual, await scene.acts.head(both.virtual), '/secret.md', both.origin)
      const bytes = readFileSync(scene.ours.objects.path('blocks', both.origin, id))
      t.strictSame(bytes, readFileSync(scene.acts.objects.path('blocks', both.origin, id)))
      t.notOk(bytes.includes('secret'), 'no password has been here, and no text')
      t.match(await scene.rowsHere(both.virtual), { RepoInfo: [[both.virtual, 'Team', Number, Number, 1]] })
    },
  )
}
