import fc from 'fast-check'
import t from 'tap'
import { parseLibraryRows } from '../../../src/shared/wire/rows-codec.js'
import { libraryRows, withDeepField } from './support.js'
import type { LibraryRows } from '../../../src/shared/catalog/catalog.js'

const ID = 'ab'.repeat(20)
const FULL = {
  repo: '3f1c09aa-0000-4000-8000-000000000001',
  head: ID,
  branchName: 'master',
  virtual: { originRepo: '3f1c09bb-0000-4000-8000-000000000002', path: '/sub', baseCommit: ID },
  owner: 'jo@example.com',
  info: {
    name: 'Photos',
    updateTime: 1_700_000_000,
    version: 1,
    isEncrypted: 0,
    lastModifier: 'jo@example.com',
    status: 0,
    type: 'repo',
  },
  size: { bytes: 100, head: ID },
  fileCount: 3,
  historyLimitDays: -1,
  validSince: 0,
}

const NO_TEXT = [5, true, [], ['x'], {}, 'x'.repeat(65_536)]
const NO_INTEGER = ['5', true, 1.5, 2 ** 53, -(2 ** 53), [], [5], {}]
const NO_ID = [5, true, [], [ID], {}, '', 'x', `${ID}0`, `${ID}\n`, ID.toUpperCase(), '../..']
const NO_OBJECT = [5, true, 'x', [], [{}]]

/** Where a field is, what it must not be, how it is named when it is refused, and whether null stands for "none". */
const FIELDS: [path: string, wrong: readonly unknown[], named: RegExp, orNull?: 'or null'][] = [
  ['repo', NO_ID, /^not a library id: /],
  ['head', NO_ID, /^not a commit id: /, 'or null'],
  ['branchName', NO_TEXT, /^branchName$/, 'or null'],
  ['virtual', NO_OBJECT, /^virtual$/, 'or null'],
  ['virtual.originRepo', NO_ID, /^not a library id: /],
  ['virtual.path', NO_TEXT, /^path$/],
  ['virtual.baseCommit', NO_ID, /^not a commit id: /, 'or null'],
  ['owner', NO_TEXT, /^owner$/, 'or null'],
  ['info', NO_OBJECT, /^info$/, 'or null'],
  ['info.name', NO_TEXT, /^name$/],
  ['info.updateTime', NO_INTEGER, /^updateTime$/, 'or null'],
  ['info.version', NO_INTEGER, /^version$/, 'or null'],
  ['info.isEncrypted', NO_INTEGER, /^isEncrypted$/, 'or null'],
  ['info.lastModifier', NO_TEXT, /^lastModifier$/, 'or null'],
  ['info.status', NO_INTEGER, /^status$/, 'or null'],
  ['info.type', NO_TEXT, /^type$/, 'or null'],
  ['size', NO_OBJECT, /^size$/, 'or null'],
  ['size.bytes', NO_INTEGER, /^bytes$/],
  ['size.head', NO_TEXT, /^size\.head$/, 'or null'],
  ['fileCount', NO_INTEGER, /^fileCount$/, 'or null'],
  ['historyLimitDays', NO_INTEGER, /^historyLimitDays$/, 'or null'],
  ['validSince', NO_INTEGER, /^validSince$/, 'or null'],
]

/** A copy of `FULL` with another value at `path`; undefined: without it. */
function differing(path: string, value: unknown): object {
  const copy = structuredClone(FULL) as Record<string, unknown>
  const [first = '', second] = path.split('.')
  const inside = second === undefined ? copy : (copy[first] as Record<string, unknown>)
  const name = second ?? first
  if (value === undefined) delete inside[name]
  else inside[name] = value
  return copy
}

const at = (rows: LibraryRows, path: string) =>
  path.split('.').reduce<unknown>((value, name) => (value as Record<string, unknown>)[name], rows)

for (const [path, wrong, named, orNull] of FIELDS) {
  t.test(`rows: ${path} of the wrong type is refused by its name`, async t => {
    for (const value of wrong) {
      const refusal = { name: 'TypeError', message: named }
      t.throws(() => parseLibraryRows(differing(path, value)), refusal, JSON.stringify(value).slice(0, 40))
    }
  })

  t.test(`rows: ${path} that is absent is ${orNull ? 'null' : 'refused'}`, async t => {
    for (const none of [null, undefined]) {
      if (orNull) t.equal(at(parseLibraryRows(differing(path, none)), path), null)
      else t.throws(() => parseLibraryRows(differing(path, none)), { name: 'TypeError', message: named })
    }
  })
}

t.test('rows: the fields refused above are all there are', async t => {
  const leaves = Object.entries(FULL).flatMap(([name, value]) =>
    typeof value === 'object' ? [name, ...Object.keys(value).map(inner => `${name}.${inner}`)] : [name],
  )
  t.strictSame(leaves.sort(), FIELDS.map(([path]) => path).sort())
  t.strictSame(parseLibraryRows(FULL), FULL)
})

t.test('rows: a refusal says what was found in one short line, however long or deep that is', async t => {
  for (const field of Object.keys(FULL)) {
    const deep: unknown = JSON.parse(withDeepField(FULL, field).toString())
    t.throws(() => parseLibraryRows(deep), { name: 'TypeError', message: /^.{1,120}$/ }, field)
  }
  const long = differing('repo', 'x'.repeat(1_000_000))
  t.throws(() => parseLibraryRows(long), { name: 'TypeError', message: /^.{1,120}$/ })
})

t.test('rows: what is no object at all is refused', async t => {
  for (const value of [null, undefined, 5, 'x', true, [], [FULL]]) {
    t.throws(() => parseLibraryRows(value), { name: 'TypeError', message: /^rows$/ })
  }
})

t.test('rows: of any value, and with any one field spoilt, nothing but a TypeError is thrown', async t => {
  const refusedOrParsed = (value: unknown) => {
    try {
      parseLibraryRows(value)
    } catch (error) {
      return error instanceof TypeError && !/undefined|null/.test(error.message.replace(/: .*/, ''))
    }
    return true
  }
  const paths = fc.constantFrom(...FIELDS.map(([path]) => path))
  fc.assert(fc.property(fc.jsonValue(), refusedOrParsed))
  fc.assert(fc.property(paths, fc.jsonValue(), (path, value) => refusedOrParsed(differing(path, value))))
  t.pass('no counterexample')
})

t.test('rows: what one side writes the other reads, without columns of a newer peer', async t => {
  fc.assert(
    fc.property(libraryRows, rows => {
      const newer = { ...rows, info: rows.info && { ...rows.info, newer: 1 }, newer: { at: 1 } }
      return t.strictSame(parseLibraryRows(JSON.parse(JSON.stringify(newer))), rows)
    }),
  )
})

t.test('rows: the longest text of the database is taken', async t => {
  const name = 'x'.repeat(65_535)
  t.equal(parseLibraryRows(differing('info.name', name)).info?.name, name)
})
