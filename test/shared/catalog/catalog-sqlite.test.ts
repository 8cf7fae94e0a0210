/** The conformance suite over SQLite, and what only a file can do: be read-only, locked, replaced, no database. */

import { hash } from 'node:crypto'
import { readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { dirname } from 'node:path'
import Database from 'better-sqlite3'
import t from 'tap'
import { openCatalog, openCatalogReader } from '../../../src/shared/catalog/open-catalog.js'
import { SQLITE_SCHEMA } from '../../../src/shared/catalog/schema.js'
import { silentLog } from '../../../src/shared/log.js'
import { newCommit } from '../../primary/changes/changes-support.js'
import { compareAndSetSuite, rowsSuite } from './catalog-suite.js'
import { library, openFresh, signal, sqliteEngine } from './catalog-engines.js'
import { digestSuite, listingSuite } from './listing-suite.js'
import { openingSuite } from './opening-suite.js'
import type { CatalogReader, CatalogWriter } from '../../../src/shared/catalog/catalog.js'
import type { Bed } from './catalog-engines.js'

t.setTimeout(300_000)

digestSuite()
compareAndSetSuite(sqliteEngine, false)
rowsSuite(sqliteEngine, false)
listingSuite(sqliteEngine, false)
openingSuite(sqliteEngine, false)

const pathOf = (bed: Bed): string => (bed.config.type === 'sqlite' ? bed.config.path : '')

const EMPTY = hash('sha1', '')

/** Name, bytes and time of every file of the database; the index of a WAL is memory that happens to be a file. */
function filesOf(path: string): { name: string; digest: string; mtimeMs: number }[] {
  return readdirSync(dirname(path))
    .filter(name => !name.endsWith('-shm'))
    .sort()
    .map(name => {
      const file = `${dirname(path)}/${name}`
      return { name, digest: hash('sha1', readFileSync(file)), mtimeMs: statSync(file).mtimeMs }
    })
}

async function readEverything(reader: CatalogReader): Promise<void> {
  const heads = await reader.heads(signal)
  await reader.listing(signal)
  for (const repo of heads.keys()) {
    await reader.read(repo, signal)
    await reader.gcId(repo, signal)
  }
}

for (const mode of ['DELETE', 'TRUNCATE', 'PERSIST', 'WAL']) {
  t.test(`I10: a reader changes neither bytes nor time of the database's files (journal mode ${mode})`, async t => {
    await using bed = await sqliteEngine.empty()
    const path = pathOf(bed)
    using server = closing(new Database(path)) // as the running server has it
    server.db.pragma(`journal_mode = ${mode}`)
    server.db.exec(SQLITE_SCHEMA)
    const rows = library()
    {
      await using writer = await openCatalog(bed.config, silentLog, { create: false })
      await writer.moveHead({ rows, from: null, gcId: null }, signal)
    }
    const before = filesOf(path)
    await delay(20) // more than the resolution of a file's time
    {
      await using reader = await openCatalogReader(bed.config, silentLog)
      await readEverything(reader)
      t.equal((await reader.heads(signal)).get(rows.repo), rows.head)
    }
    t.strictSame(filesOf(path), before)
  })
}

t.test(
  'I10: of a database in WAL mode that nobody has open, a reader changes neither bytes nor time, and logs nothing',
  async t => {
    await using bed = await sqliteEngine.empty()
    const rows = library()
    {
      using server = closing(new Database(pathOf(bed)))
      server.db.pragma('journal_mode = WAL')
      await using writer = await openCatalog(bed.config, silentLog, { create: true })
      await writer.moveHead({ rows, from: null, gcId: null }, signal)
    }
    const before = filesOf(pathOf(bed))
    t.equal(before.length, 1, 'the log was folded in')
    await delay(20)
    {
      await using reader = await openCatalogReader(bed.config, silentLog)
      await readEverything(reader)
      t.equal((await reader.heads(signal)).get(rows.repo), rows.head)
    }
    const [database, log] = filesOf(pathOf(bed))
    t.strictSame(database, before[0])
    t.equal(log?.digest ?? EMPTY, EMPTY, 'SQLite may leave a log, with nothing in it')
  },
)

t.test('I10: what is opened for reading cannot write, even if it is asked to', async t => {
  await using db = await openFresh(sqliteEngine)
  const rows = library()
  await db.catalog.createLibrary(rows, signal)
  const before = filesOf(pathOf(db.bed))
  const reader = db.reader as CatalogWriter // the type forbids it; this is what holds when the type is got round

  const readOnly = { code: 'STORE_READ_ONLY' }
  await t.rejects(reader.moveHead({ rows: library(), from: null, gcId: null }, signal), readOnly)
  await t.rejects(reader.updateBranch(rows.repo, rows.head, newCommit(), signal), readOnly)
  await t.rejects(reader.setOwner(rows.repo, 'eve@example.com', signal), readOnly)

  t.strictSame(filesOf(pathOf(db.bed)), before)
})

t.test('SQLite: a reader of a file that is not there is refused, and no file is made', async t => {
  await using bed = await sqliteEngine.empty()

  await t.rejects(openCatalogReader(bed.config, silentLog), { code: 'DATABASE_DOWN' })
  await t.rejects(openCatalog(bed.config, silentLog, { create: false }), { code: 'DATABASE_DOWN' })

  t.strictSame(readdirSync(dirname(pathOf(bed))), [])
})

for (const who of ['reader', 'writer'] as const) {
  t.test(`SQLite: a ${who} refuses a file that is no database with DATABASE_SCHEMA and leaves it as it is`, async t => {
    await using bed = await sqliteEngine.empty()
    const text = 'this is not a database, although it has more bytes than the header of one: '.repeat(50)
    writeFileSync(pathOf(bed), text)

    const opening =
      who === 'reader' ? openCatalogReader(bed.config, silentLog) : openCatalog(bed.config, silentLog, { create: true })

    await t.rejects(opening, { code: 'DATABASE_SCHEMA' })
    t.equal(readFileSync(pathOf(bed), 'utf8'), text)
  })
}

t.test('SQLite: while another process holds the lock, calls wait and the event loop goes on', async t => {
  await using db = await openFresh(sqliteEngine)
  const rows = library()
  await db.catalog.createLibrary(rows, signal)
  using server = closing(new Database(pathOf(db.bed)))
  server.db.exec('BEGIN EXCLUSIVE')
  let ticks = 0
  const timer = setInterval(() => (ticks += 1), 5)
  const next = library({ repo: rows.repo })

  const opened = openCatalogReader(db.bed.config, silentLog)
  const written = db.catalog.moveHead({ rows: next, from: rows.head, gcId: null }, signal)
  const writer = openCatalog(db.bed.config, silentLog, { create: true })
  const seen = Promise.allSettled([opened, written, writer])
  await delay(300)
  t.ok(ticks > 3, `the loop went round ${ticks} times`)
  server.db.exec('COMMIT')
  clearInterval(timer)

  t.strictSame(
    (await seen).map(one => (one.status === 'rejected' ? one.reason : 'done')),
    ['done', 'done', 'done'],
  )
  await (await opened)[Symbol.asyncDispose]()
  await (await writer)[Symbol.asyncDispose]()
  t.strictSame((await db.reader.read(rows.repo, signal))?.rows, next)
})

t.test('SQLite: a wait for a lock ends when it is given up', async t => {
  await using db = await openFresh(sqliteEngine)
  using server = closing(new Database(pathOf(db.bed)))
  server.db.exec('BEGIN EXCLUSIVE')

  const started = performance.now()
  await t.rejects(db.reader.heads(AbortSignal.timeout(100)), { name: /AbortError|TimeoutError/ })

  t.ok(performance.now() - started < 5_000, 'long before the lock is given up')
})

t.test('SQLite: a database that was replaced by another file (a restored dump) is seen by the same reader', async t => {
  await using db = await openFresh(sqliteEngine)
  const rows = library()
  await db.catalog.createLibrary(rows, signal)
  await db.catalog[Symbol.asyncDispose]()
  const [path, saved] = [pathOf(db.bed), `${pathOf(db.bed)}.saved`]
  writeFileSync(saved, readFileSync(path))
  await using writer = await openCatalog({ type: 'sqlite', path: saved }, silentLog, { create: false })
  const next = newCommit()
  await writer.updateBranch(rows.repo, rows.head, next, signal)
  t.equal((await db.reader.heads(signal)).get(rows.repo), rows.head)

  renameSync(saved, path)

  t.equal((await db.reader.heads(signal)).get(rows.repo), next)
})

t.test(
  'SQLite: a file in our place that has no tables yet is DATABASE_SCHEMA, not a server without libraries',
  async t => {
    await using db = await openFresh(sqliteEngine)
    const rows = library()
    await db.catalog.createLibrary(rows, signal)
    await db.catalog[Symbol.asyncDispose]()
    const path = pathOf(db.bed)
    const bytes = readFileSync(path)
    rmSync(path)
    writeFileSync(path, '') // as sqlite3 makes it before it reads a dump

    await t.rejects(db.reader.listing(signal), { code: 'DATABASE_SCHEMA', message: /Repo and Branch/ })
    await t.rejects(db.reader.read(rows.repo, signal), { code: 'DATABASE_SCHEMA' })
    await t.rejects(db.reader.heads(signal), { code: 'DATABASE_SCHEMA' })
    writeFileSync(path, bytes)

    t.match(await db.reader.listing(signal), [{ repo: rows.repo, head: rows.head }])
  },
)

t.test('SQLite: a database that is gone is DATABASE_DOWN, and the same reader works when it is back', async t => {
  await using db = await openFresh(sqliteEngine)
  const rows = library()
  await db.catalog.createLibrary(rows, signal)
  await db.catalog[Symbol.asyncDispose]()
  const path = pathOf(db.bed)
  const bytes = readFileSync(path)
  rmSync(path)

  await t.rejects(db.reader.heads(signal), { code: 'DATABASE_DOWN' })
  await t.rejects(db.reader.read(rows.repo, signal), { code: 'DATABASE_DOWN' })
  writeFileSync(path, bytes)

  t.equal((await db.reader.heads(signal)).get(rows.repo), rows.head)
})

t.test(
  'SQLite: the version stays while nobody commits, and is another after each commit and in another file',
  async t => {
    await using db = await openFresh(sqliteEngine)
    const { catalog, reader } = db
    const rows = library()
    const versions = [await reader.version(signal)]
    const next = async () => versions.push(await reader.version(signal))
    await catalog.createLibrary(rows, signal)
    await next()
    await catalog.updateBranch(rows.repo, rows.head, newCommit(), signal)
    await next()
    await catalog[Symbol.asyncDispose]()
    const bytes = readFileSync(pathOf(db.bed))
    rmSync(pathOf(db.bed))
    writeFileSync(pathOf(db.bed), bytes)
    await next()

    t.equal(new Set(versions).size, 4, versions.join(' '))
    await readEverything(reader)
    t.equal(await reader.version(signal), versions.at(-1))
  },
)

t.test('SQLite: a table of seaf-gc that appears while nobody looks is read with the next library', async t => {
  await using db = await openFresh(sqliteEngine)
  const rows = library()
  await db.catalog.createLibrary(rows, signal)
  t.equal((await db.reader.read(rows.repo, signal))?.gcId, null)
  t.equal((await db.reader.read(rows.repo, signal))?.gcId, null)

  await db.bed.sql(
    'CREATE TABLE GCID (repo_id CHAR(36) PRIMARY KEY, gc_id CHAR(36))',
    `INSERT INTO GCID VALUES ('${rows.repo}', 'gc 1')`,
  )

  t.equal((await db.reader.read(rows.repo, signal))?.gcId, 'gc 1')
})

t.test('SQLite: an id in upper-case hex or with a space at the end, which no query finds, is no library', async t => {
  await using db = await openFresh(sqliteEngine)
  const rows = library()
  await db.catalog.createLibrary(rows, signal)
  for (const write of [(id: string) => id.toUpperCase(), (id: string) => `${id} `]) {
    const { repo, head } = library()
    await db.bed.sql(
      `INSERT INTO Repo (repo_id) VALUES ('${write(repo)}')`,
      `INSERT INTO Branch (name, repo_id, commit_id) VALUES ('master', '${write(repo)}', '${head}')`,
    )
  }

  t.match(await db.reader.listing(signal), [{ repo: rows.repo, head: rows.head }])
  t.equal((await db.reader.listing(signal)).length, 1)
  t.strictSame([...(await db.reader.heads(signal))], [[rows.repo, rows.head]])
})

function closing(db: Database.Database): Disposable & { readonly db: Database.Database } {
  return { db, [Symbol.dispose]: () => void db.close() }
}
