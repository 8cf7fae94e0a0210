/** What is legal in a Seafile store and seldom seen, replicated by the two real processes. */

import { linkSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { deflateSync, inflateSync } from 'node:zlib'
import t from 'tap'
import { LibraryWriter } from '../../src/shared/seafile/library-writer.js'
import { byNameDescending } from '../../src/shared/seafile/encode.js'
import { mariadbInstalled } from '../support/mariadb.js'
import { DIR_MODE, FILE_MODE, entry, idOf } from '../support/objects.js'
import { ByHand, expectSame } from '../support/odd-data.js'
import { Pair } from '../support/pair.js'
import { NO_OBJECT } from '../support/raw-objects.js'
import { testDatabase } from '../support/sides.js'
import type { DatabaseConfig } from '../../src/shared/catalog/database-config.js'
import type { RepoId } from '../../src/shared/ids.js'

const OWNER = 'jo@example.com'

interface Laid {
  readonly pair: Pair
  readonly writer: LibraryWriter
  readonly hand: ByHand
  readonly repo: RepoId
}

/** A primary with one library, not yet running. */
async function lay(database?: DatabaseConfig): Promise<Laid & AsyncDisposable> {
  const pair = await Pair.lay(database ? { primary: { database } } : {})
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'Odd', owner: OWNER })
  return { pair, writer, hand: new ByHand(pair), repo, [Symbol.asyncDispose]: () => pair[Symbol.asyncDispose]() }
}

async function run({ pair }: Laid): Promise<void> {
  await pair.startPrimary()
  await pair.startBackup()
  await pair.settle()
}

const put = (path: string, content = path) => ({ op: 'put' as const, path, content: Buffer.from(content) })

const NAMES = [
  'caf\u00e9.txt',
  'cafe\u0301.txt', // the same to the eye
  '\u{1f469}\u200d\u{1f469}\u200d\u{1f467}.png',
  '\u05e9\u05dc\u05d5\u05dd \u202etxt.exe',
  '\ufb01\u2028\u2029\ufeff\ufffd\uffff\u{10ffff}',
  'tab\tline\nbell\u0007del\u007f\u0001\u001f',
  ' space before and after ',
  'back\\slash "quote" <>&?*:|',
  '-rf',
  '...',
  'CON',
  'constructor',
  '__proto__',
  'a'.repeat(255),
  '\u00fc'.repeat(127) + 'b',
  '\u{1f600}'.repeat(63) + 'abc',
]

t.test('odd: names in either normal form, of 255 bytes and with control characters arrive as they are', async t => {
  await using laid = await lay()
  const { writer, repo, pair } = laid
  await writer.commit(
    repo,
    NAMES.flatMap(name => [put(`/${name}`), put(`/in/${name}/${name}`)]),
  )
  for (const name of NAMES) await writer.createLibrary({ name, desc: name, owner: `${name}@example.com` })
  await run(laid)
  await writer.commit(repo, [put(`/in/${NAMES[1]}/more`)])
  await pair.settle()

  await expectSame(t, pair)
  t.strictSame((await pair.status()).libraries.map(l => l.name).sort(), [...NAMES, 'Odd'].sort())
})

t.test('odd: a directory of 100,000 entries arrives, and a change in it', { timeout: 120_000 }, async t => {
  await using laid = await lay()
  const { writer, hand, repo, pair } = laid
  const file = hand.putFs(repo, { type: 'file', size: 3, blocks: [hand.putBlock(repo, Buffer.from('abc')) as never] })
  const entries = Array.from({ length: 100_000 }, (_, i) => ({ ...entry(`file ${i}`, file), size: 3 }))
  const root = hand.putFs(repo, { type: 'dir', entries: entries.sort(byNameDescending) })
  await hand.commit(repo, { root_id: root })
  await run(laid)
  await writer.commit(repo, [put('/one more')])
  await pair.settle()

  await expectSame(t, pair)
})

t.test('odd: a file 60 directories down arrives, and a change of it', async t => {
  await using laid = await lay()
  const { writer, repo, pair } = laid
  const deep = Array.from({ length: 60 }, (_, i) => `/level ${i}`).join('')
  await writer.commit(repo, [put(`${deep}/file`, 'one')])
  await run(laid)
  await writer.commit(repo, [put(`${deep}/file`, 'two')])
  await pair.settle()

  await expectSame(t, pair)
})

t.test('odd: a file of 20,000 blocks arrives, and one changed block alone is copied then', async t => {
  await using laid = await lay()
  const { repo, pair } = laid
  const writer = new LibraryWriter({
    dataDir: pair.primary.dataDir,
    catalog: await pair.catalog(),
    fixedBlockSize: 4,
  })
  const content = Buffer.alloc(80_000)
  for (let i = 0; i < 20_000; i++) content.writeUInt32LE(i % 5_000, i * 4)
  await writer.commit(repo, [{ op: 'put', path: '/blocks', content }])
  await run(laid)
  content.writeUInt32LE(4_000_000_000, 40_000)
  await writer.commit(repo, [{ op: 'put', path: '/blocks', content }])
  await pair.settle()

  await expectSame(t, pair)
})

t.test('odd: an empty library, an empty file and an empty directory arrive; no object stands for them', async t => {
  await using laid = await lay()
  const { writer, hand, repo, pair } = laid
  const other = await writer.createLibrary({ name: 'With empty things', owner: OWNER })
  await writer.commit(other, [put('/empty file', ''), { op: 'mkdir', path: '/empty directory' }])
  const emptied = await writer.createLibrary({ name: 'Emptied', owner: OWNER })
  await writer.commit(emptied, [put('/a')])
  await writer.commit(emptied, [{ op: 'remove', path: '/a' }])
  await run(laid)

  await expectSame(t, pair)
  t.notOk(hand.objects.has('fs', other, NO_OBJECT))
  t.equal((await pair.libraryAtRest(repo))?.state, 'synchronized')
})

t.test('odd: commits of both servers and ids that neither would give stand in one history', async t => {
  await using laid = await lay()
  const { writer, hand, repo, pair } = laid
  await writer.commit(repo, [put('/c')], { clientForm: 'c' })
  await writer.commit(repo, [put('/go <&>')], { clientForm: 'go' })
  await hand.commit(repo, { description: 'by nobody' })
  await run(laid)
  await writer.commit(repo, [put('/go again')], { clientForm: 'go' })
  await hand.commit(repo, { description: 'by nobody again' })
  await pair.settle()

  await expectSame(t, pair)
})

t.test(
  'odd: commits with unknown keys, no names, or a description that is not UTF-8 are copied as they are',
  async t => {
    await using laid = await lay()
    const { writer, hand, repo, pair } = laid
    await writer.commit(repo, [put('/a')])
    await hand.commit(repo, { labels: ['x', { deep: [null, 1.5] }], commit_flags: 7, version: 1, repaired: 1 })
    await hand.commit(repo, { creator_name: undefined, repo_desc: undefined, repo_category: '' })
    const broken = await hand.commit(repo, { description: 'Added "@@"' }, json =>
      Buffer.from(JSON.stringify(json).replace('@@', '\u00ff\u00fe\u00e9'), 'latin1'),
    )
    await writer.commit(repo, [put('/b')]) // for the independent reader cannot read such a head
    await run(laid)

    const bytes = readFileSync(hand.objects.path('commits', repo, broken))
    t.ok(bytes.includes(Buffer.from([0xff, 0xfe, 0xe9])), 'it really is not UTF-8')
    await expectSame(t, pair)
  },
)

t.test("odd: temp files of Seafile's servers beside objects are no objects", async t => {
  await using laid = await lay()
  const { writer, hand, repo, pair } = laid
  const head = await writer.commit(repo, [put('/a')])
  const { root_id } = hand.objects.commit(repo, head)
  for (const path of [hand.objects.path('commits', repo, head), hand.objects.path('fs', repo, root_id)]) {
    writeFileSync(`${path}.Xa9zQ0`, 'half of it')
    writeFileSync(path.replace(/[^/]+$/, `${head}.123456`), 'half of it')
  }
  await run(laid)

  await expectSame(t, pair, { reader: false }) // which takes each name for an object
})

t.test('odd: blocks that two libraries share by hard links arrive in both', async t => {
  await using laid = await lay()
  const { writer, hand, repo, pair } = laid
  await writer.commit(repo, [put('/a', 'shared')])
  const other = await writer.createLibrary({ name: 'Copy', owner: OWNER })
  const id = hand.objects.list('blocks', repo)[0] ?? ''
  const [from, to] = [hand.objects.path('blocks', repo, id), hand.objects.path('blocks', other, id)]
  mkdirSync(dirname(to), { recursive: true })
  linkSync(from, to)
  await writer.commit(other, [put('/a', 'shared')])
  t.equal(statSync(to).nlink, 2)
  await run(laid)

  await expectSame(t, pair)
})

t.test('odd: two libraries whose commits have the same ids stay two', async t => {
  await using laid = await lay()
  const { pair } = laid
  const catalog = await pair.catalog()
  const writer = new LibraryWriter({ dataDir: pair.primary.dataDir, catalog, now: () => 1_700_000_000_000 })
  const [one, two] = [
    await writer.createLibrary({ name: 'My Library Template', owner: OWNER }),
    await writer.createLibrary({ name: 'My Library Template', owner: OWNER }),
  ]
  await run(laid)
  const [first, second] = [await writer.commit(one, [put('/a')]), await writer.commit(two, [put('/a')])]
  t.equal(first, second)
  await pair.settle()

  await expectSame(t, pair)
})

t.test('odd: fs objects that were deflated at another level are copied, not deflated again', async t => {
  await using laid = await lay()
  const { writer, hand, repo, pair } = laid
  await writer.commit(
    repo,
    Array.from({ length: 40 }, (_, i) => put(`/d${i % 4}/f${i}`)),
  )
  const options = [{ level: 0 }, { level: 1 }, { level: 9 }, { windowBits: 9 }, { strategy: 2 }]
  hand.objects.list('fs', repo).forEach((id, i) => {
    const json = inflateSync(readFileSync(hand.objects.path('fs', repo, id)))
    hand.put('fs', repo, id, deflateSync(json, options[i % options.length]))
  })
  await run(laid)

  await expectSame(t, pair)
})

t.test('odd: entries that are neither file nor directory are passed over, as the server does', async t => {
  await using laid = await lay()
  const { writer, hand, repo, pair } = laid
  const head = await writer.commit(repo, [put('/d/a')])
  const [d] = hand.objects.fs(repo, hand.objects.commit(repo, head).root_id).dirents ?? []
  const odd = [0o120777, 0o160000, 0o010644, 0o140755, 0o020644, 0o060644, 0, 0o644]
  const root = hand.putFs(repo, {
    type: 'dir',
    entries: [
      ...odd.map((mode, i) => entry(`odd ${i}`, idOf(`nothing ${i}`), mode)),
      entry('all bits', d?.id ?? '', DIR_MODE | 0o7777),
      entry('empty', NO_OBJECT, FILE_MODE | 0o7777),
    ],
  })
  await hand.commit(repo, { root_id: root })
  await run(laid)
  await writer.commit(repo, [put('/all bits/b')])
  await pair.settle()

  await expectSame(t, pair)
})

const ID_TABLES = ['Repo', 'Branch', 'RepoHead', 'RepoOwner', 'RepoInfo', 'RepoSize', 'RepoFileCount']

t.test(
  'odd: on MySQL ids of libraries in upper-case hex mean the same library, and are written in lower case',
  { skip: !mariadbInstalled() && 'mariadbd is not installed' },
  async t => {
    await using db = await testDatabase('mysql')
    await using laid = await lay(db.database)
    const { writer, hand, repo, pair } = laid
    await writer.commit(repo, [put('/a')])
    const upper = (column: string) => (table: string) => `UPDATE ${table} SET ${column} = UPPER(${column})`
    await hand.acts.sql.run(...ID_TABLES.map(upper('repo_id')), upper('commit_id')('Branch'))
    await run(laid)
    await pair.until('connected', async () => (await pair.status()).primary.agentsConnected === 1)
    const head = await writer.commit(repo, [put('/b')])
    await pair.until('equal', async () => (await pair.heads('backup')).get(repo) === head)

    await expectSame(t, pair, { reader: false }) // which looks for upper-case directories
  },
)

t.test(
  'odd: on SQLite a row whose id is in upper case or has a space at the end is no library, as to the server: named in the log, never failing',
  async t => {
    await using laid = await lay()
    const { writer, hand, repo, pair } = laid
    const [upper, spaced] = [
      await writer.createLibrary({ name: 'Upper', owner: OWNER }),
      await writer.createLibrary({ name: 'Spaced', owner: OWNER }),
    ]
    for (const table of ID_TABLES) {
      await hand.acts.sql.run(`UPDATE ${table} SET repo_id = UPPER(repo_id) WHERE repo_id = '${upper}'`)
      await hand.acts.sql.run(`UPDATE ${table} SET repo_id = repo_id || ' ' WHERE repo_id = '${spaced}'`)
    }
    await hand.acts.sql.run(`UPDATE Branch SET commit_id = UPPER(commit_id) || ' ' WHERE repo_id = '${repo}'`)
    await run(laid)

    const { libraries } = await pair.status()
    t.strictSame(
      libraries.map(l => [l.id, l.state]),
      [[repo, 'synchronized']],
    )
    t.strictSame(await pair.heads('backup'), await pair.heads('primary'))
    const said = pair.primary.process?.text() ?? ''
    t.ok(said.includes(upper.toUpperCase()) && said.includes(`${spaced} `), said)
  },
)
