/** What both catalogs must do when they meet a database: an empty one, an older one, a real one, and a writer's edits. */

import t from 'tap'
import { openCatalog, openCatalogReader } from '../../../src/shared/catalog/open-catalog.js'
import { silentLog } from '../../../src/shared/log.js'
import { expectedOf, fixturesMissing } from '../../support/fixtures.js'
import { newCommit, newRepo } from '../../primary/changes/changes-support.js'
import { everyRow, library, openFresh, signal } from './catalog-engines.js'
import type { Bed, Engine, Headed } from './catalog-engines.js'

const OPTIONAL = ['RepoHead', 'VirtualRepo', 'RepoOwner', 'RepoInfo', 'RepoSize', 'RepoFileCount'] as const
const SIDE = ['RepoHistoryLimit', 'RepoValidSince', 'SeafileConf'] as const

export function openingSuite(engine: Engine, skip: string | false): void {
  const name = (sentence: string) => `${engine.name}: ${sentence}`
  const tablesOf = async (bed: Bed): Promise<string[]> =>
    (
      await bed.select(
        engine.name === 'SQLite' ? `SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name` : 'SHOW TABLES',
      )
    ).map(row => String(row[0]))

  t.test(
    name('an empty database is refused by a reader and by a writer that may not create, and stays empty'),
    { skip },
    async t => {
      await using bed = await engine.empty()
      await bed.sql('CREATE TABLE elsewhere (x INTEGER)') // SQLite has no file before this

      await t.rejects(openCatalogReader(bed.config, silentLog), { code: 'DATABASE_SCHEMA', message: /Repo and Branch/ })
      await t.rejects(openCatalog(bed.config, silentLog, { create: false }), { code: 'DATABASE_SCHEMA' })

      t.strictSame(await tablesOf(bed), ['elsewhere'])
    },
  )

  t.test(name('an empty database gets the tables from a writer that may create, once'), { skip }, async t => {
    await using bed = await engine.empty()
    const rows = library()
    {
      await using catalog = await openCatalog(bed.config, silentLog, { create: true })
      await catalog.moveHead({ rows, from: null, gcId: null }, signal)
    }
    const tables = await tablesOf(bed)
    t.ok(tables.includes('Repo') && tables.includes('Branch') && tables.includes('RepoInfo'), tables.join())

    await using again = await openCatalog(bed.config, silentLog, { create: true })
    t.strictSame((await again.read(rows.repo, signal))?.rows, rows)
    t.strictSame(await tablesOf(bed), tables)
  })

  t.test(name('a database of which a needed table is gone is not repaired but refused'), { skip }, async t => {
    for (const table of ['Repo', 'Branch']) {
      const db = await openFresh(engine)
      await using bed = db.bed
      await db.catalog[Symbol.asyncDispose]()
      await db.reader[Symbol.asyncDispose]()
      await bed.sql(`DROP TABLE ${table}`)
      const tables = await tablesOf(bed)

      const refusal = { code: 'DATABASE_SCHEMA', message: new RegExp(`table ${table} is missing`) }
      await t.rejects(openCatalogReader(bed.config, silentLog), refusal)
      await t.rejects(openCatalog(bed.config, silentLog, { create: true }), refusal)

      t.strictSame(await tablesOf(bed), tables)
    }
  })

  for (const table of [...OPTIONAL, ...SIDE]) {
    t.test(
      name(`without the table ${table} its rows are null, and the others are read and written`),
      { skip },
      async t => {
        await using db = await openFresh(engine)
        const virtual = { originRepo: newRepo(), path: '/', baseCommit: null }
        const old = library(table === 'VirtualRepo' ? {} : { virtual })
        await db.catalog.moveHead({ rows: old, from: null, gcId: null }, signal)
        await db.bed.sql(`DROP TABLE ${table}`)
        await using catalog = await openCatalog(db.bed.config, silentLog, { create: true })
        const known = (rows: Headed): Headed => ({ ...rows, ...NULLS[table] })

        t.strictSame((await catalog.read(old.repo, signal))?.rows, known(old))
        const next = library({ repo: old.repo, virtual: old.virtual })
        await catalog.moveHead({ rows: next, from: old.head, gcId: null }, signal)

        t.strictSame((await catalog.read(old.repo, signal))?.rows, known(next))
        const listed = (await catalog.listing(signal)).map(one => [one.repo, one.digest])
        t.strictSame(listed, [[old.repo, (await catalog.read(old.repo, signal))?.digest]])
        t.notOk((await tablesOf(db.bed)).includes(table), 'the table is not made')
      },
    )
  }

  for (const [table, column] of [
    ['RepoInfo', 'type'],
    ['RepoInfo', 'status'],
    ['RepoSize', 'head_id'],
  ] as const) {
    t.test(
      name(`without the column ${table}.${column} it is null, and the others are read and written`),
      { skip },
      async t => {
        await using db = await openFresh(engine)
        const bare = library()
        if (column === 'type' && engine.name === 'SQLite') await db.bed.sql('DROP INDEX RepoInfoTypeIndex')
        await db.bed.sql(`ALTER TABLE ${table} DROP COLUMN ${column}`)
        await using catalog = await openCatalog(db.bed.config, silentLog, { create: true })
        const known = (rows: Headed): Headed => ({
          ...rows,
          info: rows.info && (table === 'RepoInfo' ? { ...rows.info, [column]: null } : rows.info),
          size: rows.size && (table === 'RepoSize' ? { ...rows.size, head: null } : rows.size),
        })

        await catalog.moveHead({ rows: bare, from: null, gcId: null }, signal)
        t.strictSame((await catalog.read(bare.repo, signal))?.rows, known(bare))
        const next = library({ repo: bare.repo, size: { bytes: 1, head: newCommit() } })
        await catalog.moveHead({ rows: next, from: bare.head, gcId: null }, signal)
        t.strictSame((await catalog.read(bare.repo, signal))?.rows, known(next))
        const listed = (await catalog.listing(signal)).map(one => [one.repo, one.digest])
        t.strictSame(listed, [[bare.repo, (await catalog.read(bare.repo, signal))?.digest]])
      },
    )
  }

  t.test(name('a table that an upgrade adds is in the next listing, and GCID in the next read'), { skip }, async t => {
    await using db = await openFresh(engine, 'DROP TABLE IF EXISTS GCID', 'ALTER TABLE RepoOwner RENAME TO Later')
    const rows = library({ owner: null })
    await db.catalog.moveHead({ rows, from: null, gcId: null }, signal)
    await using reader = await openCatalogReader(db.bed.config, silentLog)
    t.equal((await reader.read(rows.repo, signal))?.gcId, null)
    await db.bed.sql(
      'ALTER TABLE Later RENAME TO RepoOwner',
      `INSERT INTO RepoOwner (repo_id, owner_id) VALUES ('${rows.repo}', 'mo@example.com')`,
      'CREATE TABLE GCID (repo_id CHAR(36), gc_id CHAR(36))',
      `INSERT INTO GCID (repo_id, gc_id) VALUES ('${rows.repo}', 'aaaa')`,
    )

    t.equal((await reader.read(rows.repo, signal))?.gcId, 'aaaa')
    const listed = (await reader.listing(signal))[0]?.digest
    const read = await reader.read(rows.repo, signal)
    t.equal(read?.rows.owner, 'mo@example.com')
    t.equal(listed, read?.digest)
  })

  t.test(name('without the table GCID there is no GC id, and heads move'), { skip }, async t => {
    await using db = await openFresh(engine)
    await db.bed.sql('DROP TABLE IF EXISTS GCID')
    await using catalog = await openCatalog(db.bed.config, silentLog, { create: true })
    const rows = library()
    await catalog.moveHead({ rows, from: null, gcId: null }, signal)

    t.equal(await catalog.gcId(rows.repo, signal), null)
    t.equal((await catalog.read(rows.repo, signal))?.gcId, null)
    const stale = { rows: library({ repo: rows.repo }), from: rows.head, gcId: 'aaaaaaaa-0000' }
    await t.rejects(catalog.moveHead(stale, signal), { code: 'HEAD_CONFLICT' }, 'an id that vanished with its table')
  })

  t.test(name('a table GCID that appears while the catalog is open is the fence from then on'), { skip }, async t => {
    await using db = await openFresh(engine)
    await db.bed.sql('DROP TABLE IF EXISTS GCID')
    await using catalog = await openCatalog(db.bed.config, silentLog, { create: true })
    const rows = library()
    await catalog.moveHead({ rows, from: null, gcId: null }, signal)
    t.equal(await catalog.gcId(rows.repo, signal), null)

    await db.bed.sql(
      'CREATE TABLE GCID (repo_id CHAR(36) PRIMARY KEY, gc_id CHAR(36))',
      `INSERT INTO GCID VALUES ('${rows.repo}', 'aaaaaaaa-0000')`,
    )

    t.equal(await catalog.gcId(rows.repo, signal), 'aaaaaaaa-0000')
    const stale = { rows: library({ repo: rows.repo }), from: rows.head, gcId: null }
    await t.rejects(catalog.moveHead(stale, signal), { code: 'HEAD_CONFLICT' })
  })

  const noFixture = skip === false ? fixturesMissing() : skip
  t.test(
    name('a real database is opened as it is: heads, names and owners are what the server wrote'),
    { skip: noFixture },
    async t => {
      await using bed = await engine.real()
      const tables = await tablesOf(bed)
      const before = await everyRow(bed)
      const { libraries } = await expectedOf(engine.fixture)
      await using catalog = await openCatalog(bed.config, silentLog, { create: true })
      await using reader = await openCatalogReader(bed.config, silentLog)

      const heads = await reader.heads(signal)
      const listing = new Map((await reader.listing(signal)).map(one => [one.repo as string, one]))
      t.ok(libraries.length > 10)
      for (const { id, head, name, owner } of libraries) {
        const found = listing.get(id)
        t.equal(found?.head, head)
        const read = found && (await reader.read(found.repo, signal))
        t.match(read?.rows, { head, owner, info: { name } })
        t.equal(read?.digest, found?.digest)
        t.equal(found && heads.get(found.repo), head)
      }
      t.strictSame([...heads.keys()].sort(), [...listing.keys()].sort())

      t.strictSame(await tablesOf(bed), tables, 'no table is added')
      for (const [repo, head] of heads) {
        const read = await catalog.read(repo, signal)
        if (read) await catalog.moveHead({ rows: { ...read.rows, head }, from: head, gcId: read.gcId }, signal)
      }
      t.strictSame(await everyRow(bed), before, 'writing back what was read changes nothing')
    },
  )

  editsSuite(engine, skip)
}

const NULLS: Record<(typeof OPTIONAL)[number] | (typeof SIDE)[number], Partial<Headed>> = {
  RepoHead: { branchName: null },
  VirtualRepo: { virtual: null },
  RepoOwner: { owner: null },
  RepoInfo: { info: null },
  RepoSize: { size: null },
  RepoFileCount: { fileCount: null },
  RepoHistoryLimit: { historyLimitDays: null },
  RepoValidSince: { validSince: null },
  SeafileConf: {},
}

function editsSuite(engine: Engine, skip: string | false): void {
  const name = (sentence: string) => `${engine.name}: ${sentence}`

  t.test(name('an edit of one row changes that row and no other'), { skip }, async t => {
    await using db = await openFresh(engine)
    const virtual = { originRepo: newRepo(), path: '/a', baseCommit: newCommit() }
    let rows = library({ virtual })
    await db.catalog.createLibrary(rows, signal)
    const expectRows = async (what: string) =>
      t.strictSame((await db.catalog.read(rows.repo, signal))?.rows, rows, what)
    await expectRows('createLibrary')

    await db.catalog.setOwner(rows.repo, 'ann@example.com', signal)
    rows = { ...rows, owner: 'ann@example.com' }
    await expectRows('setOwner')

    await db.catalog.setHistory(rows.repo, { limitDays: null }, signal)
    rows = { ...rows, historyLimitDays: null }
    await expectRows('setHistory removes what is null and leaves what is undefined')

    await db.catalog.setHistory(rows.repo, { limitDays: 3, validSince: null }, signal)
    rows = { ...rows, historyLimitDays: 3, validSince: null }
    await expectRows('setHistory sets')

    rows = { ...rows, virtual: { ...virtual, path: '/b', baseCommit: newCommit() } }
    await db.catalog.updateVirtual(rows.repo, rows.virtual ?? virtual, signal)
    await expectRows('updateVirtual')

    const size = { bytes: 1, head: newCommit() }
    await db.catalog.updateAfterCommit(rows.repo, { info: null, size, fileCount: null }, signal)
    rows = { ...rows, size }
    await expectRows('updateAfterCommit leaves what is null')
  })

  t.test(name('createLibrary of a library that is there is refused'), { skip }, async t => {
    await using db = await openFresh(engine)
    const rows = library()
    await db.catalog.createLibrary(rows, signal)
    const before = await everyRow(db.bed)

    const again = db.catalog.createLibrary(library({ repo: rows.repo }), signal)

    await t.rejects(again, { code: 'HEAD_CONFLICT' })
    t.strictSame(await everyRow(db.bed), before)
  })

  t.test(name('an edit of one row does not touch rows that cannot be understood'), { skip }, async t => {
    await using db = await openFresh(engine)
    const rows = library({ virtual: { originRepo: newRepo(), path: '/a', baseCommit: newCommit() } })
    await db.catalog.createLibrary(rows, signal)
    await db.bed.sql(
      `UPDATE Branch SET commit_id = 'mangled' WHERE repo_id = '${rows.repo}'`,
      `UPDATE VirtualRepo SET origin_repo = 'mangled' WHERE repo_id = '${rows.repo}'`,
    )
    const before = await everyRow(db.bed)

    await db.catalog.setOwner(rows.repo, 'ann@example.com', signal)

    const { RepoOwner: _, ...others } = await everyRow(db.bed)
    const { RepoOwner: __, ...expected } = before
    t.strictSame(others, expected)
  })
}
