import fc from 'fast-check'
import t from 'tap'
import { EMPTY_ID } from '../../../src/shared/ids.js'
import { isDirMode, isFileMode, parseCommit, parseFs } from '../../../src/shared/seafile/objects.js'

const ID = 'ab'.repeat(20)
const OTHER = 'cd'.repeat(20)
const bytes = (value: unknown) => Buffer.from(JSON.stringify(value))

const COMMIT = {
  commit_id: ID,
  repo_id: '3f1c09aa-0000-4000-8000-000000000001',
  root_id: OTHER,
  parent_id: OTHER,
  second_parent_id: null,
  ctime: 1_700_000_000,
  creator: '0'.repeat(40),
  creator_name: 'jo@example.com',
  description: 'Added "a".',
  repo_name: 'Photos',
  repo_desc: '',
  encrypted: 'true',
  version: 1,
}
const FILE = { type: 1, version: 1, size: 5, block_ids: [OTHER, ID] }
const DIRENT = { id: ID, mode: 0o100644, modifier: 'jo@example.com', mtime: 1, name: 'a', size: 5 }
const DIR = { type: 3, version: 1, dirents: [DIRENT] }

/** Every sentence that follows an object's name. None is the engine's own, none is longer than a log line should be. */
const SAYS =
  /^(is empty|is not JSON|is no JSON object|(holds commit|has |entry |names a block|not a \w+ id: ).{0,120})$/
const saysWhatIsWrong = (error: unknown) => error instanceof Error && SAYS.test(error.message)

const refusesOrParses =
  <T>(parse: (input: Buffer) => T, right: (value: T) => boolean) =>
  (input: Buffer): boolean => {
    let value: T
    try {
      value = parse(input)
    } catch (error) {
      return saysWhatIsWrong(error)
    }
    return right(value)
  }

const isId = (value: unknown) => typeof value === 'string' && /^[0-9a-f]{40}$/.test(value)
const commitOrRefusal = refusesOrParses(
  input => parseCommit(ID, input),
  commit =>
    [commit.id, commit.rootId].every(isId) &&
    [commit.parentId, commit.secondParentId].every(parent => parent === null || isId(parent)) &&
    /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(commit.repoId) &&
    Number.isSafeInteger(commit.ctime) &&
    [commit.creator, commit.description, commit.repoName, commit.repoDesc].every(text => typeof text === 'string') &&
    typeof commit.encrypted === 'boolean',
)
const fsOrRefusal = refusesOrParses(parseFs, fs =>
  fs.type === 'dir'
    ? fs.entries.every(({ name, id, mode }) => typeof name === 'string' && isId(id) && typeof mode === 'number')
    : Number.isSafeInteger(fs.size) && fs.blocks.every(id => isId(id) && id !== EMPTY_ID),
)

const NO_ID = [
  5,
  true,
  {},
  [ID],
  'x',
  ID.slice(1),
  `${ID}0`,
  ID.toUpperCase(),
  `${ID}\n`,
  '../'.repeat(14).slice(0, 40),
]

t.test('objects: any bytes and any JSON are an object or refused with what is wrong with them', async t => {
  const input = fc.oneof(fc.uint8Array(), fc.jsonValue().map(bytes)).map(some => Buffer.from(some))
  fc.assert(
    fc.property(input, some => commitOrRefusal(some) && fsOrRefusal(some)),
    { numRuns: 1_000 },
  )
  t.pass('no counterexample')
})

t.test('objects: any one field spoilt, and any one byte, gives an object or what is wrong with it', async t => {
  const field = fc.constantFrom(...Object.keys({ ...COMMIT, ...FILE, ...DIR, ...DIRENT }))
  fc.assert(
    fc.property(field, fc.jsonValue(), (name, wrong) => {
      const inside = bytes({ ...DIR, dirents: [DIRENT, { ...DIRENT, [name]: wrong }] })
      const one = { [name]: wrong }
      return (
        commitOrRefusal(bytes({ ...COMMIT, ...one })) &&
        [bytes({ ...FILE, ...one }), bytes({ ...DIR, ...one }), inside].every(fsOrRefusal)
      )
    }),
    { numRuns: 1_000 },
  )
  for (const object of [COMMIT, FILE, DIR].map(bytes)) {
    for (let at = 0; at < object.byteLength; at += 1) {
      for (const bit of [1, 2, 4, 8, 16, 32, 64, 128]) {
        const flipped = Buffer.from(object)
        flipped[at] = (object[at] as number) ^ bit
        if (!commitOrRefusal(flipped) || !fsOrRefusal(flipped)) t.fail(`byte ${at}, bit ${bit}: ${flipped.toString()}`)
      }
    }
  }
  t.pass('no counterexample')
})

t.test('objects: an object cut anywhere is refused', async t => {
  for (const object of [COMMIT, FILE, DIR].map(bytes)) {
    for (let length = 0; length < object.byteLength; length += 1) {
      const message = length === 0 ? 'is empty' : 'is not JSON'
      t.throws(() => parseCommit(ID, object.subarray(0, length)), { message })
      t.throws(() => parseFs(object.subarray(0, length)), { message })
    }
  }
})

t.test('objects: what is wrong is said in one line, however long or deep it is', async t => {
  const deep = '['.repeat(100_000) + ']'.repeat(100_000)
  const long = JSON.stringify('x\n'.repeat(1_000_000))
  const put = (object: object, name: string, json: string) =>
    Buffer.from(JSON.stringify({ ...object, [name]: '@' }).replace('"@"', () => json))
  const inDir = (dirent: Buffer) => Buffer.from(JSON.stringify(DIR).replace(JSON.stringify(DIRENT), dirent.toString()))
  for (const json of [deep, long]) {
    for (const name of ['commit_id', 'repo_id', 'root_id', 'parent_id', 'second_parent_id', 'ctime']) {
      t.throws(() => parseCommit(ID, put(COMMIT, name, json)), { message: SAYS }, `commit: ${name}`)
    }
    for (const name of ['type', 'size', 'block_ids']) {
      t.throws(() => parseFs(put(FILE, name, json)), { message: SAYS }, `file: ${name}`)
    }
    t.throws(() => parseFs(put(DIR, 'dirents', json)), { message: SAYS })
    t.throws(() => parseFs(Buffer.from(JSON.stringify(FILE).replace(`"${ID}"`, json))), { message: SAYS }, 'a block')
    for (const name of ['id', 'mode']) {
      t.throws(() => parseFs(inDir(put(DIRENT, name, json))), { message: SAYS }, `entry: ${name}`)
    }
  }
})

t.test('objects: what cannot be JSON is not quoted', async t => {
  for (const parse of [parseFs, (input: Buffer) => parseCommit(ID, input)]) {
    t.throws(() => parse(Buffer.from('secret {')), { message: /^is not JSON$/ })
  }
})

t.test('objects: a commit under the name of another is refused', async t => {
  t.throws(() => parseCommit(OTHER, bytes(COMMIT)), { message: `holds commit "${ID}"` })
  t.throws(() => parseCommit('x', bytes({ ...COMMIT, commit_id: 'x' })), { message: /^not a commit id: "x"/ })
})

t.test('objects: a commit with a malformed id, or without its library, root or time, is refused', async t => {
  for (const wrong of NO_ID) {
    for (const name of ['commit_id', 'root_id', 'parent_id', 'second_parent_id', 'repo_id']) {
      t.throws(() => parseCommit(ID, bytes({ ...COMMIT, [name]: wrong })), { message: SAYS }, `${name}: ${wrong}`)
    }
  }
  for (const name of ['commit_id', 'repo_id', 'root_id', 'ctime']) {
    for (const none of [null, undefined, '']) {
      t.throws(() => parseCommit(ID, bytes({ ...COMMIT, [name]: none })), { message: SAYS }, `${name}: ${none}`)
    }
  }
  for (const ctime of ['1', 1.5, 2 ** 53, true, [1]]) {
    t.throws(() => parseCommit(ID, bytes({ ...COMMIT, ctime })), { message: /^has ctime / }, String(ctime))
  }
})

t.test(
  'objects: a commit may have no parent, in any of the three ways it is written, and texts may be absent',
  async t => {
    for (const none of [null, undefined, '']) {
      const { parentId, secondParentId } = parseCommit(
        ID,
        bytes({ ...COMMIT, parent_id: none, second_parent_id: none }),
      )
      t.strictSame([parentId, secondParentId], [null, null])
    }
    const {
      creator: _1,
      creator_name: _2,
      description: _3,
      repo_name: _4,
      repo_desc: _5,
      encrypted: _6,
      ...bare
    } = COMMIT
    const none = { creator: '', creatorName: null, description: '', repoName: '', repoDesc: '', encrypted: false }
    t.match(parseCommit(ID, bytes(bare)), none)
    for (const [written, encrypted] of [
      ['true', true],
      [true, true],
      ['false', false],
      [false, false],
      ['', false],
    ]) {
      t.equal(parseCommit(ID, bytes({ ...COMMIT, encrypted: written })).encrypted, encrypted, JSON.stringify(written))
    }
  },
)

t.test('objects: keys that are not known, in any place, change nothing', async t => {
  const known = new Set(Object.keys({ ...COMMIT, ...FILE, ...DIR, ...DIRENT }))
  const unknown = fc.dictionary(
    fc.string().filter(key => !known.has(key)),
    fc.jsonValue(),
  )
  fc.assert(
    fc.property(unknown, extra => {
      t.strictSame(parseCommit(ID, bytes({ ...extra, ...COMMIT })), parseCommit(ID, bytes(COMMIT)))
      t.strictSame(parseFs(bytes({ ...FILE, ...extra })), { type: 'file', size: 5, blocks: [OTHER, ID] })
      const dir = parseFs(bytes({ ...extra, ...DIR, dirents: [{ ...extra, ...DIRENT }] }))
      return t.match(dir, { type: 'dir', entries: [DIRENT] })
    }),
  )
  const polluted = Buffer.from(JSON.stringify(DIR).replace('{', '{"__proto__":{"type":1,"size":1,"block_ids":[]},'))
  t.match(parseFs(polluted), { type: 'dir' })
})

t.test('objects: an fs object of another type, or whose list is none, is refused', async t => {
  for (const type of [undefined, null, 0, 2, 4, '1', '3', [3], 3.5]) {
    t.throws(() => parseFs(bytes({ ...FILE, ...DIR, type })), { message: /^has type / }, JSON.stringify(type))
  }
  for (const none of [undefined, null, {}, 'x', { length: 1, 0: ID }]) {
    t.throws(() => parseFs(bytes({ ...FILE, block_ids: none })), { message: 'has no list of block_ids' })
    t.throws(() => parseFs(bytes({ ...DIR, dirents: none })), { message: 'has no list of dirents' })
  }
})

t.test('objects: one malformed id among many is refused', async t => {
  for (const wrong of [...NO_ID, null, '']) {
    t.throws(() => parseFs(bytes({ ...FILE, block_ids: [ID, wrong, ID] })), { message: /^names a block / })
    const dirents = [DIRENT, { ...DIRENT, name: 'b', id: wrong }, DIRENT]
    t.throws(() => parseFs(bytes({ ...DIR, dirents })), { message: 'entry "b" has no well-formed id' })
  }
  t.throws(() => parseFs(bytes({ ...FILE, block_ids: [EMPTY_ID] })), { message: /^names a block / })
  t.match(parseFs(bytes({ ...DIR, dirents: [{ ...DIRENT, id: EMPTY_ID }] })), { entries: [{ id: EMPTY_ID }] })
  for (const entry of [null, 5, 'x', [DIRENT], { ...DIRENT, name: 5 }, { ...DIRENT, mode: '33188' }]) {
    t.throws(() => parseFs(bytes({ ...DIR, dirents: [entry] })), { message: SAYS }, JSON.stringify(entry))
  }
})

t.test('objects: bytes in the middle of a larger buffer are read alone', async t => {
  const one = bytes(FILE)
  const around = Buffer.concat([Buffer.from('{"a":'), one, Buffer.from('}')])
  t.strictSame(parseFs(around.subarray(5, 5 + one.byteLength)), parseFs(one))
})

t.test(
  'objects: an entry is a directory or a file by its type bits, whatever its permissions, and may be neither',
  async t => {
    fc.assert(
      fc.property(fc.nat(0o7777), permissions => {
        const kinds = [0o040000, 0o100000, 0o120000, 0o060000, 0].map(type => type | permissions)
        t.strictSame(kinds.map(isDirMode), [true, false, false, false, false])
        return t.strictSame(kinds.map(isFileMode), [false, true, false, false, false])
      }),
    )
  },
)
