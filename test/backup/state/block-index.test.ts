/** Hints about blocks: found as noted, bounded, and harmless whatever the file holds. */

import { randomBytes } from 'node:crypto'
import { mkdirSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { BlockIndex } from '../../../src/backup/state/block-index.js'
import { REPO, TempDir, idOf } from '../../support/objects.js'
import type { RepoId } from '../../../src/shared/ids.js'

const OTHER = 'ffffffff-0123-4567-89ab-cdef01234567' as RepoId

t.test('block index: what was noted is found, the latest store of each, also by another thread', async t => {
  using dir = new TempDir()
  using index = new BlockIndex(join(dir.path, 'blocks.idx'))
  using other = new BlockIndex(join(dir.path, 'blocks.idx'))
  const ids = Array.from({ length: 5_000 }, (_, n) => idOf(`block ${n}`))
  for (const id of ids) t.equal(index.find(id), undefined)
  ids.forEach((id, n) => index.note(id, n % 2 ? REPO : OTHER))
  t.equal(ids.filter((id, n) => other.find(id) !== (n % 2 ? REPO : OTHER)).length, 0)
  for (const id of ids) other.note(id, REPO)
  t.equal(ids.filter(id => index.find(id) !== REPO).length, 0)
})

t.test('block index: a bucket that is full forgets one block, and the file does not grow', async t => {
  using dir = new TempDir()
  const file = join(dir.path, 'blocks.idx')
  using index = new BlockIndex(file)
  const ids = Array.from({ length: 10 }, (_, n) => `ffffffff${idOf(`block ${n}`).slice(8)}`) // the last bucket
  for (const id of ids) {
    index.note(id, REPO)
    t.equal(index.find(id), REPO, 'the newest is known')
  }
  t.equal(ids.filter(id => index.find(id)).length, 4)
  t.ok(statSync(file).size <= 48 * 2 ** 20)
})

t.test('block index: a file of garbage, cut short, or none at all finds nothing that is no library', async t => {
  using dir = new TempDir()
  const file = join(dir.path, 'blocks.idx')
  writeFileSync(file, randomBytes(96 * 1024))
  using garbage = new BlockIndex(file)
  const ids = Array.from({ length: 1_000 }, (_, n) => `0000${idOf(`block ${n}`).slice(4)}`)
  for (const id of ids) t.match(garbage.find(id) ?? REPO, /^[0-9a-f-]{36}$/)
  garbage.note(ids[0] as string, REPO)
  t.equal(garbage.find(ids[0] as string), REPO)
  truncateSync(file, 1)
  t.equal(garbage.find(ids[0] as string), undefined)

  mkdirSync(join(dir.path, 'directory'))
  using none = new BlockIndex(join(dir.path, 'directory'))
  none.note(ids[0] as string, REPO)
  t.equal(none.find(ids[0] as string), undefined)
})
