/** What both catalogs must do when a library is written: compare-and-set, one transaction, every row. */

import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { digestOf } from '../../../src/shared/catalog/library-tables.js'
import { newCommit, newRepo } from '../../primary/changes/changes-support.js'
import { everyRow, library, openFresh, signal } from './catalog-engines.js'
import type { CatalogWriter, LibraryRows } from '../../../src/shared/catalog/catalog.js'
import type { CommitId, RepoId } from '../../../src/shared/ids.js'
import type { Engine, Headed } from './catalog-engines.js'

const conflict = { code: 'HEAD_CONFLICT' }
const gcIdOf = (repo: RepoId, gcId: string) => `INSERT INTO GCID (repo_id, gc_id) VALUES ('${repo}', '${gcId}')`
/** Seafile's SQLite schema has none. */
const GCID = 'CREATE TABLE IF NOT EXISTS GCID (repo_id CHAR(36) PRIMARY KEY, gc_id CHAR(36))'

async function create(catalog: CatalogWriter, rows = library()): Promise<Headed> {
  await catalog.moveHead({ rows, from: null, gcId: null }, signal)
  return rows
}

interface Check {
  strictSame(found: unknown, wanted: unknown): unknown
  equal(found: unknown, wanted: unknown): unknown
}
/** Throws, so that fast-check can look for a smaller example. */
const thrown: Check = { strictSame: (a, b) => assert.deepEqual(a, b), equal: (a, b) => assert.equal(a, b) }

/** Reads what was written and expects the same rows, and a digest that says so. */
async function roundTrip(check: Check, catalog: CatalogWriter, rows: Headed, from: CommitId | null): Promise<void> {
  await catalog.moveHead({ rows, from, gcId: null }, signal)
  const found = await catalog.read(rows.repo, signal)
  check.strictSame(found?.rows, rows)
  check.equal(found?.digest, digestOf(rows))
}

export function compareAndSetSuite(engine: Engine, skip: string | false): void {
  const name = (sentence: string) => `${engine.name}: ${sentence}`
  const changed = (rows: Headed): Headed => ({
    ...library({ repo: rows.repo, owner: 'eve@example.com', fileCount: 7, historyLimitDays: 1 }),
  })

  const WRONG: Record<string, (next: Headed) => CommitId | null> = {
    'another head than the recorded one': () => newCommit(),
    'no head where one is recorded': () => null,
    'the head that is to be recorded, before it is': next => next.head,
  }
  for (const [what, from] of Object.entries(WRONG)) {
    t.test(name(`a move from ${what} is refused and changes no row`), { skip }, async t => {
      await using db = await openFresh(engine)
      const old = await create(db.catalog)
      const before = await everyRow(db.bed)
      const rows = changed(old)

      await t.rejects(db.catalog.moveHead({ rows, from: from(rows), gcId: null }, signal), conflict)

      t.strictSame(await everyRow(db.bed), before)
    })
  }

  t.test(name('a move from a head of a library that is not there is refused and adds no row'), { skip }, async t => {
    await using db = await openFresh(engine)
    await create(db.catalog)
    const before = await everyRow(db.bed)

    const move = { rows: library(), from: newCommit(), gcId: null }
    await t.rejects(db.catalog.moveHead(move, signal), conflict)

    t.strictSame(await everyRow(db.bed), before)
  })

  t.test(name('of six moves of the same head at once, one is made and five are refused'), { skip }, async t => {
    await using db = await openFresh(engine)
    const old = await create(db.catalog)
    const moves = Array.from({ length: 6 }, () => changed(old))

    const done = await Promise.allSettled(
      moves.map(rows => db.catalog.moveHead({ rows, from: old.head, gcId: null }, signal)),
    )

    const won = moves.filter((_, i) => done[i]?.status === 'fulfilled')
    t.equal(won.length, 1)
    t.strictSame((await db.catalog.read(old.repo, signal))?.rows, won[0], 'all rows are of the winner')
    for (const one of done) if (one.status === 'rejected') t.match(one.reason, conflict)
  })

  t.test(
    name('of moves of many libraries at once, one that is refused and one that fails leave the others alone'),
    { skip },
    async t => {
      await using db = await openFresh(engine)
      const olds = [await create(db.catalog), await create(db.catalog), await create(db.catalog)]
      const failing = await create(db.catalog, library({ validSince: null }))
      await db.bed.sql(engine.forbid('INSERT', 'RepoValidSince'))
      const moves = olds.map((old, n) => ({
        rows: { ...changed(old), validSince: old.validSince },
        from: n === 1 ? newCommit() : old.head,
        gcId: null,
      }))
      const last = { rows: changed(failing), from: failing.head, gcId: null }

      const done = await Promise.allSettled([...moves, last].map(move => db.catalog.moveHead(move, signal)))

      t.strictSame(
        done.map(({ status }) => status),
        ['fulfilled', 'rejected', 'fulfilled', 'rejected'],
      )
      const [, refused, , failed] = done.map(one => (one.status === 'rejected' ? (one.reason as unknown) : undefined))
      t.match(refused, conflict)
      t.match(failed, { name: 'BackupError', message: /forbidden/ })
      for (const [n, old] of [...olds, failing].entries()) {
        const expected = n % 2 === 0 ? moves[n]?.rows.head : old.head
        t.equal((await db.catalog.read(old.repo, signal))?.rows.head, expected)
      }
    },
  )

  for (const [verb, table, next] of [
    ['INSERT', 'RepoValidSince', {}],
    ['UPDATE', 'RepoFileCount', {}],
    ['DELETE', 'RepoHistoryLimit', { historyLimitDays: null }],
  ] as const) {
    t.test(
      name(`when ${verb} of ${table} fails, neither the head nor any row before it has changed`),
      { skip },
      async t => {
        await using db = await openFresh(engine)
        const old = await create(db.catalog, library(verb === 'INSERT' ? { validSince: null } : {}))
        await db.bed.sql(engine.forbid(verb, table))
        const before = await everyRow(db.bed)

        const move = { rows: { ...changed(old), ...next }, from: old.head, gcId: null }
        await t.rejects(db.catalog.moveHead(move, signal), { name: 'BackupError', message: /forbidden/ })

        t.strictSame(await everyRow(db.bed), before)
        await db.bed.sql('DROP TRIGGER forbidden')
        await roundTrip(t, db.catalog, move.rows, old.head)
      },
    )
  }

  t.test(name('a move that is given up before it begins changes nothing'), { skip }, async t => {
    await using db = await openFresh(engine)
    const old = await create(db.catalog)
    const before = await everyRow(db.bed)

    const move = { rows: changed(old), from: old.head, gcId: null }
    await t.rejects(db.catalog.moveHead(move, AbortSignal.abort()), { name: 'AbortError' })

    t.strictSame(await everyRow(db.bed), before)
  })

  const GC: Record<string, { before: string | null; after: string | null }> = {
    'another GC id': { before: 'aaaaaaaa-0000', after: 'bbbbbbbb-0000' },
    'a GC id where there was none': { before: null, after: 'bbbbbbbb-0000' },
    'no GC id where there was one': { before: 'aaaaaaaa-0000', after: null },
  }
  for (const [what, { before: then, after }] of Object.entries(GC)) {
    for (const kind of ['own store', 'store of its origin']) {
      t.test(name(`the ${kind} has ${what} since the pull began: the move is refused`), { skip }, async t => {
        await using db = await openFresh(engine, GCID)
        const origin = newRepo()
        const virtual = { originRepo: origin, path: '/sub', baseCommit: newCommit() }
        const old = await create(db.catalog, library(kind === 'own store' ? {} : { virtual }))
        const store = kind === 'own store' ? old.repo : origin
        if (then) await db.bed.sql(gcIdOf(store, then))
        const gcId = (await db.catalog.read(old.repo, signal))?.gcId ?? null
        t.equal(gcId, then)
        t.equal(await db.reader.gcId(store, signal), then, 'asked for alone')

        await db.bed.sql(`DELETE FROM GCID WHERE repo_id = '${store}'`, ...(after ? [gcIdOf(store, after)] : []))
        const before = await everyRow(db.bed)
        const rows = { ...changed(old), virtual: old.virtual }
        await t.rejects(db.catalog.moveHead({ rows, from: old.head, gcId }, signal), conflict)

        t.strictSame(await everyRow(db.bed), before)
        await db.catalog.moveHead({ rows, from: old.head, gcId: after }, signal)
        t.equal((await db.catalog.heads(signal)).get(old.repo), rows.head, 'with the new id it moves')
        t.equal(await db.catalog.gcId(store, signal), after, 'GCID is left alone')
      })
    }
  }

  t.test(name('updateBranch moves the head only from the one that was read'), { skip }, async t => {
    await using db = await openFresh(engine)
    const old = await create(db.catalog)
    const next = newCommit()
    const before = await everyRow(db.bed)

    t.equal(await db.catalog.updateBranch(old.repo, newCommit(), next, signal), false)
    t.equal(await db.catalog.updateBranch(newRepo(), old.head, next, signal), false)
    t.strictSame(await everyRow(db.bed), before)

    t.equal(await db.catalog.updateBranch(old.repo, old.head, next, signal), true)
    t.strictSame((await db.catalog.read(old.repo, signal))?.rows, { ...old, head: next })
  })
}

export function rowsSuite(engine: Engine, skip: string | false): void {
  const name = (sentence: string) => `${engine.name}: ${sentence}`
  const info = library().info as NonNullable<LibraryRows['info']>
  const virtual = { originRepo: newRepo(), path: '/a/b', baseCommit: newCommit() }

  const SHAPES: Record<string, Partial<Headed>> = {
    'a row in every table': { virtual },
    'a head and nothing else': {
      branchName: null,
      owner: null,
      info: null,
      size: null,
      fileCount: null,
      historyLimitDays: null,
      validSince: null,
    },
    'info of nulls': {
      info: {
        ...info,
        updateTime: null,
        version: null,
        isEncrypted: null,
        lastModifier: null,
        status: null,
        type: null,
      },
    },
    'a size of no head': { size: { bytes: 0, head: null } },
    'a size of 8 PB less one byte': { size: { bytes: Number.MAX_SAFE_INTEGER, head: newCommit() } },
    'unlimited history': { historyLimitDays: -1, validSince: -1 },
    'no history': { historyLimitDays: 0, validSince: 0 },
    'no base commit': { virtual: { ...virtual, baseCommit: null } },
    'a type and an owner that is a group': { owner: '12@seafile_group', info: { ...info, type: 'repo' } },
    'an emoji in name and path': { info: { ...info, name: '📚 é漢' }, virtual: { ...virtual, path: '/📁/漢字' } },
    'quotes and backslashes': { info: { ...info, name: `'"\`\\'\\"; DROP TABLE Repo; -- ?%_` } },
    'a name that ends in a backslash': { info: { ...info, name: 'C:\\' } },
    'control characters': { info: { ...info, name: 'a\0b\tc\nd\re\x1af\x7f' } },
    'a name with spaces around': { info: { ...info, name: '  Papers  ' }, virtual: { ...virtual, path: '/a ' } },
    'a decomposed and a composed letter': { info: { ...info, name: 'é \u0065\u0301' } },
    'names of 255 characters': { owner: 'o'.repeat(255), info: { ...info, name: 'ü'.repeat(255) } },
  }
  for (const [what, over] of Object.entries(SHAPES)) {
    t.test(name(`a library with ${what} is read as it was written, also over another one`), { skip }, async t => {
      await using db = await openFresh(engine)
      const first = library(over)
      await roundTrip(t, db.catalog, first, null)

      const other = await create(db.catalog)
      await roundTrip(t, db.catalog, library({ ...over, repo: other.repo }), other.head)

      t.strictSame((await db.reader.read(first.repo, signal))?.rows, first, 'the first one is left alone')
    })
  }

  const DIFFERENT: Record<string, [Partial<Headed>, Partial<Headed>]> = {
    'a name that only gains a trailing space': [{ info }, { info: { ...info, name: `${info.name} ` } }],
    'a name that only changes its case': [{ info }, { info: { ...info, name: info.name.toUpperCase() } }],
    'a name that only gains an accent': [{ info }, { info: { ...info, name: 'Pápers' } }],
    'a path that only loses a trailing space': [
      { virtual: { ...virtual, path: '/a ' } },
      { virtual: { ...virtual, path: '/a' } },
    ],
  }
  for (const [what, [before, after]] of Object.entries(DIFFERENT)) {
    t.test(name(`${what} is a change and is written`), { skip }, async t => {
      await using db = await openFresh(engine)
      const old = await create(db.catalog, library(before))
      await roundTrip(t, db.catalog, { ...old, ...after }, old.head)
    })
  }

  for (const key of [
    'branchName',
    'virtual',
    'owner',
    'info',
    'size',
    'fileCount',
    'historyLimitDays',
    'validSince',
  ] as const) {
    t.test(name(`a row (${key}) that vanished on the primary is removed, and no other`), { skip }, async t => {
      await using db = await openFresh(engine)
      const [neighbour, old] = [
        await create(db.catalog, library({ virtual })),
        await create(db.catalog, library({ virtual })),
      ]

      await roundTrip(t, db.catalog, { ...old, [key]: null }, old.head)

      t.strictSame((await db.catalog.read(neighbour.repo, signal))?.rows, neighbour)
    })
  }

  t.test(name('tables of other subjects, and branches that are not master, are left alone'), { skip }, async t => {
    await using db = await openFresh(engine)
    const old = await create(db.catalog)
    const local = newCommit()
    await db.bed.sql(
      'CREATE TABLE RepoGroup (repo_id CHAR(37), group_id INTEGER)',
      `INSERT INTO RepoGroup (repo_id, group_id) VALUES ('${old.repo}', 5)`,
      `INSERT INTO Branch (name, repo_id, commit_id) VALUES ('local', '${old.repo}', '${local}')`,
    )

    await roundTrip(t, db.catalog, library({ repo: old.repo, owner: null }), old.head)

    t.strictSame(await db.bed.select('SELECT repo_id, group_id FROM RepoGroup'), [[old.repo, 5]])
    t.strictSame(await db.bed.select(`SELECT commit_id FROM Branch WHERE name = 'local'`), [[local]])
  })

  t.test(
    name('rows of a library without one in Repo are found, read and removed; one with Repo never'),
    { skip },
    async t => {
      await using db = await openFresh(engine)
      const [left, whole] = [await create(db.catalog), await create(db.catalog)]
      for (const table of ['Repo', 'Branch', 'RepoHead'])
        await db.bed.sql(`DELETE FROM ${table} WHERE repo_id = '${left.repo}'`)

      t.strictSame(await db.catalog.remnants(signal), [left.repo])
      t.match(await db.catalog.remnant(left.repo, signal), { owner: left.owner, info: left.info, head: null })
      await db.catalog.removeRows(left.repo, false, signal)
      await db.catalog.removeRows(whole.repo, false, signal)

      t.strictSame(await db.catalog.remnants(signal), [])
      t.equal((await db.catalog.remnant(left.repo, signal)).owner, null)
      t.strictSame((await db.catalog.read(whole.repo, signal))?.rows, whole)
      await db.catalog.removeRows(whole.repo, true, signal)
      t.equal(await db.catalog.read(whole.repo, signal), undefined)
    },
  )

  t.test(name('any rows are read as they were written, with the digest of what was written'), { skip }, async () => {
    await using db = await openFresh(engine)
    await fc.assert(
      fc.asyncProperty(anyRows, async rows => {
        const before = (await db.catalog.read(rows.repo, signal))?.rows.head ?? null
        await roundTrip(thrown, db.catalog, rows, before)
      }),
      { numRuns: 60 },
    )
  })
}

// texts that are trimmed on reading, because some are CHAR columns, are made without spaces at the end
const word = fc.string({ unit: 'grapheme', maxLength: 40 }).map(text => `${text}.`)
const orNull = <T>(some: fc.Arbitrary<T>) => fc.option(some, { nil: null })
const hex = (length: number) =>
  fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: length, maxLength: length })
const commit = hex(39).map(text => `1${text}` as CommitId)
const int = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })
const one = newRepo() // the same each time: one set of rows is written over another

export const anyRows: fc.Arbitrary<Headed> = fc
  .record({
    repo: fc.constant(one),
    head: commit,
    branchName: orNull(fc.constantFrom('master', 'local')),
    virtual: orNull(fc.record({ originRepo: fc.constant(newRepo()), path: word, baseCommit: orNull(commit) })),
    owner: orNull(word),
    info: orNull(
      fc.record({
        name: fc.string({ unit: 'grapheme', maxLength: 60 }),
        updateTime: orNull(fc.nat(2 ** 40)),
        version: orNull(int),
        isEncrypted: orNull(fc.constantFrom(0, 1)),
        lastModifier: orNull(word),
        status: orNull(int),
        type: orNull(fc.constantFrom('repo', 'wiki')),
      }),
    ),
    size: orNull(fc.record({ bytes: fc.maxSafeNat(), head: orNull(commit) })),
    fileCount: orNull(fc.maxSafeNat()),
    historyLimitDays: orNull(int),
    validSince: orNull(fc.integer({ min: -1, max: 2 ** 40 })),
  })
  .map(rows => structuredClone(rows)) // fast-check's own have no prototype
