import t from 'tap'
import { locateDamage } from '../../../src/backup/sync/damage.js'
import { EMPTY_ID } from '../../../src/shared/ids.js'
import { DIR_MODE, MemoryReader, REPO, block, commitIdOf, dir, entry, file, fs, idOf } from '../../support/objects.js'
import type { DamageSearch } from '../../../src/backup/sync/damage.js'
import type { VerifiedObject } from '../../../src/shared/store/verify.js'

const WANT = commitIdOf('wanted')

/** Searches for `lost` in a store that holds the rest of `here`. */
function search(
  here: readonly VerifiedObject[],
  lost: readonly VerifiedObject[],
  differs: Partial<DamageSearch> & Pick<DamageSearch, 'headRoot'>,
) {
  const holes = lost.map(({ ref: { kind, id } }) => ({ kind, id, problem: 'missing' as const }))
  return locateDamage({
    store: new MemoryReader(...here.filter(object => !lost.includes(object))),
    storeId: REPO,
    holes: new Map(holes.map(hole => [hole.id, hole])),
    want: WANT,
    olderRoots: [],
    signal: new AbortController().signal,
    ...differs,
  })
}

const [one, two] = [block('one'), block('two')]
const letter = file(one.ref.id)
const photo = file(two.ref.id, two.ref.id)
const album = dir({ 'photo.jpg': photo })
const root = dir({ album, 'letter.txt': letter })
const ALL = [one, two, letter, photo, album, root]

t.test('damage: each kind of hole in the latest state is named by the path that needs it', async t => {
  const cases: Array<[VerifiedObject, string]> = [
    [one, '/letter.txt'],
    [two, '/album/photo.jpg'],
    [letter, '/letter.txt'],
    [album, '/album/'],
    [root, '/'],
  ]
  for (const [lost, path] of cases) {
    const { kind, id } = lost.ref
    const found = await search(ALL, [lost], { headRoot: root.ref.id })
    t.strictSame(found, [{ kind, id, problem: 'missing', path, where: 'head' }], path)
  }
})

t.test('damage: several holes are all named, a block below a lost file too when another file needs it', async t => {
  const copy = file(one.ref.id, two.ref.id)
  const home = dir({ 'letter.txt': letter, copy })
  const found = await search([...ALL, copy, home], [letter, two, one], { headRoot: home.ref.id })
  t.strictSame(new Map(found.map(({ id, path }) => [id, path])).get(letter.ref.id), '/letter.txt')
  t.strictSame(found.map(({ path, where }) => [path, where]).slice(1), [
    ['/copy', 'head'],
    ['/copy', 'head'],
  ])
})

t.test('damage: what only an older commit needs is in the history, with its path there', async t => {
  const now = dir({ 'letter.txt': letter })
  const [found] = await search([...ALL, now], [two], { headRoot: now.ref.id, olderRoots: [now.ref.id, root.ref.id] })
  t.match(found, { id: two.ref.id, path: '/album/photo.jpg', where: 'history' })
})

t.test('damage: what the latest state and the history need is in the latest state', async t => {
  const before = dir({ 'old name.txt': letter })
  const [found] = await search([...ALL, before], [letter], { headRoot: root.ref.id, olderRoots: [before.ref.id] })
  t.match(found, { path: '/letter.txt', where: 'head' })
})

t.test('damage: history is not read when the latest state explains everything', async t => {
  const store = new MemoryReader(...ALL.filter(object => object !== letter))
  await search([], [letter], { store, headRoot: root.ref.id, olderRoots: [idOf('older')] })
  const reads = store.reads
  await search([], [letter], { store, headRoot: root.ref.id })
  t.equal(store.reads, reads * 2)
})

t.test('damage: the wanted head itself is lost from the latest state, an older commit from the history', async t => {
  const lost = ['wanted', 'older'].map(name => ({
    kind: 'commits' as const,
    id: idOf(name),
    problem: 'corrupt' as const,
  }))
  const holes = new Map(lost.map(hole => [hole.id, hole]))
  const found = await search([], [], { headRoot: null, holes })
  t.match(found, [
    { kind: 'commits', path: null, where: 'head', problem: 'corrupt' },
    { kind: 'commits', path: null, where: 'history', problem: 'corrupt' },
  ])
})

t.test('damage: a hole that no tree explains has no path', async t => {
  const [unknown] = await search(ALL, [two], { headRoot: EMPTY_ID })
  t.match(unknown, { path: null, where: 'history' })
})

t.test('damage: links and empty files are not followed', async t => {
  const link = entry('link', album.ref.id, 0o120777)
  const odd = fs({ type: 'dir', entries: [link, entry('empty', EMPTY_ID), entry('none', EMPTY_ID, DIR_MODE)] })
  const [found] = await search([...ALL, odd], [album], { headRoot: odd.ref.id })
  t.match(found, { path: null, where: 'history' })
})

t.test('damage: a tree that is part of many others is read once', async t => {
  const roots = Array.from({ length: 20 }, (_, n) => dir({ album, [`copy ${n}`]: album }))
  const store = new MemoryReader(album, photo, ...roots)
  await search([], [one], { store, headRoot: EMPTY_ID, olderRoots: roots.map(object => object.ref.id) })
  t.equal(store.reads, roots.length + 2)
})

t.test('damage: a search that is called off ends with the reason', async t => {
  const reason = new Error('the daemon is stopping')
  const stopped = search(ALL, [one], { headRoot: root.ref.id, signal: AbortSignal.abort(reason) })
  await t.rejects(stopped, reason)
})
