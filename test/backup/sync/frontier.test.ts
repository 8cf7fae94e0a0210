/** What a pull expects, against a sender that gives what it is asked for, refuses, or dies on the way. */

import fc from 'fast-check'
import t from 'tap'
import { Frontier } from '../../../src/backup/sync/frontier.js'
import { factsFrom } from '../../../src/backup/sync/own-history.js'
import { EMPTY_ID } from '../../../src/shared/ids.js'
import { MemoryReader, REPO, block, commit, commitIdOf, dir, file, idOf } from '../../support/objects.js'
import type { FrontierOptions } from '../../../src/backup/sync/frontier.js'
import type { VerifiedObject } from '../../../src/shared/store/verify.js'

const names = (frontier: Frontier) =>
  frontier
    .outstanding()
    .map(({ id }) => id)
    .sort()
const ids = (...objects: readonly VerifiedObject[]) => objects.map(object => object.ref.id).sort()

async function begun(want: string, ours: readonly VerifiedObject[] = [], differs: Partial<FrontierOptions> = {}) {
  const store = new MemoryReader(...ours)
  const frontier = new Frontier({
    repo: REPO,
    storeId: REPO,
    want: commitIdOf(want),
    base: null,
    truncateTime: -1,
    holes: [],
    store,
    readFacts: factsFrom(store, REPO),
    ...differs,
  })
  await frontier.begin()
  return frontier
}

/** Answers all that is expected, commits first, until nothing is; gives what was sent, and gives up what is not there. */
async function pull(frontier: Frontier, primary: readonly VerifiedObject[]): Promise<string[]> {
  const byId = new Map(primary.map(object => [object.ref.id, object]))
  const sent: string[] = []
  const answer = async () => {
    while (frontier.size > 0) {
      for (const { id } of frontier.outstanding()) {
        const object = byId.get(id)
        if (object) await frontier.arrived(object)
        else frontier.giveUp(id)
        if (object) sent.push(id)
      }
    }
  }
  await answer()
  frontier.beginTrees(null)
  await answer()
  frontier.treesArrived()
  return sent.sort()
}

const [one, two, three] = [block('one'), block('two'), block('three')]
const letter = file(one.ref.id, two.ref.id)
const photo = file(three.ref.id)
const album = dir({ photo })
const root1 = dir({ letter })
const root2 = dir({ letter, album })
const c1 = commit('c1', { rootId: root1.ref.id, ctime: 1_000 })
const c2 = commit('c2', { rootId: root2.ref.id, ctime: 2_000, parents: [c1.ref.id] })
const FIRST = [c1, root1, letter, one, two]
const SECOND = [c2, root2, album, photo, three]

t.test('frontier: it begins with the wanted head alone, and each object brings what it names', async t => {
  const frontier = await begun('c2')
  t.strictSame(names(frontier), ids(c2))
  await frontier.arrived(c2)
  t.strictSame(names(frontier), ids(c1), 'trees wait until they begin')
  frontier.beginTrees(commitIdOf('c2'))
  t.strictSame(names(frontier), ids(c1, root2))
  t.equal(frontier.treesOutstanding, true)
  await frontier.arrived(root2)
  t.strictSame(names(frontier), ids(c1, letter, album))
  await frontier.arrived(letter)
  t.strictSame(names(frontier), ids(c1, one, two, album))
})

t.test('frontier: without a base, everything that the head reaches is asked for, each object once', async t => {
  const frontier = await begun('c2')
  t.strictSame(await pull(frontier, [...FIRST, ...SECOND]), ids(...FIRST, ...SECOND))
  t.equal(await frontier.closed(commitIdOf('c2')), true)
  t.strictSame(
    frontier.keptCommits().map(({ rootId }) => rootId),
    [root2.ref.id, root1.ref.id],
  )
})

t.test('frontier: on top of a base only what its tree and history lack is asked for', async t => {
  const frontier = await begun('c2', FIRST, { base: { commit: commitIdOf('c1'), since: -1 } })
  t.strictSame(await pull(frontier, [...FIRST, ...SECOND]), ids(...SECOND))
  t.equal(await frontier.closed(commitIdOf('c2')), true)
})

t.test('frontier: objects that lie here, but that no base vouches for, are asked for', async t => {
  const frontier = await begun('c2', FIRST)
  t.strictSame(await pull(frontier, [...FIRST, ...SECOND]), ids(...FIRST, ...SECOND))
})

t.test('frontier: a directory of the base that cannot be read vouches for nothing below it', async t => {
  const ours = FIRST.filter(object => object !== root1)
  const frontier = await begun('c2', ours, { base: { commit: commitIdOf('c1'), since: -1 } })
  t.strictSame(await pull(frontier, [...FIRST, ...SECOND]), ids(...SECOND, letter, one, two))
})

t.test('frontier: holes of the base are asked for from the start, and what they name when they come', async t => {
  const ours = FIRST.filter(object => object !== letter && object !== two)
  const holes = [{ kind: 'fs' as const, id: letter.ref.id }]
  const frontier = await begun('c2', ours, { base: { commit: commitIdOf('c1'), since: -1 }, holes })
  t.equal(frontier.expects('fs', letter.ref.id), true)
  t.strictSame(await pull(frontier, [...FIRST, ...SECOND]), ids(...SECOND, letter, one, two))
})

t.test('frontier: what was not expected, or is of another kind, is not accepted', async t => {
  const frontier = await begun('c2')
  t.equal(frontier.accepts('commits', c2.ref.id), true)
  t.equal(frontier.accepts('fs', c2.ref.id), false)
  t.equal(frontier.accepts('blocks', one.ref.id), false)
  await frontier.arrived(c2)
  t.equal(frontier.accepts('commits', c2.ref.id), false, 'it is here')
})

t.test('frontier: a library that is empty needs its commits alone', async t => {
  const empty = commit('empty', { rootId: EMPTY_ID })
  const frontier = await begun('empty')
  t.strictSame(await pull(frontier, [empty]), ids(empty))
  t.equal(await frontier.closed(commitIdOf('empty')), true)
})

t.test(
  'frontier: of history that is not kept, commits are taken when they come and not missed when they do not',
  async t => {
    for (const truncateTime of [0, 2_500]) {
      const c0 = commit('c0', { ctime: 1, rootId: idOf('long gone') })
      const old = commit('c1', { rootId: root1.ref.id, ctime: 1_000, parents: [c0.ref.id] })
      const frontier = await begun('c2', [], { truncateTime })
      await frontier.arrived(c2)
      const isKept = truncateTime > 0 // the first commit older than the limit is
      t.equal(frontier.expects('commits', old.ref.id), isKept)
      t.equal(frontier.accepts('commits', old.ref.id), true)
      await frontier.arrived(old)
      t.equal(frontier.expects('commits', c0.ref.id), false)
      t.equal(frontier.accepts('commits', c0.ref.id), true)
      const trees = isKept ? [root1] : []
      t.strictSame(await pull(frontier, [...FIRST, ...SECOND]), ids(...SECOND.slice(1), letter, one, two, ...trees))
      t.equal(await frontier.closed(commitIdOf('c2')), true)
    }
  },
)

t.test('frontier: a commit that came as old history and is owed through another branch gets its tree', async t => {
  const shared = commit('shared', { rootId: root1.ref.id, ctime: 100, parents: [] })
  const old = commit('old', { ctime: 400, parents: [shared.ref.id] })
  const young = commit('young', { ctime: 600, parents: [shared.ref.id] })
  const merge = commit('merge', { ctime: 700, parents: [old.ref.id, young.ref.id] })
  const frontier = await begun('merge', [], { truncateTime: 500 })
  for (const object of [merge, old]) await frontier.arrived(object)
  t.equal(frontier.expects('commits', shared.ref.id), false, 'beyond the limit of one branch')
  await frontier.arrived(shared)
  await frontier.arrived(young)
  t.strictSame(await pull(frontier, FIRST), ids(root1, letter, one, two))
  t.equal(await frontier.closed(commitIdOf('merge')), true)
})

t.test('frontier: what the primary cannot give is a hole, and nothing waits for it', async t => {
  for (const lost of [c1, root2, album, letter, two]) {
    const frontier = await begun('c2')
    const sent = await pull(
      frontier,
      [...FIRST, ...SECOND].filter(object => object !== lost),
    )
    t.equal(frontier.size, 0)
    t.equal(sent.includes(lost.ref.id), false)
    t.equal(frontier.accepts(lost.ref.kind, lost.ref.id), false, 'it is not asked for again')
  }
})

t.test('frontier: a head is closed when its tree and every kept tree below it is here, not before', async t => {
  const frontier = await begun('c2')
  const closed = async () => [await frontier.closed(commitIdOf('c2')), await frontier.closed(commitIdOf('c1'))]
  t.strictSame(await closed(), [false, false])
  await frontier.arrived(c2)
  await frontier.arrived(c1)
  t.strictSame(await closed(), [false, false], 'commits alone')
  frontier.beginTrees(commitIdOf('c1'))
  for (const object of FIRST.slice(1)) await frontier.arrived(object)
  t.equal(frontier.treesOutstanding, false)
  frontier.treesArrived()
  t.strictSame(await closed(), [false, true], 'the older is whole')
  frontier.beginTrees(null)
  for (const object of SECOND.slice(1)) await frontier.arrived(object)
  frontier.treesArrived()
  t.strictSame(await closed(), [true, true])
})

t.test('frontier: parents that form a cycle end the walk', async t => {
  const a = commit('a', { parents: [idOf('b')], ctime: 5 })
  const b = commit('b', { parents: [idOf('a')], ctime: 5 })
  const frontier = await begun('a')
  t.strictSame(await pull(frontier, [a, b]), ids(a, b))
  t.equal(await frontier.closed(commitIdOf('a')), true)
})

/** Everything that commit `n` of a history reaches: commits, trees, files, blocks. */
function reachable(objects: readonly VerifiedObject[], head: string): Set<string> {
  const byId = new Map(objects.map(object => [object.ref.id, object]))
  const found = new Set<string>()
  const todo = [head]
  for (let id = todo.pop(); id !== undefined; id = todo.pop()) {
    const object = byId.get(id)
    if (!object || found.has(id)) continue
    found.add(id)
    if (object.is === 'commit')
      todo.push(object.commit.rootId, object.commit.parentId ?? '', object.commit.secondParentId ?? '')
    else if (object.is === 'fs')
      todo.push(...(object.fs.type === 'dir' ? object.fs.entries.map(e => e.id) : object.fs.blocks))
  }
  return found
}

const content = fc.constantFrom('p', 'q', 'r').map(text => block(text))
const someFile = fc.array(content, { minLength: 1, maxLength: 2 })
const someDir = fc.dictionary(fc.constantFrom('a', 'b', 'c'), someFile, { minKeys: 1, maxKeys: 3 })
const someCommit = fc.record({
  tree: fc.dictionary(fc.constantFrom('x', 'y'), someDir, { minKeys: 1, maxKeys: 2 }),
  parents: fc.array(fc.nat(), { minLength: 1, maxLength: 2 }),
})

t.test('frontier: with any base that is whole, base and pull together hold exactly what the head reaches', async t => {
  const complete = fc.asyncProperty(
    fc.array(someCommit, { minLength: 2, maxLength: 6 }),
    fc.nat(),
    async (drawn, at) => {
      const objects: VerifiedObject[] = []
      const keep = (object: VerifiedObject) => (objects.push(object), object)
      for (const [n, { tree, parents }] of drawn.entries()) {
        const dirs = Object.entries(tree).map(([name, files]) => {
          const made = Object.entries(files).map(([f, b]) => [f, keep(file(...b.map(x => keep(x).ref.id)))] as const)
          return [name, keep(dir(Object.fromEntries(made)))] as const
        })
        const root = keep(dir(Object.fromEntries(dirs)))
        const above = n === 0 ? [] : parents.map(p => idOf(`n${p % n}`))
        keep(commit(`n${n}`, { rootId: root.ref.id, ctime: n, parents: above }))
      }
      const [want, base] = [`n${drawn.length - 1}`, `n${at % drawn.length}`]
      const [wanted, held] = [reachable(objects, idOf(want)), reachable(objects, idOf(base))]
      const ours = objects.filter(object => held.has(object.ref.id))
      const frontier = await begun(want, ours, { base: { commit: commitIdOf(base), since: -1 } })
      const sent = new Set(await pull(frontier, objects))
      const isComplete = [...wanted].every(id => held.has(id) || sent.has(id))
      return isComplete && [...sent].every(id => wanted.has(id)) && (await frontier.closed(commitIdOf(want)))
    },
  )
  t.match(await fc.check(complete, { numRuns: 300 }), { failed: false })
})
