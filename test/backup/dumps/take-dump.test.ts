/** What a hostile or broken primary may send for a dump: refused, and nothing of it kept. */

import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { zstdCompressSync } from 'node:zlib'
import t from 'tap'
import { FRAME } from '../../../src/shared/wire/frames.js'
import { DUMPED_BYTES_MAX } from '../../../src/shared/wire/dump-messages.js'
import { DumpStore } from '../../../src/backup/dumps/dump-store.js'
import { takeDump } from '../../../src/backup/dumps/take-dump.js'
import { never } from '../../support/pair.js'
import type { Test } from 'tap'
import type { Frame, FrameType } from '../../../src/shared/wire/frames.js'

const HEADER = { engine: 'mysql', server: '10.11', tool: 'mariadb-dump', databases: ['a'], absent: [] }
const SQL = 'USE `a`;\nCREATE TABLE `t` (\n);\nINSERT INTO `t` VALUES (1);\n-- Dump completed\n'
const frame = (type: FrameType, payload: Buffer): Frame => ({ type, payload })
const json = (type: FrameType, value: unknown) => frame(type, Buffer.from(JSON.stringify(value)))
const dump = json(FRAME.dump, HEADER)
const part = json(FRAME.part, { name: 'tables.sql' })
const bytes = frame(FRAME.dumped, zstdCompressSync(SQL))

async function take(t: Test, frames: readonly Frame[]) {
  const dir = await mkdtemp(join(tmpdir(), 'seaf-backup-taking-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const store = new DumpStore(dir)
  store.prepare()
  const source = {
    async dump(onFrame: (frame: Frame) => void | Promise<void>) {
      for (const frame of frames) await onFrame(frame)
    },
  }
  const taking = takeDump({ source, store, now: () => Date.UTC(2026, 10, 21) }, 'manual', () => {}, never)
  return { taking, left: () => readdir(store.dir) }
}

t.test('taking a dump: a whole one is kept with what is in it', async t => {
  const { taking, left } = await take(t, [frame(FRAME.alive, Buffer.alloc(0)), dump, part, bytes])
  t.match(await taking, { id: '20261121T000000Z', tables: [{ database: 'a', table: 't', rows: 1 }] })
  t.strictSame(await left(), ['20261121T000000Z'])
})

const bad: Readonly<Record<string, readonly Frame[]>> = {
  'nothing at all': [],
  'no part': [dump],
  'a part before the beginning': [part],
  'bytes of no part': [dump, bytes],
  'two beginnings': [dump, dump],
  'an object': [dump, part, frame(FRAME.block, Buffer.alloc(30))],
  'a name that leads upwards': [dump, json(FRAME.part, { name: '../../etc/passwd' })],
  'an absolute name': [dump, json(FRAME.part, { name: '/etc/passwd' })],
  'a name that is no text': [dump, json(FRAME.part, { name: 5 })],
  'another engine': [json(FRAME.dump, { ...HEADER, engine: 'oracle' })],
  'a thousand databases': [json(FRAME.dump, { ...HEADER, databases: Array<string>(1_000).fill('a') })],
  'too much at once': [dump, part, frame(FRAME.dumped, Buffer.alloc(DUMPED_BYTES_MAX + 1))],
  'more parts than any server has': [dump, ...Array<Frame[]>(101).fill([part, bytes]).flat()],
}
for (const [what, frames] of Object.entries(bad)) {
  t.test(`taking a dump: ${what} is refused, and nothing is kept`, async t => {
    const { taking, left } = await take(t, frames)
    await t.rejects(taking, { code: 'PROTOCOL_BROKEN' })
    t.strictSame(await left(), [])
  })
}

t.test('taking a dump: what is not the content it claims is damage, and nothing is kept', async t => {
  for (const packed of [
    Buffer.from('no zstd'),
    zstdCompressSync(SQL).subarray(0, 20),
    zstdCompressSync(SQL.slice(0, -5)),
    zstdCompressSync(''),
  ]) {
    const { taking, left } = await take(t, [dump, part, frame(FRAME.dumped, packed)])
    await t.rejects(taking, { code: 'DUMP_DAMAGED' })
    t.strictSame(await left(), [])
  }
  const sqlite = [json(FRAME.dump, { ...HEADER, engine: 'sqlite' }), part, bytes]
  const { taking, left } = await take(t, sqlite)
  await t.rejects(taking, { code: 'DUMP_DAMAGED' }, 'SQL is no SQLite database')
  t.strictSame(await left(), [])
})

t.test('taking a dump: its failure is the reason that the primary gives, without control characters', async t => {
  const failed = json(FRAME.failed, { code: 'DUMP_FAILED', message: 'run mariadb-dump: \u001b[31mno' })
  const { taking, left } = await take(t, [dump, part, bytes, failed])
  await t.rejects(taking, { code: 'DUMP_FAILED', message: /run mariadb-dump: \?\[31mno/ })
  t.strictSame(await left(), [])
})
