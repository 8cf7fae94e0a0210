/** A primary that has the token and means harm: it can withhold, but not damage what is here, nor fill or stop the backup daemon. */

import { existsSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { deflateSync, zstdCompressSync } from 'node:zlib'
import t from 'tap'
import { deflateFs, encodeFs } from '../../src/shared/seafile/encode.js'
import { FRAME } from '../../src/shared/wire/frames.js'
import { DIGEST, rowsOf } from '../support/fake-primary.js'
import { residentMb } from '../support/hostile-sockets.js'
import { DIR_MODE, entry, idOf } from '../support/objects.js'
import { NOTHING, commitOf, expectGoodObjects, filesOf, newRepo, outcome, takenOver } from '../support/taken-over.js'
import type { CommitId, RepoId } from '../../src/shared/ids.js'
import type { Answer, Lie } from '../support/fake-primary.js'
import type { MadeUp } from '../support/taken-over.js'

/** A few bytes of zstd that stand for a gigabyte, as a packed chunk. Made once: it keeps everybody else waiting for seconds. */
const PACKED_BOMB = ((): Buffer => {
  const bytes = zstdCompressSync(Buffer.alloc(1024 * 1024 * 1024))
  const header = Buffer.from([1, 0, 0, 0, 0])
  header.writeUInt32BE(bytes.byteLength, 1)
  return Buffer.concat([header, bytes])
})()

function dirOf(...children: readonly (readonly [name: string, id: string])[]): MadeUp {
  const entries = children.map(([name, id]) => entry(name, id, DIR_MODE))
  const { id, json } = encodeFs({ type: 'dir', entries })
  return { id, bytes: deflateFs(json) }
}

/** One commit, and its tree as it stands. */
function oneCommit(repo: RepoId, commit: MadeUp, objects: readonly MadeUp[]): Lie {
  return {
    head: commit.id,
    async delta(answer) {
      await answer.library(rowsOf(repo, commit.id))
      await answer.object(FRAME.commit, commit.id, commit.bytes)
      await answer.frame(FRAME.trees)
      await answer.frame(FRAME.tree, Buffer.from(commit.id, 'hex'))
      for (const { id, bytes } of objects) await answer.object(FRAME.fs, id, bytes)
      await answer.end()
    },
    async objects(answer, wanted) {
      for (const one of wanted) {
        const known = objects.find(({ id }) => id === one.id)
        await (known ? answer.object(FRAME.fs, known.id, known.bytes) : answer.absent(one))
      }
    },
  }
}

const justRows = (repo: RepoId, change: object, more: object = {}): Lie => ({
  head: idOf('rows'),
  async delta(answer) {
    await answer.library({ ...rowsOf(repo, idOf('rows')), ...change }, more)
    await answer.end()
  },
})

/** LIBRARY, and then the same bytes for ever. */
const endless = (repo: RepoId, act: (answer: Answer) => Promise<void>): Lie => ({
  head: idOf('endless'),
  async delta(answer) {
    await answer.library(rowsOf(repo, idOf('endless')))
    while (answer.open) await act(answer)
  },
})

const DEEP = 10_000

function deepTree(): MadeUp[] {
  const chain = [dirOf()]
  for (let level = 1; level < DEEP; level++) chain.push(dirOf(['d', (chain.at(-1) as MadeUp).id]))
  return chain.reverse()
}

function lies(): { what: string; repo: RepoId; lie: Lie; expected: string }[] {
  const all: { what: string; repo: RepoId; lie: Lie; expected: string }[] = []
  const add = (what: string, expected: string, make: (repo: RepoId) => Lie) => {
    const repo = newRepo()
    all.push({ what, repo, lie: make(repo), expected })
  }
  const bomb = { id: idOf('bomb'), bytes: deflateSync(Buffer.alloc(512 * 1024 * 1024)) }
  add('a zip bomb', 'OBJECT_CORRUPT', repo => oneCommit(repo, commitOf(repo, 'bomb commit', bomb.id), [bomb]))
  add('a chunk that unpacks to a gigabyte', 'PROTOCOL_BROKEN', () => ({
    head: idOf('never'),
    delta: answer => answer.chunk(PACKED_BOMB),
  }))
  const deep = deepTree()
  add(`a tree ${DEEP} levels deep`, 'synchronized', repo =>
    oneCommit(repo, commitOf(repo, 'deep', deep[0]?.id ?? ''), deep),
  )
  add('a head that is never sent', 'OBJECT_MISSING', repo => justRows(repo, {}))
  add('another library', 'PROTOCOL_BROKEN', repo => justRows(repo, { repo: newRepo() }))
  for (const path of [
    '../../../../escaped',
    '/tmp/escaped',
    'a/../../b'.padEnd(40, 'x'),
    '..%2f..%2f'.padEnd(36, '0'),
  ]) {
    add(`the id ${path} of a library`, 'PROTOCOL_BROKEN', repo => justRows(repo, { repo: path }))
    add(`the id ${path} of a head`, 'PROTOCOL_BROKEN', repo => justRows(repo, { head: path }))
    add(`the id ${path} of a store`, 'PROTOCOL_BROKEN', repo =>
      justRows(repo, { virtual: { originRepo: path, path: '/', baseCommit: null } }),
    )
    add(`the id ${path} of a base`, 'PROTOCOL_BROKEN', repo => justRows(repo, {}, { base: path }))
    add(`the root ${path}`, 'OBJECT_CORRUPT', repo => {
      const commit = commitOf(repo, 'root', path)
      const lie = oneCommit(repo, commit, [])
      return { ...lie, objects: answer => answer.object(FRAME.commit, commit.id, commit.bytes) }
    })
  }
  add('a cycle of commits', 'synchronized', repo => {
    const [one, two] = [
      commitOf(repo, 'one', NOTHING, { parent_id: idOf('two') }),
      commitOf(repo, 'two', NOTHING, { parent_id: idOf('one') }),
    ]
    return {
      head: one.id,
      async delta(answer) {
        await answer.library(rowsOf(repo, one.id))
        for (const { id, bytes } of [one, two, one]) await answer.object(FRAME.commit, id, bytes)
        await answer.frame(FRAME.trees)
        await answer.end()
      },
    }
  })
  return all
}

t.test(
  'hostile primary: what it makes up is refused with a code, or kept as it is; nothing leaves the store',
  async t => {
    await using stage = await takenOver()
    const { pair, fake, repo, commits } = stage
    const { pid = -1 } = pair.backup.process ?? {}
    const outside = [...filesOf(pair.dir).keys()].filter(path => !path.includes('storage/'))
    const before = residentMb(pid)
    const told = lies()
    for (const { repo, lie } of told) fake.lies.set(repo, lie)
    let most = 0
    const watch = setInterval(() => (most = Math.max(most, pair.backup.process?.running ? residentMb(pid) : 0)), 50)
    await pair.sync(null)
    for (const { what, repo, expected } of told) t.equal(await outcome(pair, repo), expected, what)
    clearInterval(watch)
    t.ok(pair.backup.process?.running, 'it stays up')
    t.ok(most - before < 1_000, `${(most - before).toFixed(0)} MB more at most`)
    expectGoodObjects(t, stage)
    t.equal((await pair.heads('backup')).get(repo), commits.at(-1))
    const strange = [...filesOf(pair.dir).keys()].filter(path => !path.includes('storage/') && !outside.includes(path))
    t.strictSame(
      strange.filter(path => !/seafile\.db|seaf-backup-state\//.test(path)),
      [],
      'no file outside the store',
    )
    t.notOk(existsSync('/tmp/escaped'))
  },
)

t.test(
  'hostile primary: an older head, other commits under known ids, and a listing without the library change nothing',
  async t => {
    await using stage = await takenOver()
    const { pair, fake, repo, commits } = stage
    const [first, , last] = commits as [string, string, string]
    const forged = (id: string, more: object = {}) => {
      const { bytes } = commitOf(repo, id, NOTHING, { commit_id: id, ...more })
      return { id, bytes }
    }
    const say = (head: string, objects: readonly MadeUp[]): Lie => ({
      head,
      async delta(answer) {
        await answer.library(rowsOf(repo, head))
        for (const { id, bytes } of objects) await answer.object(FRAME.commit, id, bytes)
        await answer.frame(FRAME.trees)
        await answer.end()
      },
    })
    fake.more = []
    for (const [what, lie, code] of [
      ['an older head', say(first, []), 'HEAD_REWOUND'],
      [
        'an older head, sent again and forged to descend from ours',
        say(first, [forged(first, { parent_id: last })]),
        '',
      ],
      ['a head of another history', say(idOf('other'), [forged(idOf('other'))]), 'HEAD_DIVERGED'],
    ] as const) {
      fake.lies.set(repo, lie)
      await pair.sync(repo)
      const failure = (await pair.library(repo))?.failure?.code
      t.match(failure, code === '' ? /HEAD_|OBJECT_|PROTOCOL_/ : code, what)
      t.equal((await pair.heads('backup')).get(repo), last, `${what}: our head is kept`)
      expectGoodObjects(t, stage)
    }
    const child = commitOf(repo, 'child', NOTHING, { parent_id: last })
    fake.lies.set(repo, say(child.id, [child, ...commits.map(id => forged(id))]))
    await pair.sync(repo)
    expectGoodObjects(t, stage)

    fake.lies.clear()
    await pair.sync(null)
    t.match(await pair.library(repo), { deletedOnPrimary: true })
    t.ok((await pair.heads('backup')).has(repo), 'the library is kept')
    expectGoodObjects(t, stage)
  },
)

t.test(
  'hostile primary: streams without end, of nothing or of what nobody wants, cost no memory and hold up no other library',
  async t => {
    await using stage = await takenOver()
    const { pair, fake } = stage
    const { pid = -1 } = pair.backup.process ?? {}
    const before = residentMb(pid)
    const alive = Buffer.concat(Array.from({ length: 10_000 }, () => Buffer.from([FRAME.alive, 0, 0, 0, 0])))
    const [one, two, good] = [newRepo(), newRepo(), newRepo()]
    fake.lies.set(good, oneCommit(good, commitOf(good, 'good', NOTHING), []))
    await pair.sync(null) // before anything that does not end
    t.equal(await outcome(pair, good), 'synchronized')
    fake.lies.set(
      one,
      endless(one, async answer => {
        await answer.raw(alive)
        await delay(10)
      }),
    )
    const junk = Buffer.alloc(60_000, 'junk')
    let n = 0
    fake.lies.set(
      two,
      endless(two, async answer => {
        await answer.object(n % 2 ? FRAME.fs : FRAME.commit, idOf(`junk ${n++}`), junk)
        await delay(1)
      }),
    )
    void pair.sync(null).catch(() => {})
    await pair.until('streaming', async () => n > 1_000)
    const grown = residentMb(pid) - before
    t.ok(grown < 300, `${grown.toFixed(0)} MB more`)
    t.equal((await pair.library(one))?.state, 'syncing', 'what does not end is seen')
    const later = newRepo()
    fake.lies.set(later, oneCommit(later, commitOf(later, 'later', NOTHING), []))
    void pair.sync(null).catch(() => {})
    t.equal(await outcome(pair, later), 'synchronized')
    expectGoodObjects(t, stage)
  },
)

t.test('hostile primary: a listing of a million libraries is worked through in bounded memory', async t => {
  await using stage = await takenOver()
  const { pair, fake, repo } = stage
  const { pid = -1 } = pair.backup.process ?? {}
  const before = residentMb(pid)
  const uuid = (n: number) => `00000000-0000-4000-8000-${n.toString(16).padStart(12, '0')}` as RepoId
  const head = idOf('any') as CommitId
  fake.more = [...fake.more, ...Array.from({ length: 1_000_000 }, (_, n) => ({ repo: uuid(n), head, digest: DIGEST }))]
  void pair.sync(null).catch(() => {})
  await pair.until(
    'swept',
    async () => pair.backup.process?.log.some(line => Number(line['libraries']) > 999_999) ?? false,
  )
  const grown = residentMb(pid) - before
  t.ok(grown < 1_500, `${grown.toFixed(0)} MB more`)
  t.ok(pair.backup.process?.running)
  t.ok((await pair.heads('backup')).has(repo))
  expectGoodObjects(t, stage)
})

t.test('hostile primary: an error that does not prove the token is not believed', async t => {
  await using stage = await takenOver()
  const { pair, fake, repo } = stage
  fake.unproved = { status: 404, body: { code: 'LIBRARY_GONE', message: 'made up by somebody on the line' } }
  await pair.sync(repo)
  t.match(await pair.library(repo), { failure: { code: /^(TOKEN_MISMATCH|PRIMARY_UNREACHABLE)$/ } })
})
