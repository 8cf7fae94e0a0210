/** The archive on the disk: what is promised, and what becomes of everything else. */

import { mkdtemp, readFile, readdir, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { Archive } from '../../../src/backup/binlog/archive.js'
import { archiveDir, filePath, readArchive, reachedPath, runDir } from '../../../src/backup/binlog/archive-layout.js'
import { coverageOf, skewOf } from '../../../src/backup/binlog/coverage.js'
import { letGo } from '../../../src/backup/binlog/let-go.js'
import { takeBinlog } from '../../../src/backup/binlog/take-binlog.js'
import { DumpStore } from '../../../src/backup/dumps/dump-store.js'
import { BackupError } from '../../../src/shared/errors.js'
import { encodeBinlogHeader } from '../../../src/shared/wire/binlog-messages.js'
import { FRAME } from '../../../src/shared/wire/frames.js'
import { binlogFile, event, formatDescription } from '../../support/binlog-bytes.js'
import type { Test } from 'tap'
import type { Dump } from '../../../src/backup/dumps/dump-manifest.js'
import type { BinlogSource } from '../../../src/backup/binlog/take-binlog.js'
import type { Frame } from '../../../src/shared/wire/frames.js'
import type { BinlogHeader, BinlogRequest } from '../../../src/shared/wire/binlog-messages.js'

const never = new AbortController().signal
const NAME = 'mysql-bin.000041'
const FILE = binlogFile({ checksums: true, bodies: [100, 5_000] })

async function scratch(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'seaf-backup-archive-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return dir
}

const dumpAt = (askedAt: number): Dump => ({
  id: 'x',
  engine: 'mysql',
  server: '',
  tool: '',
  databases: ['seafile_db'],
  absent: [],
  askedAt,
  endedAt: askedAt + 100,
  cause: 'manual',
  parts: [],
  tables: [],
  position: { file: NAME, offset: FILE.byteLength },
})

const header = (differs: Partial<BinlogHeader> = {}): Frame => ({
  type: FRAME.binlog,
  payload: Buffer.from(
    JSON.stringify(
      encodeBinlogHeader({
        server: { version: '10.11', id: 1 },
        serverTime: 1_700_000_100_000,
        atEnd: true,
        lost: null,
        format: null,
        zone: null,
        ...differs,
      }),
    ),
  ),
})
const file = (name: string): Frame => ({ type: FRAME.logFile, payload: Buffer.from(JSON.stringify({ name })) })
const logged = (bytes: Buffer): Frame => ({ type: FRAME.logged, payload: bytes })
/** As the server sends it to whoever begins in the middle. */
const onward = (differs: Partial<BinlogHeader> = {}): Frame =>
  header({ format: formatDescription({ checksums: true }), ...differs })
const begin = [header(), file(NAME), logged(FILE)]
const next = event({ at: FILE.byteLength, body: 900, checksums: true })

/** Gives one list of frames for each time that it is asked; an Error in it is where the line breaks. */
function sourceOf(
  ...answers: readonly (readonly (Frame | Error)[])[]
): BinlogSource & { readonly asked: BinlogRequest[] } {
  const asked: BinlogRequest[] = []
  return {
    asked,
    async binlog(request, onFrame) {
      asked.push(request)
      for (const frame of answers[asked.length - 1] ?? []) {
        if (frame instanceof Error) throw frame
        await onFrame(frame)
      }
    },
  }
}

function opened(stateDir: string): Archive {
  const archive = new Archive(stateDir)
  archive.open()
  return archive
}

const take = (archive: Archive, source: BinlogSource) =>
  takeBinlog({ source, archive, now: () => 1_700_000_200_000 }, never)

t.test('archive: what was answered is promised, and a new process goes on there', async t => {
  const stateDir = await scratch(t)
  t.match(await take(opened(stateDir), sourceOf(begin)), { atEnd: true, why: 'first' })
  const [run] = readArchive(stateDir)
  t.match(run, { run: 1, why: 'first', began: 1_700_000_200_000, server: { version: '10.11', id: 1 } })
  t.match(run?.reached, { n: 1, offset: FILE.byteLength, serverTime: 1_700_000_100_000, at: 1_700_000_200_000 })

  const source = sourceOf([onward({ serverTime: 1_700_000_105_000 }), logged(next)])
  t.match(await take(opened(stateDir), source), { why: null })
  t.strictSame(source.asked[0]?.from, { file: NAME, offset: FILE.byteLength })
  t.ok((await readFile(filePath(runDir(stateDir, 1), 1))).equals(Buffer.concat([FILE, next])))
  t.equal(readArchive(stateDir)[0]?.reached?.serverTime, 1_700_000_105_000)
})

t.test('archive: while more is to come, no later time is promised than before', async t => {
  const stateDir = await scratch(t)
  const archive = opened(stateDir)
  const [_, ...pieces] = begin
  await take(archive, sourceOf([header({ atEnd: false }), ...pieces]))
  const created = 1_700_000_000_000
  t.match(
    readArchive(stateDir)[0]?.reached,
    { serverTime: created, at: created + 100_000 },
    'that of the beginning of the file',
  )
  await take(archive, sourceOf([onward({ atEnd: false, serverTime: created + 300_000 }), logged(next)]))
  t.equal(readArchive(stateDir)[0]?.reached?.serverTime, created)
})

t.test(
  'archive: however long an answer takes, only what lies outside of that time is a skew of the clocks',
  async t => {
    const ASKED = 1_700_000_200_000
    const HEARD = ASKED + 9_000
    const TIMES = [
      { what: 'read at once, and long on its way', serverTime: ASKED + 100, skewMs: 0 },
      { what: 'read after nine seconds', serverTime: HEARD, skewMs: 0 },
      { what: 'by a clock half a second ahead', serverTime: HEARD + 500, skewMs: 0 },
      { what: 'by a clock an hour ahead', serverTime: HEARD + 3_600_000, skewMs: 3_600_000 },
      { what: 'by a clock an hour behind', serverTime: ASKED - 3_600_000, skewMs: -3_600_000 },
    ]
    for (const { what, serverTime, skewMs } of TIMES) {
      const stateDir = await scratch(t)
      let now = ASKED
      const source: BinlogSource = {
        async binlog(_request, onFrame) {
          now = HEARD
          for (const frame of [header({ serverTime }), file(NAME), logged(FILE)]) {
            await onFrame(frame)
            now += 60_000 // a slow line
          }
        },
      }
      await takeBinlog({ source, archive: opened(stateDir), now: () => now }, never)
      const [run] = readArchive(stateDir)
      t.equal(run?.began, ASKED, 'a run has begun when it was asked for')
      t.equal(run?.reached && skewOf(run.reached), skewMs, what)
    }
  },
)

const BROKEN: Record<string, readonly (Frame | Error)[]> = {
  'that breaks off': [onward(), logged(next.subarray(0, 500)), new BackupError('PRIMARY_UNREACHABLE', 'cut')],
  'that breaks off in a new file': [
    onward(),
    logged(next),
    file('b'),
    logged(FILE.subarray(0, 300)),
    new BackupError('PRIMARY_UNREACHABLE', 'cut'),
  ],
  'whose proof is wrong': [
    onward(),
    logged(next),
    file('b'),
    logged(FILE),
    new BackupError('PROTOCOL_BROKEN', 'changed on its way'),
  ],
  'that ends within an event': [onward(), logged(next.subarray(0, 500))],
  'whose file ends within an event': [onward(), logged(next.subarray(0, 500)), file('b'), logged(FILE)],
  'with a damaged event': [
    onward(),
    logged(Buffer.concat([next.subarray(0, 400), Buffer.from('?'), next.subarray(401)])),
  ],
  'that repeats an event': [onward(), logged(next), logged(next)],
  'that leaves one out': [onward(), logged(event({ at: FILE.byteLength + 20, body: 9, checksums: true }))],
  'with a file of nothing': [onward(), logged(next), file('b')],
  'with a file that is no binlog': [onward(), file('b'), logged(Buffer.from('SQLite format 3'))],
  'without its beginning': [logged(next)],
  'with two of them': [onward(), onward()],
  'with frames of something else': [onward(), { type: FRAME.dumped, payload: Buffer.alloc(4) }],
}
for (const [what, frames] of Object.entries(BROKEN)) {
  t.test(`archive: of an answer ${what} nothing is promised, and nothing is left`, async t => {
    const stateDir = await scratch(t)
    const archive = opened(stateDir)
    await take(archive, sourceOf(begin))
    const before = readArchive(stateDir)
    await t.rejects(take(archive, sourceOf(frames)), { code: /PROTOCOL_BROKEN|PRIMARY_UNREACHABLE/ })
    t.strictSame(readArchive(stateDir), before)

    archive.open()
    const dir = runDir(stateDir, 1)
    t.ok((await readFile(filePath(dir, 1))).equals(FILE))
    t.strictSame((await readdir(dir)).sort(), ['00000001.binlog', '00000001.json', 'reached.json', 'run.json'])
    await take(archive, sourceOf([onward(), logged(next)]))
    t.equal(readArchive(stateDir)[0]?.reached?.offset, FILE.byteLength + next.byteLength, 'and it goes on')
  })
}

t.test('archive: of a run of which nothing came yet, nothing is kept, and its reason is found again', async t => {
  const stateDir = await scratch(t)
  const archive = opened(stateDir)
  await take(archive, sourceOf(begin))
  const lost = [header({ lost: 'it was purged' })]
  const cut = [header(), file('c'), logged(FILE.subarray(0, 200)), new BackupError('PRIMARY_UNREACHABLE', 'cut')]
  await t.rejects(take(archive, sourceOf(lost, cut)), { code: 'PRIMARY_UNREACHABLE' })
  archive.open()
  t.equal(readArchive(stateDir).length, 1)
  t.match(await take(archive, sourceOf(lost, [header(), file('c'), logged(FILE)])), { why: 'gap: it was purged' })
  t.match(readArchive(stateDir), [{ run: 1 }, { run: 2, why: 'gap: it was purged', files: [{ name: 'c' }] }])
})

t.test('archive: another file, another server, a lost place each begin a new run', async t => {
  const GAPS: [Frame, RegExp][] = [
    [onward({ server: { version: '10.11', id: 5 } }), /server_id is 5, and was 1/],
    [header({ format: formatDescription({ checksums: true, timestamp: 1_700_000_009 }) }), /another file/],
    [header({ lost: 'unreadable', format: formatDescription({ checksums: true, serverId: 3 }) }), /another file/],
    [header(), /another file/],
    [header({ lost: 'it was purged' }), /^gap: it was purged$/],
  ]
  for (const [frame, why] of GAPS) {
    const stateDir = await scratch(t)
    const archive = opened(stateDir)
    await take(archive, sourceOf(begin))
    const source = sourceOf([frame, logged(next)], begin)
    t.match(await take(archive, source), { why })
    t.strictSame(
      source.asked.map(({ from }) => from?.offset),
      [FILE.byteLength, undefined],
    )
    t.match(
      readArchive(stateDir).map(run => run.why),
      ['first', why],
    )
  }
})

t.test('archive: a place that cannot be read in the file that is written to begins no run after the other', async t => {
  const stateDir = await scratch(t)
  const archive = opened(stateDir)
  await take(archive, sourceOf(begin))
  const unreadable = [onward({ lost: 'it is damaged there' })]
  await t.rejects(take(archive, sourceOf(unreadable, begin)), {
    code: 'BINLOG_UNAVAILABLE',
    message: /it is damaged there/,
  })
  archive.open()
  t.equal(readArchive(stateDir).length, 1)
  const rotated = [header(), file('mysql-bin.000042'), logged(FILE)]
  t.match(
    await take(archive, sourceOf(unreadable, rotated)),
    { why: 'gap: it is damaged there' },
    'it waits for the next',
  )
})

t.test('archive: an address that leads to another server each time begins no run each time', async t => {
  const stateDir = await scratch(t)
  const archive = opened(stateDir)
  const server = { version: '10.11', id: 5 }
  const others = [[onward({ server })], [header({ server }), file(NAME), logged(FILE)]]
  await take(archive, sourceOf(begin))
  await take(archive, sourceOf(...others))
  await t.rejects(take(archive, sourceOf([onward()], begin)), {
    code: 'BINLOG_UNAVAILABLE',
    message: /several servers/,
  })
  t.equal(readArchive(stateDir).length, 2)
  const later = { source: sourceOf([onward()], begin), archive, now: () => 1_700_000_260_000 }
  t.match(await takeBinlog(later, never), { why: /^gap: .*server_id is 1, and was 5/ }, 'a minute later it may be so')
})

t.test('archive: one that is damaged is left as it is, and a new run is begun', async t => {
  const HARMS: Record<string, (dir: string) => Promise<unknown>> = {
    'a file that is shorter': dir => truncate(filePath(dir, 1), 300),
    'a file that is gone': dir => rm(filePath(dir, 1)),
    'half a reached.json': dir => writeFile(reachedPath(dir), '{"version":1,"n":1'),
    'no binlog': async dir => writeFile(filePath(dir, 1), Buffer.alloc(FILE.byteLength)),
  }
  for (const [what, harm] of Object.entries(HARMS)) {
    const stateDir = await scratch(t)
    await take(opened(stateDir), sourceOf(begin))
    await harm(runDir(stateDir, 1))
    const before = (await readdir(runDir(stateDir, 1))).sort()

    const source = sourceOf(begin)
    t.match(await take(opened(stateDir), source), { why: /^gap: read the binlog archive/ }, what)
    t.equal(source.asked[0]?.from, null)
    t.strictSame((await readdir(runDir(stateDir, 1))).sort(), before)

    const runs = readArchive(stateDir)
    t.match(runs, [{ run: 1 }, { run: 2, damage: null, files: [{ n: 1 }] }], what)
    t.match(coverageOf(runs, dumpAt(1_700_000_200_000)), { run: { run: 2 } }, what)
    letGo({ stateDir, dumps: new DumpStore(stateDir), keepMs: 0, now: 1_800_000_000_000 })
    t.strictSame(await readdir(archiveDir(stateDir)), ['00000002'], `${what}: it goes when nothing needs it`)
  }
})
