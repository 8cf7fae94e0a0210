/** The conformance suite over a real MariaDB, and what only a server can do: go away, refuse, have modes. */

import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { openCatalog, openCatalogReader } from '../../../src/shared/catalog/open-catalog.js'
import { silentLog } from '../../../src/shared/log.js'
import { mariadbInstalled, startMariadb } from '../../support/mariadb.js'
import { newCommit } from '../../primary/changes/changes-support.js'
import { compareAndSetSuite, rowsSuite } from './catalog-suite.js'
import { library, mysqlEngine, openFresh, signal, sqliteEngine } from './catalog-engines.js'
import { listingSuite } from './listing-suite.js'
import { openingSuite } from './opening-suite.js'
import type { CatalogWriter } from '../../../src/shared/catalog/catalog.js'
import type { MysqlConfig } from '../../../src/shared/catalog/database-config.js'
import type { Mariadb } from '../../support/mariadb.js'
import type { Engine } from './catalog-engines.js'

t.setTimeout(300_000)
const skip = mariadbInstalled() ? false : 'mariadbd is not installed'

let shared: Mariadb | undefined
const sharedServer = (): Mariadb => {
  if (!shared) throw new Error('no server')
  return shared
}
const engine = mysqlEngine(sharedServer)
t.before(async () => {
  if (skip === false) shared = await startMariadb({ args: ['--skip-log-bin'] })
})
t.teardown(() => shared?.[Symbol.asyncDispose]())

compareAndSetSuite(engine, skip)
rowsSuite(engine, skip)
listingSuite(engine, skip)
openingSuite(engine, skip)

/** A server of the test's own, because it is stopped or has modes. */
async function own(
  ...args: string[]
): Promise<AsyncDisposable & { readonly server: Mariadb; readonly engine: Engine }> {
  const server = await startMariadb({ args })
  return { server, engine: mysqlEngine(() => server), [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
}

t.test('digest: equal rows have equal digests in SQLite and in MySQL', { skip }, async t => {
  await using mysql = await openFresh(engine)
  await using sqlite = await openFresh(sqliteEngine)
  const rows = library({ info: null, virtual: null })
  for (const next of [rows, { ...library({ repo: rows.repo }), validSince: null }]) {
    const from = (await mysql.reader.read(rows.repo, signal))?.rows.head ?? null
    for (const { catalog } of [mysql, sqlite]) await catalog.moveHead({ rows: next, from, gcId: null }, signal)
    t.strictSame(await mysql.reader.listing(signal), await sqlite.reader.listing(signal))
  }
})

for (const how of ['stop', 'kill'] as const) {
  t.test(
    `MySQL: a server that is gone (${how}) is DATABASE_DOWN; back again, the same catalog reads and writes`,
    { skip },
    async t => {
      await using at = await own()
      await using db = await openFresh(at.engine)
      const rows = library()
      await db.catalog.createLibrary(rows, signal)
      await Promise.all(Array.from({ length: 8 }, () => db.reader.heads(signal))) // every connection of the pool

      await at.server[how]()
      const down = { code: 'DATABASE_DOWN' }
      await t.rejects(db.reader.heads(signal), down)
      await t.rejects(db.reader.listing(signal), down)
      await t.rejects(db.reader.read(rows.repo, signal), down)
      await t.rejects(db.reader.gcId(rows.repo, signal), down)
      const next = library({ repo: rows.repo })
      await t.rejects(db.catalog.moveHead({ rows: next, from: rows.head, gcId: null }, signal), down)
      await t.rejects(openCatalogReader(db.bed.config, silentLog), down)

      await at.server.start()
      t.equal((await db.reader.heads(signal)).get(rows.repo), rows.head)
      await db.catalog.moveHead({ rows: next, from: rows.head, gcId: null }, signal)
      t.strictSame((await db.reader.read(rows.repo, signal))?.rows, next)
    },
  )
}

t.test('MySQL: a server that dies in the middle of a listing is DATABASE_DOWN, not waited for', { skip }, async t => {
  await using at = await own()
  await using db = await openFresh(at.engine)
  await db.catalog.createLibrary(library(), signal)
  const config = db.bed.config as MysqlConfig
  const holding = at.server.query(`USE ${config.dbName}; LOCK TABLES RepoInfo WRITE; SELECT SLEEP(100)`).catch(String)
  const waiting = async (state: string) =>
    (await at.server.query('SELECT state FROM information_schema.processlist')).includes(state)
  while (!(await waiting('User sleep'))) await delay(20)
  const listing = db.reader.listing(signal).catch((error: unknown) => error)
  while (!(await waiting('Waiting for table metadata lock'))) await delay(20)

  await at.server.kill()

  t.match(await listing, { code: 'DATABASE_DOWN' })
  t.type(await holding, 'string')
  await at.server.start()
})

t.test('MySQL: connections that broke while nobody looked are replaced; no call fails', { skip }, async t => {
  await using at = await own()
  await using db = await openFresh(at.engine)
  const rows = library()
  await db.catalog.createLibrary(rows, signal)
  await Promise.all(Array.from({ length: 8 }, () => db.reader.heads(signal)))

  await at.server.stop()
  await at.server.start()

  const all = await Promise.all(Array.from({ length: 8 }, () => db.reader.heads(signal)))
  t.strictSame(
    all.map(heads => heads.get(rows.repo)),
    Array(8).fill(rows.head),
  )
  const next = library({ repo: rows.repo })
  await db.catalog.moveHead({ rows: next, from: rows.head, gcId: null }, signal)
  t.strictSame((await db.reader.read(rows.repo, signal))?.rows, next)
})

t.test('MySQL: a read that failed half-way leaves no old snapshot behind for the next one', { skip }, async t => {
  await using db = await openFresh(engine)
  const rows = library()
  await db.catalog.createLibrary(rows, signal)
  await db.bed.sql('RENAME TABLE RepoSize TO Away')
  await t.rejects(db.reader.listing(signal), { code: 'DATABASE_SCHEMA' })
  await t.rejects(db.reader.read(rows.repo, signal), { code: 'DATABASE_SCHEMA' })
  await db.bed.sql('RENAME TABLE Away TO RepoSize')

  const next = newCommit()
  await db.catalog.updateBranch(rows.repo, rows.head, next, signal)

  t.equal((await db.reader.heads(signal)).get(rows.repo), next)
})

t.test('MySQL: a read that failed half-way holds no lock against a change of tables', { skip }, async t => {
  await using db = await openFresh(engine)
  await db.bed.sql('RENAME TABLE RepoSize TO Away')
  await t.rejects(db.reader.listing(signal), { code: 'DATABASE_SCHEMA' })

  await t.resolves(db.bed.sql('SET lock_wait_timeout = 2', 'ALTER TABLE Repo ADD COLUMN later INTEGER'))
})

t.test('MySQL: an account that may only read reads everything, and cannot write', { skip }, async t => {
  await using db = await openFresh(engine)
  const rows = library()
  await db.catalog.createLibrary(rows, signal)
  const config = db.bed.config as MysqlConfig
  await sharedServer().query(
    `CREATE OR REPLACE USER reader@localhost IDENTIFIED BY 'r'; GRANT SELECT ON ${config.dbName}.* TO reader@localhost`,
  )
  const asReader = { ...config, user: 'reader', password: 'r' }
  await using reader = await openCatalogReader(asReader, silentLog)

  t.strictSame((await reader.read(rows.repo, signal))?.rows, rows)
  t.equal((await reader.heads(signal)).get(rows.repo), rows.head)
  t.equal((await reader.listing(signal)).length, 1)
  await t.rejects((reader as CatalogWriter).setOwner(rows.repo, 'eve@example.com', signal), {
    code: 'DATABASE_REFUSED',
  })
  t.strictSame((await db.reader.read(rows.repo, signal))?.rows, rows)
})

t.test(
  'MySQL: a wrong password or a foreign database is refused, and the password is not in the message',
  { skip },
  async t => {
    await using bed = await engine.empty()
    const config = bed.config as MysqlConfig
    await sharedServer().query(`CREATE OR REPLACE USER nobody@localhost IDENTIFIED BY 'right'`)

    for (const wrong of [{ password: 'hunter2' }, { password: 'right' }]) {
      const opening = openCatalogReader({ ...config, user: 'nobody', ...wrong }, silentLog)
      await t.rejects(opening, { code: 'DATABASE_REFUSED', message: /as nobody: (?!.*(hunter2|right))/ })
    }
    await t.rejects(openCatalogReader({ ...config, dbName: 'no_such_db' }, silentLog), { code: 'DATABASE_SCHEMA' })
  },
)

for (const mode of [
  'PAD_CHAR_TO_FULL_LENGTH',
  'ANSI',
  'NO_BACKSLASH_ESCAPES',
  'ANSI,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES',
  '',
]) {
  t.test(`MySQL: under sql_mode "${mode}" rows are read as they were written, quotes and all`, { skip }, async t => {
    await using at = await own(`--sql-mode=${mode}`)
    await using db = await openFresh(at.engine)
    const info = library().info
    const virtual = { originRepo: library().repo, path: "/it's\\", baseCommit: newCommit() }
    const rows = library({ virtual, info: info && { ...info, name: `C:\\ 'x' "y"; DELETE FROM Repo; -- \\` } })
    await db.catalog.createLibrary(rows, signal)
    await db.bed.sql(`INSERT INTO GCID (repo_id, gc_id) VALUES ('${virtual.originRepo}', 'aaaa')`)

    t.strictSame((await db.reader.read(rows.repo, signal))?.rows, rows)
    t.equal((await db.reader.heads(signal)).get(rows.repo), rows.head)
    const next = { ...rows, head: newCommit() }
    await db.catalog.moveHead({ rows: next, from: rows.head, gcId: 'aaaa' }, signal)
    t.strictSame((await db.reader.read(rows.repo, signal))?.rows, next)
  })
}

t.test(
  'MySQL: ids of libraries in upper-case hex or with spaces at the end name the library they mean',
  { skip },
  async t => {
    await using db = await openFresh(engine)
    for (const write of [(id: string) => id.toUpperCase(), (id: string) => `${id} `]) {
      const { repo, head } = library()
      await db.bed.sql(
        `INSERT INTO Repo (repo_id) VALUES ('${write(repo)}')`,
        `INSERT INTO Branch (name, repo_id, commit_id) VALUES ('master', '${write(repo)}', '${head}')`,
      )

      const listed = (await db.reader.listing(signal)).find(one => one.repo === repo)
      t.equal(listed?.head, head)
      t.equal((await db.reader.heads(signal)).get(repo), head)
      t.equal((await db.reader.read(repo, signal))?.digest, listed?.digest)
      const next = library({ repo })
      await db.catalog.moveHead({ rows: next, from: head, gcId: null }, signal)
      t.strictSame((await db.reader.read(repo, signal))?.rows, next)
    }
  },
)

t.test('MySQL: tables in lower case (lower_case_table_names=1) are found', { skip }, async t => {
  await using at = await own('--lower-case-table-names=1')
  await using db = await openFresh(at.engine)
  const rows = library()
  await db.catalog.createLibrary(rows, signal)

  t.strictSame((await db.reader.read(rows.repo, signal))?.rows, rows)
})

t.test('MySQL: a writer waits for the lock of another and then sees what it did', { skip }, async t => {
  await using db = await openFresh(engine)
  await using other = await openCatalog(db.bed.config, silentLog, { create: false })
  const rows = library()
  await db.catalog.createLibrary(rows, signal)
  let [head, won] = [rows.head, 0]

  for (let i = 0; i < 20; i++) {
    const [a, b] = [newCommit(), newCommit()]
    const moves = await Promise.allSettled([
      db.catalog.moveHead({ rows: { ...rows, head: a }, from: head, gcId: null }, signal),
      other
        .updateBranch(rows.repo, head, b, signal)
        .then(moved => (moved ? undefined : Promise.reject(new Error('lost')))),
    ])
    won += moves.filter(move => move.status === 'fulfilled').length
    head = moves[0]?.status === 'fulfilled' ? a : b
    t.equal((await db.reader.heads(signal)).get(rows.repo), head)
  }
  t.equal(won, 20, 'one of two, each time')
})
