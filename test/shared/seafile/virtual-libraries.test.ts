import { join } from 'node:path'
import Database from 'better-sqlite3'
import t from 'tap'
import { LibraryWriter } from '../../../src/shared/seafile/library-writer.js'
import { Primary, put, REFERENCE_CHECK, referenceCheck, remove, without } from './support.js'
import type { RepoId } from '../../../src/shared/ids.js'

const OWNER = 'owner@example.com'
const skip = without(REFERENCE_CHECK)

interface Pair {
  readonly origin: RepoId
  readonly virtual: RepoId
}

async function makePair({ writer }: Primary): Promise<Pair> {
  const origin = await writer.createLibrary({ name: 'Origin', owner: OWNER })
  await writer.commit(origin, [put('/shared/one.txt'), put('/shared/in/two.txt'), put('/private.txt')])
  const virtual = await writer.createVirtualLibrary({ origin, path: '/shared', name: 'Shared', desc: 'sub' })
  return { origin, virtual }
}

/** Below /shared in the origin, as the virtual library should have it. */
async function sharedTree(primary: Primary, origin: RepoId, folder = '/shared'): Promise<Record<string, string>> {
  const inFolder = Object.entries(await primary.tree(origin)).filter(([path]) => path.startsWith(`${folder}/`))
  return Object.fromEntries(inFolder.map(([path, content]) => [path.slice(folder.length), content]))
}

t.test(
  'virtual library: begins as the folder, with a commit of its own and no objects of its own',
  { skip },
  async t => {
    await using primary = await Primary.make()
    const { origin, virtual } = await makePair(primary)

    t.same(await primary.tree(virtual), { '/one.txt': '/shared/one.txt', '/in/two.txt': '/shared/in/two.txt' })
    t.match(await primary.commit(virtual), { parentId: null, description: 'sub', repoDesc: 'sub', repoName: 'Shared' })
    const rows = await primary.rows(virtual)
    t.same(rows.virtual, { originRepo: origin, path: '/shared', baseCommit: await primary.head(origin) })
    t.match(rows, { owner: OWNER, fileCount: 2, size: { bytes: 15 + 18 } })
    const checked = (await referenceCheck(primary.dataDir)).find(library => library.id === virtual)
    t.match(checked, { corrupt: null, commits_reachable: 1 })
  },
)

t.test('virtual library: a commit on either side reaches the other', { skip }, async t => {
  await using primary = await Primary.make()
  const { origin, virtual } = await makePair(primary)

  await primary.writer.commit(virtual, [put('/from virtual.txt')])
  t.same(await primary.tree(virtual), await sharedTree(primary, origin))
  t.match(await primary.commit(origin), { description: 'Added or modified "from virtual.txt".\n' })
  t.equal((await primary.rows(virtual)).virtual?.baseCommit, await primary.head(origin))

  await primary.writer.commit(origin, [put('/shared/from origin.txt'), remove('/shared/one.txt')])
  t.same(await primary.tree(virtual), await sharedTree(primary, origin))
  t.equal((await primary.rows(virtual)).virtual?.baseCommit, await primary.head(origin))

  const head = await primary.head(virtual)
  await primary.writer.commit(origin, [put('/private.txt', 'changed')])
  t.equal(await primary.head(virtual), head, 'what is outside the folder is no business of the virtual library')
  for (const library of await referenceCheck(primary.dataDir)) {
    t.equal(library.corrupt, null)
    t.same(library.db, { size: library.head_state.logical_bytes, file_count: library.head_state.files })
  }
})

t.test(
  'virtual library: changes on both sides are merged, and a file changed on both is kept twice',
  { skip },
  async t => {
    await using primary = await Primary.make()
    const { origin, virtual } = await makePair(primary)
    const alone = { propagate: false, ctime: 1_700_000_000 }
    await primary.writer.commit(origin, [put('/shared/o.txt'), put('/shared/one.txt', 'of the origin')], alone)
    await primary.writer.commit(
      virtual,
      [put('/in/v.txt'), put('/one.txt', 'of the virtual'), remove('/in/two.txt')],
      alone,
    )

    t.equal(await primary.writer.syncVirtual(virtual), 'both updated')

    const tree = await primary.tree(virtual)
    t.same(tree, await sharedTree(primary, origin))
    t.match(tree, { '/o.txt': '/shared/o.txt', '/in/v.txt': '/in/v.txt', '/one.txt': 'of the origin' })
    const conflicts = Object.entries(tree).filter(([path]) => path.startsWith('/one (SFConflict owner@example.com '))
    t.same(
      conflicts.map(([, content]) => content),
      ['of the virtual'],
    )
    t.notOk(Object.hasOwn(tree, '/in/two.txt'), 'deleted on one side, untouched on the other')
    t.equal(await primary.writer.syncVirtual(virtual), 'equal')
    for (const { corrupt } of await referenceCheck(primary.dataDir)) t.equal(corrupt, null)
  },
)

t.test('virtual library: one inside another belongs to the origin, and a commit in it reaches both', async t => {
  await using primary = await Primary.make()
  const { origin, virtual } = await makePair(primary)
  const inner = await primary.writer.createVirtualLibrary({ origin: virtual, path: '/in', name: 'In' })
  t.match((await primary.rows(inner)).virtual, { originRepo: origin, path: '/shared/in' })

  await primary.writer.commit(inner, [put('/deep.txt')])

  t.match(await primary.tree(origin), { '/shared/in/deep.txt': '/deep.txt' })
  t.match(await primary.tree(virtual), { '/in/deep.txt': '/deep.txt' })
})

t.test('virtual library: one that another process made is found', async t => {
  await using primary = await Primary.make()
  const { origin, virtual } = await makePair(primary)
  const later = new LibraryWriter({ dataDir: primary.dataDir, catalog: primary.catalog })

  await later.commit(origin, [put('/shared/later.txt')])

  t.match(await primary.tree(virtual), { '/later.txt': '/shared/later.txt' })
})

t.test('virtual library: follows its folder when that is renamed, and one above it', async t => {
  await using primary = await Primary.make()
  const { origin, virtual } = await makePair(primary)
  const inner = await primary.writer.createVirtualLibrary({ origin, path: '/shared/in', name: 'In' })

  await primary.writer.commit(origin, [{ op: 'rename', from: '/shared', to: '/renamed' }])

  t.match((await primary.rows(virtual)).virtual, { path: '/renamed', baseCommit: await primary.head(origin) })
  t.equal((await primary.commit(virtual)).repoName, 'renamed')
  t.match((await primary.rows(inner)).virtual, { path: '/renamed/in' })
  t.equal((await primary.commit(inner)).repoName, 'In')
  await primary.writer.commit(virtual, [put('/after.txt')])
  t.same(await primary.tree(virtual), await sharedTree(primary, origin, '/renamed'))
})

t.test('virtual library: is left as it is when its folder is gone', async t => {
  await using primary = await Primary.make()
  const { origin, virtual } = await makePair(primary)
  const head = await primary.head(virtual)

  await primary.writer.commit(origin, [remove('/shared')])

  t.equal(await primary.writer.syncVirtual(virtual), 'folder gone')
  t.equal(await primary.head(virtual), head)
  await t.rejects(primary.writer.syncVirtual(origin), { code: 'BAD_REQUEST' })
})

t.test('virtual library: one that was deleted meanwhile holds up no commit of its origin', async t => {
  await using primary = await Primary.make()
  const { origin, virtual } = await makePair(primary)
  const database = new Database(join(primary.dataDir, 'seafile.db'))
  for (const table of ['Repo', 'Branch', 'VirtualRepo']) {
    database.prepare(`DELETE FROM ${table} WHERE repo_id = ?`).run(virtual)
  }
  database.close()

  const head = await primary.writer.commit(origin, [put('/shared/x.txt')])

  t.equal(await primary.head(origin), head)
})

t.test('virtual library: only a directory below the root can become one', async t => {
  await using primary = await Primary.make()
  const { origin } = await makePair(primary)
  for (const path of ['/', '', '/absent', '/private.txt']) {
    const shared = primary.writer.createVirtualLibrary({ origin, path, name: 'V' })
    await t.rejects(shared, { code: 'BAD_REQUEST' }, JSON.stringify(path))
  }
  const virtual = await primary.writer.createVirtualLibrary({ origin, path: 'shared//in/', name: 'V' })
  t.equal((await primary.rows(virtual)).virtual?.path, '/shared/in')
})

t.test('virtual library: of an encrypted one has the same key under a magic of its own', { skip }, async t => {
  await using primary = await Primary.make()
  const encrypted = { password: 'right', version: 2 } as const
  const origin = await primary.writer.createLibrary({ name: 'E', owner: OWNER, encrypted })
  await primary.writer.commit(origin, [put('/s/x.txt')])
  const share = { origin, path: '/s', name: 'S' }
  await t.rejects(primary.writer.createVirtualLibrary(share), { code: 'BAD_REQUEST' }, 'no password')
  await t.rejects(primary.writer.createVirtualLibrary({ ...share, password: 'wrong' }), { code: 'BAD_REQUEST' })

  const virtual = await primary.writer.createVirtualLibrary({ ...share, password: 'right' })
  await primary.writer.commit(virtual, [put('/y.txt')])

  const said = async (repo: RepoId) =>
    JSON.parse(await primary.commitText(repo, await primary.head(repo))) as { key: string; magic: string }
  t.equal((await said(virtual)).key, (await said(origin)).key)
  t.not((await said(virtual)).magic, (await said(origin)).magic)
  for (const { corrupt } of await referenceCheck(primary.dataDir)) t.equal(corrupt, null)
})
