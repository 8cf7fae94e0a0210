/** What both catalogs must do when all libraries are read: what is in, what is left out, and the digest. */

import fc from 'fast-check'
import t from 'tap'
import { digestOf } from '../../../src/shared/catalog/library-tables.js'
import { openCatalogReader } from '../../../src/shared/catalog/open-catalog.js'
import { silentLog } from '../../../src/shared/log.js'
import { newCommit, newRepo } from '../../primary/changes/changes-support.js'
import { anyRows } from './catalog-suite.js'
import { library, openFresh, signal } from './catalog-engines.js'
import type { LibraryRows } from '../../../src/shared/catalog/catalog.js'
import type { Log } from '../../../src/shared/log.js'
import type { Engine, Headed } from './catalog-engines.js'

const many = 5_000
const repoRow = (repo: string) => `INSERT INTO Repo (repo_id) VALUES ('${repo}')`
const branchRow = (repo: string, head: string) =>
  `INSERT INTO Branch (name, repo_id, commit_id) VALUES ('master', '${repo}', '${head}')`

/** Changes one thing that a user or the server may change. */
const CHANGES: Record<string, (rows: LibraryRows) => LibraryRows> = {
  branchName: rows => ({ ...rows, branchName: `${rows.branchName ?? ''}x` }),
  owner: rows => ({ ...rows, owner: `${rows.owner ?? ''}x` }),
  fileCount: rows => ({ ...rows, fileCount: rows.fileCount === null ? 0 : null }),
  historyLimitDays: rows => ({ ...rows, historyLimitDays: rows.historyLimitDays === null ? 0 : null }),
  validSince: rows => ({ ...rows, validSince: rows.validSince === null ? 0 : null }),
  'whether it is virtual': rows => ({
    ...rows,
    virtual: rows.virtual ? null : { originRepo: newRepo(), path: '/', baseCommit: null },
  }),
  origin: rows => ({ ...rows, virtual: rows.virtual && { ...rows.virtual, originRepo: newRepo() } }),
  path: rows => ({ ...rows, virtual: rows.virtual && { ...rows.virtual, path: `${rows.virtual.path}x` } }),
  'base commit': rows => ({ ...rows, virtual: rows.virtual && { ...rows.virtual, baseCommit: newCommit() } }),
  'bytes of size': rows => ({ ...rows, size: rows.size && { ...rows.size, bytes: rows.size.bytes === 0 ? 1 : 0 } }),
  'head of size': rows => ({ ...rows, size: rows.size && { ...rows.size, head: newCommit() } }),
  'whether there is a size': rows => ({ ...rows, size: rows.size ? null : { bytes: 0, head: null } }),
  'whether there is info': rows => ({ ...rows, info: rows.info ? null : library().info }),
  name: rows => ({ ...rows, info: rows.info && { ...rows.info, name: `${rows.info.name}x` } }),
  lastModifier: rows => ({ ...rows, info: rows.info && { ...rows.info, lastModifier: `${rows.info.lastModifier}x` } }),
  type: rows => ({ ...rows, info: rows.info && { ...rows.info, type: `${rows.info.type ?? ''}x` } }),
  ...Object.fromEntries(
    (['updateTime', 'version', 'isEncrypted', 'status'] as const).map(key => [
      key,
      (rows: LibraryRows): LibraryRows => ({
        ...rows,
        info: rows.info && { ...rows.info, [key]: (rows.info[key] ?? 0) + 1 },
      }),
    ]),
  ),
}

export function digestSuite(): void {
  for (const [what, change] of Object.entries(CHANGES)) {
    t.test(`digest: rows that differ in nothing but ${what} have different digests`, t => {
      fc.assert(
        fc.property(anyRows, rows => {
          const other = change(rows)
          return JSON.stringify(other) === JSON.stringify(rows) || digestOf(other) !== digestOf(rows)
        }),
      )
      const full = library({ virtual: { originRepo: newRepo(), path: '/a', baseCommit: newCommit() } })
      t.not(digestOf(change(full)), digestOf(full))
      t.end()
    })
  }

  t.test('digest: it is 16 hex characters, and the head is not in it', t => {
    const rows = library()
    t.match(digestOf(rows), /^[0-9a-f]{16}$/)
    t.equal(digestOf({ ...rows, head: newCommit() }), digestOf(rows))
    t.equal(digestOf({ ...rows, head: null }), digestOf(rows))
    t.end()
  })
}

export function listingSuite(engine: Engine, skip: string | false): void {
  const name = (sentence: string) => `${engine.name}: ${sentence}`

  t.test(name('a library is listed with the head and the digest that reading it alone gives'), { skip }, async t => {
    await using db = await openFresh(engine)
    const samples = fc.sample(anyRows, { numRuns: 40, seed: 7 })
    const libraries = samples.map((rows): Headed => ({ ...rows, repo: newRepo() }))
    for (const rows of libraries) await db.catalog.moveHead({ rows, from: null, gcId: null }, signal)

    const listing = await db.reader.listing(signal)

    const expected = libraries.map(rows => ({ repo: rows.repo, head: rows.head, digest: digestOf(rows) }))
    const byId = (a: { repo: string }, b: { repo: string }) => (a.repo < b.repo ? -1 : 1)
    t.strictSame([...listing].sort(byId), [...expected].sort(byId))
    for (const { repo, digest } of listing) t.equal((await db.reader.read(repo, signal))?.digest, digest)
  })

  t.test(
    name('a library without a Branch row is listed and read with no head, and is not in heads'),
    { skip },
    async t => {
      await using db = await openFresh(engine)
      const repo = newRepo()
      await db.bed.sql(repoRow(repo))

      t.match(await db.reader.listing(signal), [{ repo, head: null }])
      t.strictSame((await db.reader.read(repo, signal))?.rows.head, null)
      t.equal((await db.reader.heads(signal)).size, 0)
    },
  )

  t.test(name('a Branch row without a Repo row (a deleted library) is no library'), { skip }, async t => {
    await using db = await openFresh(engine)
    const rows = library()
    await db.catalog.moveHead({ rows, from: null, gcId: null }, signal)
    await db.bed.sql(`DELETE FROM Repo WHERE repo_id = '${rows.repo}'`)

    t.strictSame(await db.reader.listing(signal), [])
    t.equal(await db.reader.read(rows.repo, signal), undefined)
    t.equal((await db.reader.heads(signal)).size, 0)
  })

  t.test(name('a branch that is not master is no head'), { skip }, async t => {
    await using db = await openFresh(engine)
    const repo = newRepo()
    await db.bed.sql(
      repoRow(repo),
      `INSERT INTO Branch (name, repo_id, commit_id) VALUES ('local', '${repo}', '${newCommit()}')`,
    )

    t.match(await db.reader.listing(signal), [{ repo, head: null }])
    t.equal((await db.reader.heads(signal)).size, 0)
    t.equal((await db.reader.read(repo, signal))?.rows.head, null)
  })

  const HEADS: Record<string, { stored: (head: string) => string; known: boolean }> = {
    'upper-case hex': { stored: head => head.toUpperCase(), known: true },
    'spaces at the end': { stored: head => `${head} `, known: true },
    'too few characters': { stored: head => head.slice(1), known: false },
    'characters that are not hex': { stored: head => `g${head.slice(1)}`, known: false },
    'nothing but zeros': { stored: () => '0'.repeat(40), known: false },
    'no characters': { stored: () => '', known: false },
  }
  for (const [what, { stored, known }] of Object.entries(HEADS)) {
    t.test(name(`a head of ${what} is ${known ? 'the head it means' : 'no head'}, everywhere`), { skip }, async t => {
      await using db = await openFresh(engine)
      const [repo, head] = [newRepo(), newCommit()]
      await db.bed.sql(repoRow(repo), branchRow(repo, stored(head)))
      const expected = known ? head : null

      t.match(await db.reader.listing(signal), [{ repo, head: expected }])
      t.equal((await db.reader.read(repo, signal))?.rows.head, expected)
      t.equal((await db.reader.heads(signal)).get(repo), expected ?? undefined)
      const rows = library({ repo })
      await db.catalog.moveHead({ rows, from: expected, gcId: null }, signal)
      t.strictSame((await db.reader.read(repo, signal))?.rows, rows, 'and it can be moved')
    })
  }

  t.test(name('rows with malformed ids are left out and logged once; the others are listed'), { skip }, async t => {
    await using bed = await openFresh(engine)
    const said: unknown[] = []
    const log: Log = { ...silentLog, warn: (...what: unknown[]) => void said.push(what) }
    await using reader = await openCatalogReader(bed.bed.config, log)
    const rows = library()
    await bed.catalog.moveHead({ rows, from: null, gcId: null }, signal)
    const bad = ['', '../../../etc', 'e6a741c3', `x${newRepo().slice(1)}`, newRepo().replaceAll('-', '')]
    for (const id of bad) await bed.bed.sql(repoRow(id), branchRow(id, newCommit()))
    await bed.bed.sql('INSERT INTO Repo (repo_id) VALUES (NULL)')

    for (let i = 0; i < 3; i++) {
      t.strictSame(
        (await reader.listing(signal)).map(one => one.repo),
        [rows.repo],
      )
      t.strictSame([...(await reader.heads(signal))], [[rows.repo, rows.head]])
    }

    t.equal(said.length, bad.length + 1, 'each is named once, however often it is met')
  })

  t.test(name(`${many} libraries are listed, each with its own rows`), { skip }, async t => {
    await using db = await openFresh(engine)
    const libraries = Array.from({ length: many }, (_, i) => ({ repo: newRepo(), head: newCommit(), i }))
    const insert = (table: string, columns: string, values: (one: (typeof libraries)[number]) => string) =>
      db.bed.sql(`INSERT INTO ${table} (${columns}) VALUES ${libraries.map(one => `(${values(one)})`).join(',')}`)
    await insert('Repo', 'repo_id', one => `'${one.repo}'`)
    await insert('Branch', 'name, repo_id, commit_id', one => `'master', '${one.repo}', '${one.head}'`)
    await insert('RepoOwner', 'repo_id, owner_id', one => `'${one.repo}', 'u${one.i}@example.com'`)
    await insert('RepoInfo', 'repo_id, name', one => `'${one.repo}', 'Library ${one.i}'`)

    const heads = await db.reader.heads(signal)
    t.equal(heads.size, many)
    t.strictSame(
      libraries.filter(one => heads.get(one.repo) !== one.head),
      [],
    )
    const listing = new Map((await db.reader.listing(signal)).map(one => [one.repo, one]))
    t.equal(listing.size, many)
    const none = {
      virtual: null,
      branchName: null,
      size: null,
      fileCount: null,
      historyLimitDays: null,
      validSince: null,
    }
    const nulls = { updateTime: null, version: null, isEncrypted: null, lastModifier: null, status: 0, type: null }
    const wrong = libraries.filter(({ repo, head, i }) => {
      const info = { name: `Library ${i}`, ...nulls }
      const digest = digestOf({ ...none, repo, head, owner: `u${i}@example.com`, info })
      const found = listing.get(repo)
      return found?.head !== head || found.digest !== digest
    })
    t.strictSame(wrong, [])
  })

  t.test(
    name('the digest is another one when the limit that counts is, the origin’s or the default, however it is read'),
    { skip },
    async t => {
      await using db = await openFresh(engine)
      const origin = library({ historyLimitDays: 90 })
      const child = library({ virtual: { originRepo: origin.repo, path: '/a', baseCommit: newCommit() } })
      for (const rows of [origin, child]) await db.catalog.moveHead({ rows, from: null, gcId: null }, signal)
      const digests = async () => {
        const listing = new Map((await db.reader.listing(signal)).map(({ repo, digest }) => [repo, digest]))
        for (const { repo } of [origin, child])
          t.equal((await db.reader.read(repo, signal))?.digest, listing.get(repo), 'alone and in the listing')
        return [listing.get(origin.repo), listing.get(child.repo)] as const
      }
      const seen = [await digests()]

      await db.catalog.setHistory(origin.repo, { limitDays: 30 }, signal)
      seen.push(await digests())
      await db.catalog.setHistory(origin.repo, { limitDays: null }, signal)
      seen.push(await digests())
      await db.bed.sql(`INSERT INTO SeafileConf (cfg_group, cfg_key, value) VALUES ('history', 'keep_days', '60')`)
      seen.push(await digests())

      for (const i of [0, 1] as const) t.equal(new Set(seen.map(pair => pair[i])).size, 4)
    },
  )

  t.test(
    name('the history rows of a virtual library are those of its origin, its valid-since its own'),
    { skip },
    async t => {
      await using db = await openFresh(engine)
      const origin = library({ historyLimitDays: 90, validSince: 5 })
      const virtual = { originRepo: origin.repo, path: '/a', baseCommit: newCommit() }
      const child = library({ virtual, historyLimitDays: 7, validSince: 6 })
      for (const rows of [origin, child]) await db.catalog.moveHead({ rows, from: null, gcId: null }, signal)
      const historyOf = async (rows: Headed) => (await db.reader.read(rows.repo, signal))?.history

      t.strictSame(await historyOf(child), { limitDays: 90, defaultDays: null, validSince: 6 })
      await db.bed.sql(`INSERT INTO SeafileConf (cfg_group, cfg_key, value) VALUES ('history', 'keep_days', '60')`)
      await db.catalog.setHistory(origin.repo, { limitDays: null }, signal)
      t.strictSame(await historyOf(child), { limitDays: null, defaultDays: 60, validSince: 6 })
      t.strictSame(await historyOf(origin), { limitDays: null, defaultDays: 60, validSince: 5 })
    },
  )
}
