import { mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import t from 'tap'
import { LibraryStates, isBehind, lagMs, stateOf } from '../../../src/backup/state/library-state.js'
import { openStateDb } from '../../../src/backup/state/state-db.js'
import { parseRepoId } from '../../../src/shared/ids.js'
import { REPO, TempDir, commitIdOf, idOf } from '../../support/objects.js'
import type { Library, Recorded } from '../../../src/backup/state/library-state.js'
import type { CommitId } from '../../../src/shared/ids.js'
import type { DamagedObject } from '../../../src/shared/wire/control-messages.js'

const OTHER = parseRepoId('0b1ec700-0000-4000-8000-000000000002')
const [A, B, C] = [commitIdOf('a'), commitIdOf('b'), commitIdOf('c')]

class State implements Disposable {
  readonly #dir = new TempDir()
  readonly dir = join(this.#dir.path, 'state')
  readonly file = join(this.dir, 'state.db')
  #db = openStateDb(this.dir)
  states = new LibraryStates(this.#db)

  close(): void {
    this.#db.close()
  }

  /** As the next process finds it. */
  reopen(): LibraryStates {
    this.#db.close()
    this.#db = openStateDb(this.dir)
    return (this.states = new LibraryStates(this.#db))
  }

  /** What is read by somebody else at this moment, without our closing first: a process that is killed. */
  killed(): Library | undefined {
    const db = openStateDb(this.dir)
    try {
      return new LibraryStates(db).get(REPO)
    } finally {
      db.close()
    }
  }

  [Symbol.dispose](): void {
    this.#db.close()
    this.#dir[Symbol.dispose]()
  }
}

const recorded = (head: CommitId, differs: Partial<Recorded> = {}): Recorded => ({
  rows: {
    repo: REPO,
    head,
    branchName: 'master',
    virtual: { originRepo: OTHER, path: '/Ünïcode "quoted"', baseCommit: C },
    owner: "o'neil@example.com",
    info: { name: 'Photos', updateTime: 5, version: 1, isEncrypted: null, lastModifier: 'x', status: 0, type: null },
    size: { bytes: 2 ** 40, head },
    fileCount: 7,
    historyLimitDays: null,
    validSince: -1,
  },
  digest: `digest of ${head}`,
  heardAt: performance.now(),
  accepted: false,
  relation: 'forward',
  cause: 'push',
  primaryHadAt: null,
  ...differs,
})

function sql(file: string, statement: string): void {
  const db = new Database(file)
  db.exec(statement)
  db.close()
}

const hole = (name: string): DamagedObject => ({
  kind: 'blocks',
  id: idOf(name),
  problem: 'corrupt',
  path: `/${name}`,
  where: 'head',
})

/** As the file was when it held all rows of a library in one column of JSON. */
function asVersion2(file: string, rows: Record<string, object>): void {
  const db = new Database(file)
  db.exec('ALTER TABLE library ADD COLUMN rows TEXT')
  for (const column of ['store', 'name', 'owner', 'size_bytes', 'update_time', 'base_commit'])
    db.exec(`ALTER TABLE library DROP COLUMN ${column}`)
  const put = db.prepare('UPDATE library SET rows = ? WHERE repo = ?')
  for (const [repo, json] of Object.entries(rows)) put.run(JSON.stringify(json), repo)
  db.exec('DROP TABLE presence; DROP TABLE contact')
  db.pragma('user_version = 2')
  db.close()
}

t.test('state: a head that was heard of while another was pulled is owed still, from then on', async t => {
  using state = new State()
  const library = state.states.ensure(REPO)
  library.looked = true
  state.states.moved(REPO, A, performance.now() - 5_000)
  const heardAt = state.states.heard(library, A, `digest of ${A}`)
  await new Promise(resolve => setTimeout(resolve, 2))
  state.states.moved(REPO, B, performance.now())
  state.states.recorded(library, recorded(A, { heardAt }))
  t.match(library, { head: A, primaryHead: B })
  t.equal(stateOf(library), 'waiting', 'not synchronized: the primary was seen to have another')
  const lag = lagMs(library, performance.now())
  t.ok(lag !== null && lag < 5_000, `${lag} ms: the older change is here`)
  state.states.recorded(library, recorded(B))
  t.strictSame([stateOf(library), lagMs(library, performance.now())], ['synchronized', 0])
})

t.test('state: what was recorded is there when record returns, for whoever opens the file next', async t => {
  using state = new State()
  const library = state.states.ensure(REPO)
  library.vouchedGc = 'gc 1'
  state.states.pulled(library, { commit: A, since: 17 }, [hole('x'), { ...hole('y'), path: null, where: 'history' }])
  state.states.recorded(library, recorded(A, { accepted: true }))
  const { digest } = recorded(A)
  const summary = {
    storeId: OTHER,
    name: 'Photos',
    owner: "o'neil@example.com",
    sizeBytes: 2 ** 40,
    updateTime: 5,
    baseCommit: C,
  }
  const expected = {
    repo: REPO,
    head: A,
    summary,
    digest,
    vouched: { commit: A, since: 17 },
    vouchedGc: 'gc 1',
    primaryHead: A,
    deleted: false,
    failure: null,
    recordedAt: library.recordedAt,
  }
  for (const found of [state.killed(), state.reopen().get(REPO)]) {
    t.match(found, expected)
    const byPath = [...(found?.holes ?? [])].sort(a => (a.path === null ? 1 : -1))
    t.strictSame(byPath, [
      { ...hole('x'), accepted: true },
      { ...hole('y'), path: null, where: 'history', accepted: true },
    ])
  }
  t.equal(state.states.size, 1)
})

t.test('state: a checkpoint, a failure, a deletion and a head that was found each survive by themselves', async t => {
  using state = new State()
  const library = state.states.ensure(REPO)
  state.states.checkpoint(library, { commit: B, since: -1 }, [{ kind: 'fs', id: idOf('h'), problem: 'missing' }])
  t.match(state.killed(), { head: null, vouched: { commit: B, since: -1 }, holes: [{ id: idOf('h'), path: null }] })
  state.states.failed(library, { code: 'STORE_FULL', message: 'no "space"', attempts: 4, retryAt: 1 })
  t.match(state.killed(), { failure: { code: 'STORE_FULL', message: 'no "space"', retryAt: undefined } })
  state.states.foundHead(library, B)
  t.match(state.killed(), { head: B, vouched: { commit: B }, summary: null, digest: null })
  state.states.gone(library)
  t.match(state.killed(), { deleted: true, failure: null, head: B })
})

t.test('state: a head that nothing of ours vouches for takes the base of the next pull away', async t => {
  using state = new State()
  const library = state.states.ensure(REPO)
  for (const head of [C, null]) {
    state.states.checkpoint(library, { commit: B, since: -1 }, [])
    state.states.foundHead(library, head)
    t.match(state.killed(), { head, vouched: null })
  }
})

t.test('state: a hole stays accepted through later pulls as long as it is one, and new ones are not', async t => {
  using state = new State()
  const library = state.states.ensure(REPO)
  const accepted = () =>
    state
      .reopen()
      .get(REPO)
      ?.holes.map(h => [h.path, h.accepted])
      .sort()
  state.states.pulled(library, { commit: A, since: -1 }, [hole('x'), hole('y')])
  state.states.recorded(library, recorded(A, { accepted: true }))
  const states = state.reopen()
  states.pulled(states.get(REPO) as Library, { commit: B, since: -1 }, [hole('y'), hole('z')])
  t.strictSame(accepted(), [
    ['/y', true],
    ['/z', false],
  ])
  const again = state.states.get(REPO) as Library
  state.states.checkpoint(again, { commit: C, since: -1 }, [{ kind: 'blocks', id: idOf('y'), problem: 'missing' }])
  t.strictSame(accepted(), [['/y', true]], 'a checkpoint keeps path and acceptance')
})

t.test('state: the head log has every move, in order, and is never pruned', async t => {
  using state = new State()
  const heads = Array.from({ length: 500 }, (_, n) => commitIdOf(`head ${n}`))
  for (const head of heads) state.states.recorded(state.states.ensure(REPO), recorded(head, { primaryHadAt: 12 }))
  state.states.recorded(state.states.ensure(OTHER), recorded(A, { relation: 'new', cause: 'sweep' }))
  const library = state.states.ensure(REPO)
  state.states.gone(library)
  state.states.foundHead(library, null)
  state.states.recorded(library, recorded(A, { relation: 'rewound', cause: 'forced' }))

  const log = state.reopen().headLog(REPO) as { head: string; displaced: string | null }[]
  t.match(log[0], { head: A, displaced: null, relation: 'rewound', cause: 'forced' })
  t.strictSame(
    log.slice(1).map(row => row.head),
    [...heads].reverse(),
  )
  t.strictSame(
    log.slice(1).map(row => row.displaced),
    [...heads.slice(0, -1).reverse(), null],
  )
  t.match(log[1], { relation: 'forward', cause: 'push', primaryHadAt: 12 })
  t.match(state.states.headLog(OTHER), [{ head: A, relation: 'new', cause: 'sweep', primaryHadAt: null }])
  t.equal(state.states.headLog(REPO, 3).length, 3)
})

t.test('state: rows that change without the head are no move', async t => {
  using state = new State()
  state.states.recorded(state.states.ensure(REPO), recorded(A))
  state.states.recorded(state.states.ensure(REPO), recorded(A, { digest: 'renamed' }))
  t.equal(state.states.headLog(REPO).length, 1)
  t.equal(state.reopen().get(REPO)?.digest, 'renamed')
})

t.test(
  'state: after a start nobody knows yet what the primary has: every library is waiting, failures are shown',
  async t => {
    using state = new State()
    state.states.recorded(state.states.ensure(REPO), recorded(A))
    t.equal(stateOf(state.states.ensure(REPO)), 'synchronized')
    state.states.failed(state.states.ensure(OTHER), { code: 'OBJECT_MISSING', message: 'm', attempts: 9, retryAt: 5 })
    const states = state.reopen()
    const library = states.get(REPO) as Library
    t.equal(stateOf(library), 'waiting')
    t.equal(lagMs(library, performance.now()), null)
    t.equal(stateOf(states.get(OTHER) as Library), 'failed')
    states.listed({ repo: REPO, head: A, digest: recorded(A).digest }, performance.now())
    t.equal(stateOf(library), 'synchronized')
    t.equal(lagMs(library, performance.now()), 0)
  },
)

t.test('state: a library is behind by another head or other rows, since the first event that said so', async t => {
  using state = new State()
  const library = state.states.ensure(REPO)
  state.states.recorded(library, recorded(A))
  const start = performance.now()
  state.states.moved(REPO, B, start - 500)
  state.states.moved(REPO, C, start)
  t.equal(stateOf(library), 'waiting')
  t.equal(lagMs(library, start), 500)
  state.states.recorded(library, recorded(C))
  t.equal(isBehind(library), false)
  state.states.listed({ repo: REPO, head: C, digest: 'renamed' }, performance.now())
  t.equal(isBehind(library), true)
  t.equal(lagMs(library, performance.now()), null, 'found by comparing: since when, nobody knows')
})

t.test('state: a listing that was asked for before an event says nothing new', async t => {
  using state = new State()
  const library = state.states.ensure(REPO)
  const askedAt = performance.now() - 1
  state.states.moved(REPO, B, performance.now())
  state.states.listed({ repo: REPO, head: A, digest: 'old' }, askedAt)
  t.match(library, { primaryHead: B, primaryDigest: null })
})

t.test(
  "state: what was heard of the primary's heads is known to the next process, also of what never came",
  async t => {
    using state = new State()
    state.states.recorded(state.states.ensure(REPO), recorded(A))
    state.states.moved(REPO, B, performance.now())
    state.states.listed({ repo: OTHER, head: C, digest: 'd' }, performance.now())
    state.states.saveHeard()

    const again = state.reopen()

    t.match(again.get(REPO), { head: A, primaryHead: B })
    t.match(again.get(OTHER), { head: null, primaryHead: C })
    again.gone(again.ensure(OTHER))
    t.equal(state.reopen().get(OTHER), undefined, 'of what never came nothing is remembered once it is gone')
  },
)

t.test('state: a library that is listed again is no longer deleted', async t => {
  using state = new State()
  const library = state.states.ensure(REPO)
  state.states.gone(library)
  state.states.listed({ repo: REPO, head: A, digest: 'd' }, performance.now())
  t.equal(library.deleted, false)
})

t.test('state: a file of a newer version is refused, says so, and stays as it is', async t => {
  using state = new State()
  state.states.recorded(state.states.ensure(REPO), recorded(A))
  state.close()
  const db = new Database(state.file)
  db.pragma('user_version = 1000')
  db.pragma('journal_mode = DELETE')
  db.close()
  const before = statSync(state.file).size
  t.throws(() => openStateDb(state.dir), { code: 'STATE_UNUSABLE', message: /newer version/ })
  t.equal(statSync(state.file).size, before)
})

t.test('state: a file of the version before says of each library what it said then', async t => {
  using state = new State()
  state.states.recorded(state.states.ensure(REPO), recorded(A))
  state.states.recorded(state.states.ensure(OTHER), recorded(B))
  const before = state.states.get(REPO)
  state.close()
  asVersion2(state.file, { [REPO]: recorded(A).rows, [OTHER]: { ...recorded(B).rows, virtual: null, info: null } })

  const now = state.reopen()
  t.match(now.get(REPO), { head: A, summary: before?.summary, digest: before?.digest })
  t.match(now.get(OTHER), { head: B, summary: { storeId: OTHER, name: null, baseCommit: null, sizeBytes: 2 ** 40 } })
})

t.test('state: a library is waiting until its own copy was looked at since the start', async t => {
  using state = new State()
  const library = state.states.ensure(REPO)
  state.states.pulled(library, { commit: A, since: 17 }, [])
  state.states.recorded(library, recorded(A))
  t.equal(stateOf(library), 'synchronized')

  const again = state.reopen().listed({ repo: REPO, head: A, digest: recorded(A).digest }, performance.now())
  t.equal(stateOf(again), 'waiting')
  again.looked = true
  t.equal(stateOf(again), 'synchronized')
})

for (const [what, spoil] of [
  ['is no database', (file: string) => writeFileSync(file, 'no database '.repeat(1_000))],
  ['was cut short', (file: string) => truncateSync(file, 5_000)],
  ['has a schema of garbage', (file: string) => writeFileSync(file, readFileSync(file).fill(0xa5, 200, 4_096))],
  ['has pages of garbage', (file: string) => writeFileSync(file, readFileSync(file).fill(0xa5, 4_096))],
  ['names a store that is none', (file: string) => sql(file, "UPDATE library SET store = '{}'")],
  ['has a size that is none', (file: string) => sql(file, "UPDATE library SET size_bytes = 'much'")],
  ['holds rows that are no JSON', (file: string) => sql(file, "UPDATE library SET failure = '{'")],
] as const) {
  t.test(`state: a file that ${what} is STATE_UNUSABLE, and the message says what to do`, async t => {
    using state = new State()
    state.states.recorded(state.states.ensure(REPO), recorded(A))
    state.close()
    spoil(state.file)
    const start = () => {
      const db = openStateDb(state.dir)
      try {
        return new LibraryStates(db)
      } finally {
        db.close()
      }
    }
    t.throws(start, { code: 'STATE_UNUSABLE', message: /Move it away/ })
  })
}

t.test('state: a directory that cannot be made, or a file that cannot be opened, is DIRECTORY_UNUSABLE', async t => {
  using dir = new TempDir()
  writeFileSync(join(dir.path, 'file'), '')
  t.throws(() => openStateDb(join(dir.path, 'file', 'state')), { code: 'DIRECTORY_UNUSABLE' })
  mkdirSync(join(dir.path, 'state.db'))
  t.throws(() => openStateDb(dir.path), { code: 'DIRECTORY_UNUSABLE', message: /--state/ })
})

t.test(
  'state: a library that was named and never came here is forgotten when the primary does not have it',
  async t => {
    using state = new State()
    const madeUp = state.states.moved(REPO, A, 0)
    state.states.failed(madeUp, { code: 'PRIMARY_UNREACHABLE', message: 'x', attempts: 1, retryAt: undefined })
    state.states.gone(madeUp)
    t.equal(state.states.size, 0)
    t.equal(state.reopen().size, 0)
  },
)

t.test('state: a library that is here, whole or in part, is kept when the primary does not have it', async t => {
  using state = new State()
  const inPart = state.states.ensure(OTHER)
  state.states.checkpoint(inPart, { commit: B, since: -1 }, [])
  state.states.recorded(state.states.ensure(REPO), recorded(A))
  for (const library of [...state.states.all()]) state.states.gone(library)
  const found = state.reopen()
  for (const repo of [REPO, OTHER]) t.ok(found.get(repo)?.deleted)
})
