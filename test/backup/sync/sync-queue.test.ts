import fc from 'fast-check'
import t from 'tap'
import { SyncQueue } from '../../../src/backup/sync/sync-queue.js'
import { parseRepoId } from '../../../src/shared/ids.js'
import type { Lane, Lease } from '../../../src/backup/sync/sync-queue.js'
import type { RepoId } from '../../../src/shared/ids.js'

const repo = (n: number): RepoId => parseRepoId(`00000000-0000-4000-8000-${String(n).padStart(12, '0')}`)
const [A, B, C] = [repo(1), repo(2), repo(3)]

type Step =
  | { readonly do: 'offer'; readonly repo: RepoId; readonly lane: Lane }
  | { readonly do: 'take' }
  | { readonly do: 'release'; readonly which: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant('offer' as const),
    repo: fc.integer({ min: 1, max: 5 }).map(repo),
    lane: fc.constantFrom<Lane>('now', 'backfill'),
  }),
  fc.record({ do: fc.constant('take' as const) }),
  fc.record({ do: fc.constant('release' as const), which: fc.nat(4) }),
)

/** Two arrays in the order of arrival, and what is being synced. */
class Model {
  readonly lanes: Record<Lane, RepoId[]> = { now: [], backfill: [] }
  leases: Lease[] = []

  constructor(readonly places: { readonly all: number; readonly backfill: number }) {}

  offer(repo: RepoId, lane: Lane): void {
    if (this.lanes.now.includes(repo)) return
    if (lane === 'now') this.lanes.backfill = this.lanes.backfill.filter(other => other !== repo)
    if (!this.lanes[lane].includes(repo)) this.lanes[lane].push(repo)
  }

  next(): { repo: RepoId; lane: Lane } | undefined {
    if (this.leases.length >= this.places.all) return undefined
    const free = (lane: Lane) => this.lanes[lane].find(repo => !this.leases.some(lease => lease.repo === repo))
    const now = free('now')
    if (now) return { repo: now, lane: 'now' }
    const backfilling = this.leases.filter(lease => lease.lane === 'backfill').length
    const later = backfilling < this.places.backfill ? free('backfill') : undefined
    return later && { repo: later, lane: 'backfill' }
  }

  took(lease: Lease): void {
    this.lanes[lease.lane] = this.lanes[lease.lane].filter(repo => repo !== lease.repo)
    this.leases.push(lease)
  }
}

function behavesAlike(steps: readonly Step[], places: { all: number; backfill: number }): boolean {
  const [queue, model] = [new SyncQueue(places), new Model(places)]
  for (const step of steps) {
    if (step.do === 'offer') {
      queue.offer(step.repo, step.lane)
      model.offer(step.repo, step.lane)
    } else if (step.do === 'take') {
      const expected = model.next()
      const lease = queue.take()
      if (lease?.repo !== expected?.repo || lease?.lane !== expected?.lane) return false
      if (lease) model.took(lease)
    } else {
      const lease = model.leases[step.which]
      lease?.[Symbol.dispose]()
      model.leases = model.leases.filter(other => other !== lease)
    }
    if (queue.depth !== model.lanes.now.length + model.lanes.backfill.length) return false
    if (queue.running !== model.leases.length) return false
    const busy = [...model.lanes.now, ...model.lanes.backfill, ...model.leases.map(lease => lease.repo)]
    for (let n = 1; n <= 5; n++) if (queue.has(repo(n)) !== busy.includes(repo(n))) return false
  }
  return true
}

t.test('sync queue: in any order of offers, takes and releases it behaves as two ordered lists', async t => {
  const places = fc.record({ all: fc.integer({ min: 1, max: 4 }), backfill: fc.integer({ min: 0, max: 3 }) })
  const property = fc.property(fc.array(step, { maxLength: 80 }), places, behavesAlike)
  t.equal(fc.check(property, { numRuns: 1_000 }).failed, false)
})

t.test('sync queue: a library that is offered many times is synced once', async t => {
  const queue = new SyncQueue({ all: 4, backfill: 4 })
  for (const lane of ['backfill', 'now', 'backfill', 'now'] as const) queue.offer(A, lane)
  t.equal(queue.depth, 1)
  t.match(queue.take(), { repo: A, lane: 'now' })
  t.equal(queue.take(), undefined)
})

t.test(
  'sync queue: a library that is offered during its sync is synced once more, and not before that ends',
  async t => {
    const queue = new SyncQueue({ all: 4, backfill: 4 })
    queue.offer(A, 'now')
    const first = queue.take()
    queue.offer(A, 'now')
    queue.offer(A, 'backfill')
    t.equal(queue.take(), undefined, 'it is being synced')
    first?.[Symbol.dispose]()
    t.equal(queue.take()?.repo, A)
    t.equal(queue.take(), undefined)
  },
)

t.test('sync queue: a library that waits for its own sync does not hold up those behind it', async t => {
  const queue = new SyncQueue({ all: 2, backfill: 2 })
  queue.offer(A, 'now')
  queue.take()
  queue.offer(A, 'now')
  queue.offer(B, 'now')
  t.equal(queue.take()?.repo, B)
})

t.test('sync queue: an event goes before a backfill that came first', async t => {
  const queue = new SyncQueue({ all: 3, backfill: 3 })
  queue.offer(A, 'backfill')
  queue.offer(B, 'backfill')
  queue.offer(C, 'now')
  queue.offer(B, 'now')
  t.strictSame([queue.take()?.repo, queue.take()?.repo, queue.take()?.repo], [C, B, A])
})

t.test('sync queue: backfill leaves the places that are not its own to events', async t => {
  const queue = new SyncQueue({ all: 2, backfill: 1 })
  for (const waiting of [A, B]) queue.offer(waiting, 'backfill')
  const giant = queue.take()
  t.equal(queue.take(), undefined, 'one backfill at a time')
  queue.offer(C, 'now')
  t.equal(queue.take()?.repo, C)
  giant?.[Symbol.dispose]()
  t.match(queue.take(), { repo: B, lane: 'backfill' })
})
