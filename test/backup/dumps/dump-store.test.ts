import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { zstdCompressSync } from 'node:zlib'
import t from 'tap'
import { DumpStore, newestWhole } from '../../../src/backup/dumps/dump-store.js'
import { readDump } from '../../../src/backup/dumps/read-dump.js'
import { never } from '../../support/pair.js'
import { flipByte } from '../../support/sides.js'
import type { Test } from 'tap'
import type { Dump } from '../../../src/backup/dumps/dump-manifest.js'

const AT = Date.parse('2026-11-21T14:03:10Z')
const DAY = 86_400_000
const SQL = Buffer.from('USE `a`;\nCREATE TABLE `t` (\n);\nINSERT INTO `t` VALUES (1),(2);\n-- Dump completed\n')

async function openStore(t: Test): Promise<DumpStore> {
  const dir = await mkdtemp(join(tmpdir(), 'seaf-backup-dumps-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const store = new DumpStore(dir, () => AT + 2 * DAY)
  store.prepare()
  return store
}

async function keep(store: DumpStore, at = AT, plain = SQL): Promise<Dump> {
  await using incoming = store.begin(at)
  const bytes = zstdCompressSync(plain)
  await incoming.nextPart()
  await incoming.write(bytes)
  await incoming.endPart()
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  const dump: Dump = {
    id: incoming.id,
    engine: 'mysql',
    server: '10.11.14-MariaDB',
    tool: 'mariadb-dump',
    databases: ['a'],
    absent: [],
    askedAt: at,
    endedAt: at + 1_000,
    cause: 'manual',
    parts: [{ name: 'tables.sql', bytes: bytes.byteLength, sha256 }],
    tables: [{ database: 'a', table: 't', rows: 2 }],
    position: { file: 'mysql-bin.000042', offset: 344 },
  }
  await incoming.complete(dump)
  return dump
}

const read = (store: DumpStore, dump: Dump) => readDump({ ...dump, dir: join(store.dir, dump.id) }, store.dir, never)

t.test('dumps: one that is given up in the middle leaves nothing, and is not listed meanwhile', async t => {
  const store = await openStore(t)
  {
    await using incoming = store.begin(AT)
    await incoming.nextPart()
    await incoming.write(Buffer.from('half'))
    t.strictSame(store.list().dumps, [])
  }
  t.strictSame(await readdir(store.dir), [])
})

t.test('dumps: what a killed daemon left is removed at its next start, and nothing else', async t => {
  const store = await openStore(t)
  const dump = await keep(store)
  for (const name of ['.incoming-20261121T150000Z', '.removing-x', '.reading-y-4194300', '.using-z-4194300'])
    await mkdir(join(store.dir, name, 'z'), { recursive: true })
  await mkdir(join(store.dir, 'somebody-elses'))
  const living = `.reading-w-${process.ppid}`
  await mkdir(join(store.dir, living))

  store.prepare()

  t.strictSame((await readdir(store.dir)).toSorted(), [dump.id, living, 'somebody-elses'].toSorted())
})

t.test('dumps: a byte that changed, a part cut short and one that is gone are found by reading', async t => {
  const store = await openStore(t)
  const harms: Record<string, (path: string) => Promise<void>> = {
    flipped: flipByte,
    'cut short': path => truncate(path, 20),
    longer: path => writeFile(path, 'x', { flag: 'a' }),
    gone: path => rm(path),
  }
  for (const [harm, act] of Object.entries(harms)) {
    const dump = await keep(store)
    t.equal((await read(store, dump)).tables[0]?.rows, 2, 'whole before')
    await act(store.partPath(dump.id, 0))
    await t.rejects(read(store, dump), { code: 'DUMP_DAMAGED' }, harm)
  }
})

t.test('dumps: SQL without the last line of the tool is damaged, whatever its checksum says', async t => {
  const store = await openStore(t)
  const dump = await keep(store, AT, SQL.subarray(0, SQL.byteLength - 10))
  await t.rejects(read(store, dump), { code: 'DUMP_DAMAGED', message: /does not end/ })
})

t.test('dumps: a manifest that is no manifest is said, and holds up no other dump', async t => {
  const store = await openStore(t)
  const [good, bad] = [await keep(store, AT), await keep(store, AT + 5_000)]
  for (const text of ['{', '[]', '{"version":2}', JSON.stringify({ ...good, version: 1 })]) {
    await writeFile(join(store.dir, bad.id, 'manifest.json'), text)
    const fresh = new DumpStore(join(store.dir, '..'))
    const { dumps, broken } = fresh.list()
    t.strictSame(
      dumps.map(({ dump }) => dump.id),
      [good.id],
      text,
    )
    t.match(broken, [{ code: 'DUMP_DAMAGED', message: new RegExp(bad.id) }])
  }
})

t.test('dumps: found by id, by a beginning that is unique, or as the latest; else said', async t => {
  const store = await openStore(t)
  t.throws(() => store.find('latest'), { code: 'DUMP_UNKNOWN' })
  const first = await keep(store, AT)
  const second = await keep(store, AT)
  const third = await keep(store, AT + DAY)
  t.equal(second.id, `${first.id}-2`, 'two in one second')
  t.equal(store.find('latest').id, third.id)
  t.equal(store.find(first.id).id, first.id, 'although another begins so')
  t.equal(store.find('20261122').id, third.id)
  t.throws(() => store.find('20261121'), { code: 'DUMP_UNKNOWN', message: /2 begin so/ })
  t.throws(() => store.find('2025'), { code: 'DUMP_UNKNOWN' })
  t.throws(() => store.find(''), { code: 'DUMP_UNKNOWN' })
  t.throws(() => store.find('../..'), { code: 'DUMP_UNKNOWN' })
})

t.test(
  'dumps: one by a clock that ran ahead comes after all others, and is the latest only where it is alone',
  async t => {
    const store = await openStore(t)
    const ahead = await keep(store, AT + 400 * DAY)
    t.equal(store.find('latest').id, ahead.id)
    const [older, newer] = [await keep(store, AT), await keep(store, AT + DAY)]
    const { dumps } = store.list()
    t.strictSame(
      dumps.map(({ dump }) => dump.id),
      [newer.id, older.id, ahead.id],
    )
    t.equal(store.find('latest').id, newer.id)
    t.equal(newestWhole(dumps)?.id, newer.id)
  },
)

t.test('dumps: what was removed is gone, and a verdict is there until then', async t => {
  const store = await openStore(t)
  const dump = await keep(store)
  await store.judge(dump.id, { at: AT, damage: 'cut' })
  t.strictSame(store.list().dumps[0]?.verdict, { at: AT, damage: 'cut' })
  store.remove(dump.id)
  t.strictSame(store.list().dumps, [])
  t.strictSame(await readdir(store.dir), [])
})

t.test('dumps: one that is let go while a command reads it can be read to its end, and is then gone', async t => {
  const store = await openStore(t)
  const dump = await keep(store)
  {
    using held = store.hold(dump)
    store.remove(dump.id)
    t.equal((await readDump({ ...dump, dir: held.dir }, store.dir, never)).tables[0]?.rows, 2)
  }
  t.strictSame(await readdir(store.dir), [])
  t.throws(() => store.hold(dump), { code: 'DUMP_DAMAGED' })
  t.strictSame(await readdir(store.dir), [])
})

t.test('dumps: nothing is made for a verdict on one that is gone', async t => {
  const store = await openStore(t)
  const dump = await keep(store)
  store.remove(dump.id)
  await store.judge(dump.id, { at: AT, damage: 'it was gone' })
  t.strictSame(await readdir(store.dir), [])
})
