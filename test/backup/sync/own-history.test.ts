import fc from 'fast-check'
import t from 'tap'
import { Ancestors, factsFrom, relate, vouchedHistory } from '../../../src/backup/sync/own-history.js'
import { MemoryReader, REPO, block, commit, commitIdOf, idOf } from '../../support/objects.js'
import type { CommitFacts, ReadFacts } from '../../../src/backup/sync/own-history.js'
import type { CommitId } from '../../../src/shared/ids.js'

const DAY = 86_400

interface Made {
  readonly ctime: number
  readonly parents: readonly string[]
}

class History {
  readonly #facts = new Map<CommitId, CommitFacts>()
  readonly asked: CommitId[] = []

  constructor(commits: Readonly<Record<string, Made>>) {
    for (const [name, { ctime, parents }] of Object.entries(commits)) {
      this.#facts.set(commitIdOf(name), { ctime, rootId: idOf(`root of ${name}`), parents: parents.map(commitIdOf) })
    }
  }

  readonly read: ReadFacts = id => {
    this.asked.push(id)
    return this.#facts.get(id)
  }

  relate(ours: string, theirs: string, isNew = false, lost = '') {
    const brought = { isNew, lost: (id: CommitId) => id === commitIdOf(lost) }
    return relate(commitIdOf(ours), commitIdOf(theirs), this.read, brought)
  }
}

/** `a` ← `b` ← `c`, an hour apart. */
const LINE = {
  a: { ctime: 3_600, parents: [] },
  b: { ctime: 7_200, parents: ['a'] },
  c: { ctime: 10_800, parents: ['b'] },
}

t.test('own history: how the head of the primary relates to ours', async t => {
  const history = new History({
    ...LINE,
    side: { ctime: 7_300, parents: ['a'] },
    merge: { ctime: 11_000, parents: ['c', 'side'] },
    twin: { ctime: 10_800, parents: ['c'] },
    stranger: { ctime: 9_000, parents: [] },
  })
  t.equal(await relate(null, commitIdOf('a'), history.read, { isNew: false, lost: () => false }), 'new')
  t.equal(await history.relate('c', 'c'), 'same')
  t.equal(await history.relate('a', 'c', true), 'forward')
  t.equal(await history.relate('side', 'merge', true), 'forward', 'by the second parent')
  t.equal(await history.relate('c', 'a'), 'rewound')
  t.equal(await history.relate('merge', 'side'), 'rewound', 'by the second parent')
  t.equal(await history.relate('twin', 'c'), 'revisit', 'an older commit of the same second')
  t.equal(await history.relate('c', 'side', true), 'diverged')
  t.equal(await history.relate('c', 'stranger', true), 'diverged')
})

t.test(
  'own history: a lost commit between the two heads is damage, no divergence; one below ours proves nothing',
  async t => {
    const history = new History({
      ...LINE,
      old: { ctime: 3_500, parents: ['lost below'] },
      ours: { ctime: 7_200, parents: ['old'] },
      theirs: { ctime: 7_300, parents: ['lost between'] },
      repaired: { ctime: 7_300, parents: ['old'] },
    })
    t.equal(await history.relate('ours', 'theirs', true, 'lost between'), 'unproven')
    t.equal(await history.relate('ours', 'theirs', true), 'diverged', 'not owed, so not known to be lost')
    t.equal(await history.relate('ours', 'repaired', true, 'lost below'), 'diverged')
    t.equal(await history.relate('ours', 'gone', true, 'gone'), 'unproven', 'the head itself is lost')
    t.equal(await history.relate('ours', 'old', false, 'lost below'), 'rewound')
  },
)

t.test('own history: a commit that this pull brought is never part of our history, even on a cycle', async t => {
  const cycle = new History({ a: { ctime: 5, parents: ['b'] }, b: { ctime: 5, parents: ['a'] } })
  t.equal(await cycle.relate('a', 'b', true), 'forward')
  t.equal(await cycle.relate('a', 'b', false), 'revisit')
})

t.test('own history: a cycle of parents ends the walk', async t => {
  const cycle = new History({ a: { ctime: 5, parents: ['b'] }, b: { ctime: 5, parents: ['a'] } })
  t.equal(await new Ancestors(commitIdOf('a'), cycle.read).has(commitIdOf('elsewhere')), false)
  t.ok(cycle.asked.length <= 2)
})

t.test('own history: a head of ours that cannot be read is no reason to go forward or back', async t => {
  const history = new History({ c: LINE.c })
  t.equal(await history.relate('lost', 'c', true), 'diverged')
  t.equal(await history.relate('b', 'c', true), 'forward', 'the primary names it as a parent')
})

t.test('own history: a commit made by a clock that is weeks or decades wrong is still on top of ours', async t => {
  for (const ctime of [0, DAY, 40 * DAY, 10_000 * DAY]) {
    const history = new History({
      child: { ctime, parents: ['parent'] },
      parent: { ctime: 50 * DAY, parents: ['older'] },
      older: { ctime: 49 * DAY, parents: [] },
    })
    t.equal(await history.relate('parent', 'child', true), 'forward')
    t.equal(await history.relate('older', 'child', true), 'forward')
    t.equal(await history.relate('child', 'older', false), 'rewound')
  }
})

t.test('own history: for a new commit on top of ours only that is read', async t => {
  const names = Array.from({ length: 1_000 }, (_, n) => `n${n}`)
  const long = new History(
    Object.fromEntries(names.map((name, n) => [name, { ctime: n, parents: n > 0 ? [`n${n - 1}`] : [] }])),
  )
  t.equal(await long.relate('n998', 'n999', true), 'forward')
  t.ok(long.asked.length <= 6, `${long.asked.length} reads`)
})

t.test('own history: what was kept when a head was pulled is vouched for, older history is not', async t => {
  const history = new History(LINE)
  const vouches = async (since: number) => {
    const kept = vouchedHistory(commitIdOf('c'), since, history.read)
    const names: string[] = []
    for (const name of Object.keys(LINE)) if (await kept.has(commitIdOf(name))) names.push(name)
    return names.join('')
  }
  t.equal(await vouches(-1), 'abc', 'all history')
  t.equal(await vouches(0), 'c', 'only the head')
  t.equal(await vouches(10_801), 'bc', 'the head always passes on, and the first older one is kept')
  t.equal(await vouches(7_200), 'abc')
  t.equal(await vouches(7_201), 'bc')
})

t.test('own history: descent in any history is what following every parent finds', async t => {
  // dates are anything: they come from the clocks of those who made the commits
  const parents = fc.array(fc.array(fc.nat(), { maxLength: 2 }), { minLength: 2, maxLength: 25 })
  const asReachability = fc.asyncProperty(parents, fc.array(fc.nat(), { maxLength: 8 }), async (drawn, questions) => {
    const edges = drawn.map((from, n) => (n === 0 ? [] : from.map(p => p % n)))
    const reach = new Set([edges.length - 1])
    for (let n = edges.length - 1; n >= 0; n--) if (reach.has(n)) for (const p of edges[n] ?? []) reach.add(p)
    const history = new History(
      Object.fromEntries(
        edges.map((from, n) => [`n${n}`, { ctime: ((n * 7919) % 31) * DAY, parents: from.map(p => `n${p}`) }]),
      ),
    )
    const ancestors = new Ancestors(commitIdOf(`n${edges.length - 1}`), history.read)
    for (const question of questions) {
      const n = question % edges.length
      if ((await ancestors.has(commitIdOf(`n${n}`))) !== reach.has(n)) return false
    }
    return new Set(history.asked).size === history.asked.length // each commit is read once
  })
  t.equal((await fc.check(asReachability, { numRuns: 500 })).failed, false)
})

t.test('own history: facts come from whole commits of our store alone', async t => {
  const parents = [commitIdOf('p'), commitIdOf('q')]
  const whole = commit('whole', { rootId: idOf('root'), parents, ctime: 7 })
  const facts = factsFrom(new MemoryReader(whole, block('no commit')), REPO)
  t.strictSame(await facts(commitIdOf('whole')), { ctime: 7, rootId: idOf('root'), parents })
  t.equal(await facts(commitIdOf('absent')), undefined)
})
