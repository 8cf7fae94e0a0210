import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { EMPTY_ID, parseRepoId } from '../../../src/shared/ids.js'
import { commitForm } from '../../../src/shared/seafile/commit-id.js'
import { LibraryWriter } from '../../../src/shared/seafile/library-writer.js'
import { checkPassword, openFileKey, readEncryption } from '../../../src/shared/seafile/write/encrypt.js'
import { Primary, put, REFERENCE_CHECK, referenceCheck, remove, without } from './support.js'
import type { CatalogWriter } from '../../../src/shared/catalog/catalog.js'
import type { RepoId } from '../../../src/shared/ids.js'
import type { Change } from '../../../src/shared/seafile/library-writer.js'

const OWNER = 'owner@example.com'
const skip = without(REFERENCE_CHECK)

const createPlain = (primary: Primary, name = 'Plain'): Promise<RepoId> =>
  primary.writer.createLibrary({ name, owner: OWNER })

t.test('library writer: what was planted is what an independent reader finds', { skip }, async t => {
  await using primary = await Primary.make({ fixedBlockSize: 1000 })
  const repo = await createPlain(primary, 'Üñï 文档')
  const planted: Record<string, string> = {
    '/readme.txt': 'hello',
    '/empty.txt': '',
    '/a/b/c/deep.txt': 'deep',
    '/文件 名.md': 'x'.repeat(2500),
    '/emoji 😀.txt': 'smile',
    '/\uffee.txt': 'below a surrogate pair',
    '/quote\'s "dq" & <tag>\t\u0001.txt': 'odd',
  }
  for (const [path, content] of Object.entries(planted)) await primary.writer.commit(repo, [put(path, content)])
  await primary.writer.commit(repo, [{ op: 'mkdir', path: '/empty dir' }])

  t.same(await primary.tree(repo), { ...planted, '/empty dir/': '' })
  const [checked] = await referenceCheck(primary.dataDir)
  t.match(checked, {
    name: 'Üñï 文档',
    corrupt: null,
    commits_reachable: 9,
    commits_kept: 9,
    commit_id_algorithm: { c: 9, go: 0, neither: [] },
    head_state: { files: 7, logical_bytes: 2500 + 5 + 4 + 5 + 22 + 3 },
  })
  t.same(checked?.db, { size: checked?.head_state.logical_bytes, file_count: 7 })
  t.match(await primary.rows(repo), {
    owner: OWNER,
    branchName: 'master',
    info: { name: 'Üñï 文档', version: 1, isEncrypted: 0, lastModifier: OWNER, status: 0 },
    size: { head: checked?.head },
  })
})

t.test('library writer: a new library is one empty commit, with rows but no size', async t => {
  await using primary = await Primary.make()
  const repo = await createPlain(primary)

  t.match(await primary.commit(repo), { rootId: EMPTY_ID, parentId: null, description: 'Created library' })
  t.match(await primary.rows(repo), { owner: OWNER, size: null, fileCount: null })
})

t.test('library writer: any sequence of changes leaves the tree and the sizes that it should', { skip }, async t => {
  await using primary = await Primary.make()
  const repo = await createPlain(primary)
  const { writer } = primary
  const steps: Change[][] = [
    [put('/d/one.txt'), put('/d/e/two.txt'), put('/d/e/f/three.txt')],
    [put('/d/one.txt', 'longer than it was')],
    [{ op: 'rename', from: '/d/e', to: '/moved' }],
    [put('/moved/f/four.txt'), { op: 'rename', from: '/moved', to: '/again' }, put('/again/five.txt')],
    [remove('/d')],
    [remove('/again/two.txt'), put('/again/two.txt/inside.txt')],
    [remove('/never was there')],
  ]
  for (const changes of steps) await writer.commit(repo, changes)

  t.same(await primary.tree(repo), {
    '/again/two.txt/inside.txt': '/again/two.txt/inside.txt',
    '/again/f/three.txt': '/d/e/f/three.txt',
    '/again/f/four.txt': '/moved/f/four.txt',
    '/again/five.txt': '/again/five.txt',
  })
  const [checked] = await referenceCheck(primary.dataDir)
  t.match(checked, { corrupt: null, commits_reachable: 7 }, 'what changes nothing is no commit')
  t.same(checked?.db, { size: checked?.head_state.logical_bytes, file_count: 4 })
})

t.test('library writer: directories on the path are edited, no other is written', async t => {
  await using primary = await Primary.make()
  const repo = await createPlain(primary)
  const many = Array.from({ length: 200 }, (_, n) => put(`/${n % 20}/${n}.txt`))
  await primary.writer.commit(repo, many)
  const objects = () => readdir(join(primary.dataDir, 'storage', 'fs', repo), { recursive: true })
  const before = new Set(await objects())

  await primary.writer.commit(repo, [put('/7/new.txt')])

  const added = (await objects()).filter(name => !before.has(name) && name.length > 2)
  t.equal(added.length, 3, 'the root, one directory, one file')
})

t.test('library writer: a file of many blocks, streamed in pieces of any size, is cut at the block size', async t => {
  await using primary = await Primary.make({ fixedBlockSize: 10 })
  const repo = await createPlain(primary)
  async function* pieces() {
    for (const piece of ['abc', '', 'defghijklmnopqrstuvw', 'xyz', '0123456']) yield Buffer.from(piece)
  }
  await primary.writer.commit(repo, [{ op: 'put', path: '/f', content: pieces() }])

  t.same(await primary.tree(repo), { '/f': 'abcdefghijklmnopqrstuvwxyz0123456' })
  const root = await primary.fs(repo, (await primary.commit(repo)).rootId)
  const file = await primary.fs(repo, root.type === 'dir' ? (root.entries[0]?.id ?? '') : '')
  t.match(file, { type: 'file', size: 33 })
  t.equal(file.type === 'file' && file.blocks.length, 4)
})

t.test('library writer: descriptions are the ones that Seafile writes', async t => {
  await using primary = await Primary.make()
  const repo = await createPlain(primary)
  const cases: Array<[Change[], string]> = [
    [[put('/x.txt')], 'Added "x.txt".'],
    [[put('/x.txt', 'new')], 'Modified "x.txt"'],
    [[put('/a.txt'), put('/b.txt'), put('/c.txt')], 'Added "a.txt" and 2 more files.'],
    [[{ op: 'rename', from: '/a.txt', to: '/z.txt' }], 'Renamed "a.txt"'],
    [[{ op: 'mkdir', path: '/d' }], 'Added directory "d"'],
    [[{ op: 'rename', from: '/z.txt', to: '/d/z.txt' }], 'Moved "z.txt"'],
    [[{ op: 'rename', from: '/d', to: '/e' }], 'Renamed directory "d"'],
    [
      [put('/x.txt', 'newer'), put('/n/1.txt'), remove('/b.txt')],
      'Added or modified "x.txt".\nDeleted "b.txt".\nAdded directory "n".\n',
    ],
    [[remove('/e')], 'Removed directory "e"'],
    [[remove('/x.txt')], 'Deleted "x.txt"'],
  ]
  for (const [changes, expected] of cases) {
    await primary.writer.commit(repo, changes)
    t.equal((await primary.commit(repo)).description, expected)
  }
})

t.test('library writer: the form, author, time and sentence of a commit can be given', { skip }, async t => {
  await using primary = await Primary.make()
  const repo = await createPlain(primary)
  const options = {
    clientForm: 'go',
    creatorName: 'grace@example.com',
    ctime: 1_700_000_000,
    description: '<&>',
  } as const
  const id = await primary.writer.commit(repo, [put('/x')], options)

  const commit = await primary.commit(repo, id)
  t.match(commit, { creatorName: 'grace@example.com', ctime: 1_700_000_000, description: '<&>' })
  t.equal(commitForm(id, commit), 'go')
  t.match(await referenceCheck(primary.dataDir), [{ corrupt: null, commit_id_algorithm: { c: 1, go: 1, neither: [] } }])
})

t.test('library writer: a change that cannot be made is refused, and the head stays', async t => {
  await using primary = await Primary.make()
  const repo = await createPlain(primary)
  const head = await primary.writer.commit(repo, [put('/file'), put('/dir/inside')])
  const refused: Change[] = [
    put('relative'),
    put('/'),
    put('/a//b'),
    put('/a/../b'),
    put('/a\0b'),
    put('/\ud800'),
    put(`/${'x'.repeat(256)}`),
    put('/dir'),
    put('/file/below'),
    { op: 'mkdir', path: '/file' },
    { op: 'rename', from: '/absent', to: '/b' },
    { op: 'rename', from: '/file', to: '/dir' },
    { op: 'rename', from: '/dir', to: '/dir/inside/itself' },
    { op: 'rename', from: '/dir', to: '/dir/new' },
  ]
  for (const change of refused) {
    await t.rejects(primary.writer.commit(repo, [change]), { code: 'BAD_REQUEST' }, JSON.stringify(change))
  }
  t.equal(await primary.head(repo), head)
  const absent = parseRepoId('00000000-0000-4000-8000-000000000000')
  await t.rejects(primary.writer.commit(absent, [put('/x')]), { code: 'LIBRARY_UNKNOWN' })
})

t.test('library writer: a commit on a stale head loses neither change', async t => {
  await using primary = await Primary.make()
  const repo = await createPlain(primary)
  const other = new LibraryWriter({ dataDir: primary.dataDir, catalog: primary.catalog })
  let raced = false
  const catalog = onUpdateBranch(primary.catalog, async (...move) => {
    if (!raced) {
      raced = true
      await other.commit(repo, [put('/theirs')])
    }
    return primary.catalog.updateBranch(...move)
  })
  const writer = new LibraryWriter({ dataDir: primary.dataDir, catalog })

  const head = await writer.commit(repo, [put('/ours')])

  t.same(await primary.tree(repo), { '/theirs': '/theirs', '/ours': '/ours' })
  t.equal(await primary.head(repo), head)
  t.match(await primary.rows(repo), { fileCount: 2, size: { bytes: 12, head } })
})

t.test('library writer: fifty commits at once by two writers are all there', { skip }, async t => {
  await using primary = await Primary.make()
  const repo = await createPlain(primary)
  const other = new LibraryWriter({ dataDir: primary.dataDir, catalog: primary.catalog })
  const paths = Array.from({ length: 50 }, (_, n) => `/${n % 5}/${n}.txt`)

  await Promise.all(paths.map((path, n) => (n % 2 ? other : primary.writer).commit(repo, [put(path)])))

  t.same(Object.keys(await primary.tree(repo)).sort(), paths.sort())
  t.match(await referenceCheck(primary.dataDir), [{ corrupt: null, commits_reachable: 51 }])
})

t.test('library writer: when others are always quicker it gives up with HEAD_CONFLICT', async t => {
  await using primary = await Primary.make()
  const repo = await createPlain(primary)
  const catalog = onUpdateBranch(primary.catalog, async () => false)
  const writer = new LibraryWriter({ dataDir: primary.dataDir, catalog })

  await t.rejects(writer.commit(repo, [put('/x')]), { code: 'HEAD_CONFLICT' })
})

t.test('library writer: Branch never names a commit before all it refers to is on disk', { skip }, async t => {
  await using primary = await Primary.make({ fixedBlockSize: 100 })
  const repo = await createPlain(primary)
  let looks = 0
  const catalog = onUpdateBranch(primary.catalog, async (id, from, to, signal) => {
    t.ok(Object.keys(await primary.tree(id, to)).length > 0, 'the tree can be read to its last block')
    looks += 1
    return primary.catalog.updateBranch(id, from, to, signal)
  })
  const writer = new LibraryWriter({ dataDir: primary.dataDir, catalog, fixedBlockSize: 100 })
  await writer.commit(repo, [put('/a/b/c.txt', 'x'.repeat(350))])
  await writer.commit(repo, [put('/a/b/d.txt', 'y'.repeat(350)), { op: 'rename', from: '/a/b/c.txt', to: '/c.txt' }])

  t.equal(looks, 2)
  for await (const file of primary.objectFiles()) t.notMatch(file, /\.[a-zA-Z0-9]{6}$/, 'no temp file is left')
})

t.test('library writer: a rename of the library is a commit with the same tree', async t => {
  await using primary = await Primary.make({ now: () => 1_700_000_000_000 })
  const repo = await createPlain(primary)
  await primary.writer.commit(repo, [put('/x')])
  const { rootId } = await primary.commit(repo)

  await primary.writer.renameLibrary(repo, 'Two')
  await primary.writer.renameLibrary(repo, 'Three', 'in the same second')

  const commit = await primary.commit(repo)
  t.match(commit, { rootId, repoName: 'Three', repoDesc: 'in the same second' })
  t.equal((await primary.rows(repo)).info?.name, 'Three')
  await primary.writer.commit(repo, [put('/y')])
  t.equal((await primary.commit(repo)).repoName, 'Three', 'and stays')
})

t.test('library writer: in one second the head goes back to a commit that says the same', async t => {
  await using primary = await Primary.make({ now: () => 1_700_000_000_000 })
  const repo = await createPlain(primary)
  const { writer } = primary
  const rename = (from: string, to: string) => writer.commit(repo, [{ op: 'rename', from, to }])
  await writer.commit(repo, [put('/a')])
  const b = await rename('/a', '/b')
  const a = await rename('/b', '/a')

  t.equal(await rename('/a', '/b'), b)
  t.equal(await rename('/b', '/a'), a)
  t.equal((await primary.commit(repo, b)).parentId === a, false, 'the commit that was there is left as it was')
})

t.test('library writer: a merge commit has both parents and what both have', { skip }, async t => {
  await using primary = await Primary.make()
  const repo = await createPlain(primary)
  const base = await primary.writer.commit(repo, [put('/base')])
  const uploaded = await primary.writer.uploadCommit(repo, [put('/client')], { parent: base })
  const server = await primary.writer.commit(repo, [put('/server')])
  t.equal(await primary.head(repo), server, 'an uploaded commit moves no head')

  const merge = { parent: server, secondParent: uploaded, changes: [put('/client')] }
  const merged = await primary.writer.mergeCommit(repo, merge)

  t.match(await primary.commit(repo, merged), {
    parentId: server,
    secondParentId: uploaded,
    description: 'Auto merge by system',
  })
  t.match(await primary.commitText(repo, merged), '"new_merge": 1')
  t.same(Object.keys(await primary.tree(repo)).sort(), ['/base', '/client', '/server'])
  t.match(await referenceCheck(primary.dataDir), [{ corrupt: null, merge_commits: 1, commits_reachable: 5 }])
  await t.rejects(primary.writer.mergeCommit(repo, merge), { code: 'HEAD_CONFLICT' }, 'the head is another now')
})

for (const version of [2, 4] as const) {
  t.test(
    `library writer: blocks of an encrypted library (version ${version}) open with its password only`,
    { skip },
    async t => {
      await using primary = await Primary.make({ fixedBlockSize: 64 })
      const plain = 'p'.repeat(100)
      const repo = await primary.writer.createLibrary({
        name: 'E',
        owner: OWNER,
        encrypted: { password: 'right', version },
      })
      const head = await primary.writer.commit(repo, [put('/s.txt', plain), put('/empty', '')])

      const encryption = readEncryption(Buffer.from(await primary.commitText(repo, head)))
      if (!encryption) throw new Error('the commit does not say that the library is encrypted')
      t.match(encryption, { version, magic: /^[0-9a-f]{64}$/, key: /^[0-9a-f]{96}$/ })
      t.equal(encryption.salt?.length, version === 4 ? 64 : undefined)
      t.equal(checkPassword(repo, encryption, 'right'), true)
      t.equal(checkPassword(repo, encryption, 'wrong'), false)
      t.throws(() => openFileKey(repo, encryption, 'wrong'), { code: 'BAD_REQUEST' })
      const stored = await blocksOf(primary, repo, '/s.txt')
      t.same(
        stored.map(block => block.byteLength),
        [80, 48],
        'padded to sixteen bytes, always',
      )
      const key = openFileKey(repo, encryption, 'right')
      t.equal(stored.map(block => key.decrypt(block).toString()).join(''), plain)

      const locked = new LibraryWriter({ dataDir: primary.dataDir, catalog: primary.catalog })
      await t.rejects(locked.commit(repo, [put('/x')]), { code: 'BAD_REQUEST' })
      await t.rejects(locked.unlock(repo, 'wrong'), { code: 'BAD_REQUEST' })
      await locked.unlock(repo, 'right')
      await locked.commit(repo, [put('/x')])
      t.match(await referenceCheck(primary.dataDir), [
        { corrupt: null, encrypted: true, head_state: { files: 3, logical_bytes: 102 } },
      ])
    },
  )
}

async function blocksOf(primary: Primary, repo: RepoId, path: string): Promise<Buffer[]> {
  const root = await primary.fs(repo, (await primary.commit(repo)).rootId)
  const entry = root.type === 'dir' ? root.entries.find(e => `/${e.name}` === path) : undefined
  const file = await primary.fs(repo, entry?.id ?? '')
  return Promise.all((file.type === 'file' ? file.blocks : []).map(block => primary.block(repo, block)))
}

/** The catalog with another `updateBranch`. */
function onUpdateBranch(catalog: CatalogWriter, updateBranch: CatalogWriter['updateBranch']): CatalogWriter {
  return new Proxy(catalog, {
    get(target, key) {
      const value: unknown = key === 'updateBranch' ? updateBranch : Reflect.get(target, key, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
