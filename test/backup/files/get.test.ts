/** Files out of a library whose names are hostile, onto a disk that is not empty. */

import { mkdirSync, readFileSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { changesBetween } from '../../../src/backup/files/diff.js'
import { get } from '../../../src/backup/files/get.js'
import { below, entryAt, rootOf } from '../../../src/backup/files/tree.js'
import { BackupError } from '../../../src/shared/errors.js'
import { EMPTY_ID } from '../../../src/shared/ids.js'
import { REPO, TempDir } from '../../support/objects.js'
import type { LibraryAt } from '../../../src/backup/files/library-at.js'
import type { FsObject } from '../../../src/shared/seafile/objects.js'

const never = new AbortController().signal
const id = (n: number) => n.toString(16).padStart(40, '0')
const [DIR, FILE] = [0o040000, 0o100644]

interface Node {
  readonly [name: string]: string | Node
}

/** A library out of thin air: any names, as a hostile primary could have stored them. */
function libraryOf(root: Node): LibraryAt {
  const objects = new Map<string, FsObject>()
  const blocks = new Map<string, Buffer>()
  let next = 1
  const add = (node: string | Node): string => {
    const own = id(next++)
    if (typeof node === 'string') {
      const block = id(next++)
      blocks.set(block, Buffer.from(node))
      objects.set(own, { type: 'file', size: Buffer.byteLength(node), blocks: [block] as never })
    } else {
      const entries = Object.entries(node).map(([name, child]) => {
        const mode = typeof child === 'string' ? FILE : DIR
        return {
          name,
          id: add(child),
          mode,
          mtime: 1_700_000_000,
          ...(typeof child === 'string' && { size: child.length }),
        }
      })
      objects.set(own, { type: 'dir', entries: entries as never })
    }
    return own
  }
  const rootId = add(root)
  const found = <T>(map: Map<string, T>, wanted: string): T => {
    const object = map.get(wanted)
    if (!object) throw new BackupError('OBJECT_MISSING', `read ${wanted}: it is not there`)
    return object
  }
  return {
    repo: REPO,
    storeId: REPO,
    commit: { rootId, ctime: 1_700_000_000, repoId: REPO, id: id(0xabc) } as never,
    since: null,
    encryption: null,
    fs: wanted => found(objects, wanted),
    block: wanted => {
      const bytes = found(blocks, wanted)
      if (bytes.toString() === 'LOST') throw new BackupError('OBJECT_MISSING', 'read a block: it is not there')
      return bytes
    },
  }
}

const take = (library: LibraryAt, path: string, to: string, force = false) =>
  get(library, entryAt(library, path), to, { key: null, force }, () => {}, never)

t.test('get: names that lead elsewhere are skipped and said; nothing is written outside the target', async t => {
  using dir = new TempDir()
  const library = libraryOf({
    ok: 'fine',
    '..': 'up',
    '.': 'here',
    'a/b': 'below',
    '': 'none',
    'n\0l': 'nul',
    sub: { '../../x': 'out' },
  })

  const got = await take(library, '/', join(dir.path, 'target'))

  t.equal(got.files, 1)
  t.strictSame(got.skipped.map(({ path }) => path).sort(), ['/', '/.', '/..', '/a/b', '/n\0l', '/sub/../../x'].sort())
  t.strictSame(readdirSync(dir.path), ['target'])
  t.strictSame(readdirSync(join(dir.path, 'target')).sort(), ['ok', 'sub'])
})

t.test('get: no symbolic link is followed, also when told to write over what is there', async t => {
  using dir = new TempDir()
  const target = join(dir.path, 'target')
  mkdirSync(target)
  mkdirSync(join(dir.path, 'elsewhere'))
  writeFileSync(join(dir.path, 'victim'), 'mine')
  symlinkSync(join(dir.path, 'elsewhere'), join(target, 'folder'))
  symlinkSync(join(dir.path, 'victim'), join(target, 'file'))
  const library = libraryOf({ folder: { inside: 'x' }, file: 'theirs' })

  const got = await take(library, '/', target, true)

  t.match(got.skipped, [{ path: '/folder' }])
  t.strictSame(readdirSync(join(dir.path, 'elsewhere')), [])
  t.equal(readFileSync(join(dir.path, 'victim'), 'utf8'), 'mine')
  t.equal(readFileSync(join(target, 'file'), 'utf8'), 'theirs', 'the link was replaced, not what it led to')
})

t.test('get: what is there is not written over, and a file in a directory gets its own name there', async t => {
  using dir = new TempDir()
  const library = libraryOf({ docs: { 'a.txt': 'A' } })
  mkdirSync(join(dir.path, 'mine'))
  await take(library, '/docs/a.txt', join(dir.path, 'mine'))
  t.equal(readFileSync(join(dir.path, 'mine', 'a.txt'), 'utf8'), 'A')
  t.equal(Math.round(statSync(join(dir.path, 'mine', 'a.txt')).mtimeMs / 1000), 1_700_000_000)
  await t.rejects(take(library, '/docs/a.txt', join(dir.path, 'mine')), { code: 'TARGET_EXISTS' })
  await t.rejects(take(library, '/docs', join(dir.path, 'mine')), { code: 'TARGET_EXISTS' })
  const got = await take(library, '/docs', join(dir.path, 'mine'), true)
  t.match(got, { files: 1, skipped: [] })
})

t.test('get: a file with a block that is lost is skipped whole, and the others are not held up', async t => {
  using dir = new TempDir()
  const library = libraryOf({ a: 'A', lost: 'LOST', z: 'Z', deep: { er: { f: 'F' } } })

  const got = await take(library, '/', join(dir.path, 'target'))

  t.match(got, { files: 3, dirs: 3, skipped: [{ path: '/lost' }] })
  t.strictSame(readdirSync(join(dir.path, 'target')).sort(), ['a', 'deep', 'z'], 'no part of it, no temp file')
  await t.rejects(take(library, '/lost', join(dir.path, 'alone')), { code: 'OBJECT_MISSING' })
})

t.test('get: a name that cannot be written keeps its reason, leaves nothing, and holds up no other', async t => {
  using dir = new TempDir()
  const target = join(dir.path, 'target')
  mkdirSync(join(target, 'b-folder'), { recursive: true })
  const long = 'ü'.repeat(200)
  const library = libraryOf({ a: 'A', 'b-folder': 'a file here', [long]: 'too long', z: 'Z' })

  const got = await take(library, '/', target, true)

  t.strictSame(got.skipped.map(({ path }) => path).sort(), ['/b-folder', `/${long}`])
  for (const { why } of got.skipped) t.match(why, /directory|ENAMETOOLONG|too long/i)
  t.equal(got.files, 2)
  t.strictSame(readdirSync(target).sort(), ['a', 'b-folder', 'z'])
})

t.test('tree: twenty thousand levels are listed and compared without a stack', async t => {
  const LEVELS = 20_000
  const level = (wanted: string): FsObject => {
    const n = Number.parseInt(wanted, 16) % 1_000_000
    if (n >= LEVELS) return { type: 'dir', entries: [] }
    return { type: 'dir', entries: [{ name: 'd', id: id(n + 1) as never, mode: DIR, mtime: 1 }] }
  }
  const deep = (offset: number): LibraryAt => ({
    ...libraryOf({}),
    commit: { rootId: id(offset), ctime: 1, repoId: REPO, id: id(0xabc) } as never,
    fs: wanted => {
      const object = level(wanted)
      // the same shape under other ids, so that nothing is equal on both sides
      if (object.type !== 'dir' || offset < 1_000_000) return object
      return {
        type: 'dir',
        entries: object.entries.map(entry => ({
          ...entry,
          id: id(1_000_000 + Number.parseInt(entry.id, 16)) as never,
        })),
      }
    },
  })
  const [one, other] = [deep(1), deep(1_000_001)]
  let count = 0
  for (const _entry of below(one, rootOf(one))) count += 1
  t.equal(count, LEVELS - 1)
  const sides = [one, other].map(library => ({ library, entry: rootOf(library) }))
  t.strictSame([...changesBetween(sides[0] as never, sides[1] as never)], [])
})

t.test('tree: a path that is none says where it ends; empty files and folders need no object', async t => {
  const library = libraryOf({ docs: { 'a.txt': 'A' } })
  t.throws(() => entryAt(library, '/docs/b.txt'), { code: 'PATH_UNKNOWN', message: /\/docs has no b\.txt/ })
  t.throws(() => entryAt(library, '/docs/a.txt/x'), { code: 'PATH_UNKNOWN', message: /is a file/ })
  t.equal(entryAt(library, 'docs//a.txt/').path, '/docs/a.txt')
  t.strictSame(
    [...below(library, rootOf(library))].map(({ path }) => path),
    ['/docs', '/docs/a.txt'],
  )
  const empty = { ...library, commit: { ...library.commit, rootId: EMPTY_ID as never } }
  t.strictSame([...below(empty, rootOf(empty))], [])
})
