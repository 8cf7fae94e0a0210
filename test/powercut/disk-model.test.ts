/** The modelled disk forgets what POSIX lets it forget, and nothing else. */

import t from 'tap'
import { Random } from '../kinds/random.js'
import { CrashState } from './crash-state.js'
import { DiskModel, FileNode } from './disk-model.js'
import { TraceReader } from './trace.js'
import type { Choice } from './crash-state.js'
import type { Act } from './trace.js'

const ROOT = '/disk'

/** One after another, none at the same time. */
function after(...acts: readonly Act[]): DiskModel {
  const model = new DiskModel(ROOT)
  for (const name of ['a', 'b']) model.lay(`${ROOT}/${name}`, null)
  for (const [at, act] of acts.entries()) model.apply({ ...act, begun: at, at })
  return model
}

const open = (path: string): Act => ({ kind: 'open', path: `${ROOT}/${path}`, create: true, truncate: false })
const write = (path: string, text: string | Buffer, offset = 0): Act => ({
  kind: 'write',
  path: `${ROOT}/${path}`,
  offset,
  bytes: Buffer.from(text),
})
const sync = (path: string): Act => ({ kind: 'sync', path: ROOT + (path && `/${path}`) })
const move = (from: string, path: string): Act => ({ kind: 'rename', from: `${ROOT}/${from}`, path: `${ROOT}/${path}` })
const mkdir = (path: string): Act => ({ kind: 'mkdir', path: `${ROOT}/${path}` })
const unlink = (path: string): Act => ({ kind: 'unlink', path: `${ROOT}/${path}` })

function left(model: DiskModel, choice: Choice = 'dropped', seed = 1): Record<string, string> {
  const state = new CrashState(model, choice, new Random(seed))
  return Object.fromEntries([...state.files()].map(([path, file]) => [path, state.content(file).bytes.toString()]))
}

/** Every different one among many crash states. */
function everyLeft(model: DiskModel): string[] {
  const found = new Set<string>()
  for (let seed = 0; seed < 300; seed++) found.add(JSON.stringify(left(model, 'random', seed)))
  return [...found].sort()
}

t.test('disk model: a file whose data alone was synced has lost its name', async t => {
  t.strictSame(left(after(open('a/f'), write('a/f', 'x'), sync('a/f'))), {})
})

t.test('disk model: a file whose directory alone was synced has lost its data', async t => {
  t.strictSame(left(after(open('a/f'), write('a/f', 'x'), sync('a'))), { 'a/f': '' })
})

t.test('disk model: a directory that was synced is lost with its own entry above', async t => {
  const acts = [mkdir('a/new'), open('a/new/f'), write('a/new/f', 'x'), sync('a/new/f'), sync('a/new')]
  t.strictSame(left(after(...acts)), {})
  t.strictSame(left(after(...acts, sync('a'))), { 'a/new/f': 'x' })
})

t.test('disk model: a rename that was not synced is old or new, never neither and never both', async t => {
  const acts = [open('a/f'), write('a/f', 'x'), sync('a/f'), sync('a'), move('a/f', 'b/g')]
  t.strictSame(left(after(...acts)), { 'a/f': 'x' })
  t.strictSame(everyLeft(after(...acts)), ['{"a/f":"x"}', '{"b/g":"x"}'])
  t.strictSame(everyLeft(after(...acts, sync('b'))), ['{"b/g":"x"}'])
})

t.test('disk model: a removed name comes back unless its directory was synced', async t => {
  const acts = [open('a/f'), sync('a'), unlink('a/f')]
  t.strictSame(left(after(...acts)), { 'a/f': '' })
  t.strictSame(left(after(...acts, sync('a'))), {})
})

t.test('disk model: entries of one directory are lost from the last one back, of two independently', async t => {
  t.strictSame(everyLeft(after(open('a/1'), open('a/2'))), ['{"a/1":"","a/2":""}', '{"a/1":""}', '{}'])
  t.equal(everyLeft(after(open('a/1'), open('b/2'))).length, 4)
})

t.test('disk model: a sync covers what had ended before it began', async t => {
  const model = after(open('a/f'), sync('a'))
  model.apply({ ...write('a/f', 'x'), begun: 10, at: 12 })
  model.apply({ ...sync('a/f'), begun: 11, at: 13 })
  t.strictSame(left(model), { 'a/f': '' })
  model.apply({ ...sync('a/f'), begun: 14, at: 15 })
  t.strictSame(left(model), { 'a/f': 'x' })
})

t.test('disk model: the file system synced, nothing is left to be lost', async t => {
  const acts = [mkdir('a/new'), open('a/new/f'), write('a/new/f', 'x'), move('a/new/f', 'b/g')]
  const model = after(...acts, { kind: 'syncAll' })
  t.strictSame(left(model), { 'b/g': 'x' })
  t.strictSame([model.dirtyFiles.size, model.dirtyDirectories.size], [0, 0])
})

t.test(
  'disk model: with a journal all entries up to the last sync of anything are there, without their data',
  async t => {
    const model = after(open('a/f'), write('a/f', 'x'), open('b/g'), sync('b/g'), open('b/late'))
    t.strictSame(left(model, 'journal'), { 'a/f': '', 'b/g': '' })
  },
)

t.test('disk model: an unsynced page is kept, lost, zeros beyond the old end, or torn between sectors', async t => {
  const [old, page] = [Buffer.alloc(4096, 'o'), Buffer.alloc(4096, 'n')]
  const model = after(open('a/f'), write('a/f', old), sync('a/f'), sync('a'), write('a/f', Buffer.concat([page, page])))
  const seen = new Set<string>()
  for (let seed = 0; seed < 500; seed++) {
    const content = left(model, 'random', seed)['a/f'] ?? ''
    t.ok(content.length >= 4096 && content.length % 512 === 0, `${content.length} bytes`)
    t.match(content.slice(0, 4096), /^n*o*$/, 'what was overwritten is old or new')
    t.match(content.slice(4096), /^(n*|\0*)$/, 'what is beyond is new, zeros, or not there')
    seen.add(content.replaceAll(/(.)\1*/gs, (run, byte: string) => `${JSON.stringify(byte)}x${run.length} `))
  }
  t.ok(seen.size > 20, `${seen.size} different contents`)
})

t.test('trace: a call is counted where it ends, one that failed is not, and one cut short is perhaps', async t => {
  const reader = new TraceReader(ROOT)
  const path = '\\x2f\\x64\\x69\\x73\\x6b\\x2f\\x66' // /disk/f
  const lines = [
    `7 openat(AT_FDCWD<\\x2f>, "${path}", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0600) = 5<${path}>`,
    `7 write(5<${path}>, "\\x61\\x62\\x63", 3 <unfinished ...>`,
    `8 unlink("${path}")  = -1 ENOENT (No such file or directory)`,
    '7 <... write resumed>) = 2',
    `7 write(5<${path}>, "\\x63", 1) = 1`,
    `8 fsync(5<${path}> <unfinished ...>`,
    `7 unlink("${path}" <unfinished ...>`,
    '8 <... fsync resumed>) = ?',
  ]
  for (const [at, line] of lines.entries()) reader.line(line, at)
  const { operations, perhaps } = reader.end(lines.length)
  const file = '/disk/f'
  t.strictSame(operations, [
    { kind: 'open', path: file, create: true, truncate: false, begun: 0, at: 0 },
    { kind: 'write', path: file, offset: 0, bytes: Buffer.from('ab'), begun: 1, at: 3 },
    { kind: 'write', path: file, offset: 2, bytes: Buffer.from('c'), begun: 4, at: 4 },
  ])
  t.strictSame(perhaps.map(({ kind }) => kind).sort(), ['sync', 'unlink'])
})

t.test('trace: a call that the model does not know is refused when it could change a file of ours', async t => {
  const reader = new TraceReader(ROOT)
  const call = (path: string) => `7 pwritev(5<${path}>, [{iov_base="\\x61", iov_len=1}], 1, 0) = 1`
  reader.line(call('\\x2f\\x74\\x6d\\x70'), 0)
  t.throws(() => reader.line(call('\\x2f\\x64\\x69\\x73\\x6b\\x2f\\x66'), 1), /does not know/)
})

t.test('disk model: what is under way at a cut is there or not', async t => {
  const model = after(open('a/f'), write('a/f', 'x'), sync('a/f'), sync('a'))
  const underWay = [{ ...move('a/f', 'b/g'), begun: 3, at: 9 }]
  const found = new Set<string>()
  for (let seed = 0; seed < 50; seed++) {
    const state = new CrashState(model, 'random', new Random(seed), underWay)
    found.add([...state.files()].map(([path, file]) => (file instanceof FileNode ? path : '')).join())
  }
  t.strictSame([...found].sort(), ['a/f', 'b/g'])
})
