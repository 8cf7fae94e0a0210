import fc from 'fast-check'
import t from 'tap'
import { EMPTY_ID, parseBlockId } from '../../../src/shared/ids.js'
import { newBlocks, newEntries } from '../../../src/shared/seafile/tree-diff.js'
import { DIR_MODE, FILE_MODE, entry, idOf } from '../../support/objects.js'
import type { Dirent } from '../../../src/shared/seafile/objects.js'

const LINK_MODE = 0o120777
const [A, B, C] = [idOf('a'), idOf('b'), idOf('c')]

const directory = (...entries: readonly Dirent[]) => ({ type: 'dir' as const, entries })
const fileOf = (...blocks: readonly string[]) => ({
  type: 'file' as const,
  size: blocks.length,
  blocks: blocks.map(parseBlockId),
})

const someEntry = fc
  .tuple(
    fc.constantFrom('a', 'b', 'ä', '__proto__', 'constructor'),
    fc.constantFrom(A, B, C, EMPTY_ID),
    fc.constantFrom(FILE_MODE, 0o100755, DIR_MODE, LINK_MODE),
  )
  .map(([name, id, mode]) => entry(name, id, mode))
const someDir = fc.uniqueArray(someEntry, { selector: e => e.name, maxLength: 5 }).map(entries => directory(...entries))
const typeOf = (mode: number) => mode & 0o170000

t.test('tree diff: new are the entries that need an object and are not the same in the base', async t => {
  const asADifference = fc.property(someDir, fc.option(someDir, { nil: undefined }), (dir, base) => {
    const key = (e: Dirent) => JSON.stringify([e.name, e.id, typeOf(e.mode)])
    const inBase = new Set(base?.entries.map(key))
    const needed = dir.entries.filter(e => e.id !== EMPTY_ID && typeOf(e.mode) !== typeOf(LINK_MODE))
    const expected = needed.filter(e => !inBase.has(key(e))).map(e => e.id)
    return JSON.stringify(newEntries(dir, base).map(e => e.id)) === JSON.stringify(expected)
  })
  t.equal(fc.check(asADifference, { numRuns: 1_000 }).failed, false)
})

t.test('tree diff: a changed entry is compared with what stood under its name, if that is of its kind', async t => {
  const cases: Array<[string, Dirent | undefined, string | null]> = [
    ['a file that was another file', entry('x', B), B],
    ['a file whose mode alone differed', entry('x', B, 0o100755), B],
    ['a file that was a directory', entry('x', B, DIR_MODE), null],
    ['a file that was a link', entry('x', B, LINK_MODE), null],
    ['a file that was empty', entry('x', EMPTY_ID), null],
    ['a file that was called otherwise', entry('y', A), null],
    ['a file that was not there', undefined, null],
  ]
  for (const [title, before, base] of cases) {
    t.strictSame(
      newEntries(directory(entry('x', A)), directory(...(before ? [before] : []))),
      [{ id: A, kind: 'file', base }],
      title,
    )
  }
})

t.test('tree diff: a directory where the base has a file with the same id is new', async t => {
  t.strictSame(newEntries(directory(entry('x', A, DIR_MODE)), directory(entry('x', A))), [
    { id: A, kind: 'dir', base: null },
  ])
})

t.test('tree diff: against a file, or nothing, every entry that needs an object is new', async t => {
  const dir = directory(entry('x', A), entry('y', B, DIR_MODE), entry('z', EMPTY_ID), entry('l', C, LINK_MODE))
  for (const base of [undefined, fileOf(A)])
    t.strictSame(
      newEntries(dir, base).map(e => e.id),
      [A, B],
    )
})

t.test('tree diff: new blocks are those that the base lacks, each once, in the order of the file', async t => {
  const blocks = fc.array(fc.constantFrom(A, B, C, idOf('d')), { maxLength: 12 })
  const asADifference = fc.property(blocks, fc.option(blocks, { nil: undefined }), (own, base) => {
    const expected = [...new Set(own)].filter(id => !base?.includes(id))
    return JSON.stringify(newBlocks(fileOf(...own), base && fileOf(...base))) === JSON.stringify(expected)
  })
  t.equal(fc.check(asADifference, { numRuns: 1_000 }).failed, false)
})

t.test('tree diff: a directory in the base gives a file no blocks', async t => {
  t.strictSame(newBlocks(fileOf(A), directory(entry('x', A))), [A])
})
