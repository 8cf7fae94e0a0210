import t from 'tap'
import {
  BACKFILL_MAX,
  FetchPlaces,
  PULLS_MAX,
  PullPlaces,
  isHeavy,
  threadBounds,
} from '../../../src/backup/sync/concurrency.js'
import { SyncQueue } from '../../../src/backup/sync/sync-queue.js'
import { parseRepoId } from '../../../src/shared/ids.js'
import type { PullTimes } from '../../../src/backup/sync/concurrency.js'
import type { Lease } from '../../../src/backup/sync/sync-queue.js'

const NEAR: PullTimes = { waitedMs: 3, workedMs: 10 }
const FAR: PullTimes = { waitedMs: 200, workedMs: 10 }
/** More than enough for any average to arrive. */
const MANY = 200

function after(places: PullPlaces, pulls: number, times: PullTimes): { all: number; backfill: number } {
  for (let n = 0; n < pulls; n++) places.pulled(times)
  return { all: places.all, backfill: places.backfill }
}

t.test(
  'pull places: before anything is measured a thread has two first copies and two places for what is pushed',
  t => {
    t.match(after(new PullPlaces(2), 0, NEAR), { all: 8, backfill: 4 })
    t.end()
  },
)

t.test('pull places: a primary that is near keeps the threads busy with the fewest', t => {
  t.match(after(new PullPlaces(2), MANY, NEAR), { all: 8, backfill: 4 })
  t.end()
})

t.test('pull places: pulls that wait 200 ms and work 50 are five for each thread', t => {
  t.match(after(new PullPlaces(2), MANY, { waitedMs: 200, workedMs: 50 }), { all: 14, backfill: 10 })
  t.end()
})

t.test('pull places: however far the primary, there are no more than its agent serves beside the blocks', t => {
  for (const threads of [1, 2, 4, 16]) {
    const { all, backfill } = after(new PullPlaces(threads), MANY, { waitedMs: 60_000, workedMs: 0 })
    t.ok(all <= PULLS_MAX, `${all} pulls of ${threads} threads`)
    t.equal(backfill, BACKFILL_MAX)
    t.ok(all - backfill >= 2, 'what is pushed finds a place')
  }
  t.end()
})

t.test('pull places: with as many threads as can be configured the bounds hold from the start', t => {
  t.match(after(new PullPlaces(16), 0, NEAR), { all: PULLS_MAX, backfill: 32 })
  t.end()
})

t.test('pull places: pulls that work long, on the processor or on the disk, do not become more', t => {
  for (const workedMs of [1_000, 60_000])
    t.match(after(new PullPlaces(2), MANY, { waitedMs: 200, workedMs }), { all: 8, backfill: 4 })
  t.end()
})

t.test('pull places: when the line is quick again they become as few as they were', t => {
  const places = new PullPlaces(2)
  t.ok(after(places, MANY, FAR).backfill > 30)
  t.match(after(places, MANY, NEAR), { all: 8, backfill: 4 })
  t.end()
})

t.test('pull places: one odd pull changes little, whatever it says', t => {
  const near = new PullPlaces(2)
  after(near, MANY, NEAR)
  t.ok(after(near, 1, { waitedMs: 60_000, workedMs: 0 }).backfill <= 7)
  const far = new PullPlaces(2)
  const before = after(far, MANY, { waitedMs: 200, workedMs: 20 }).backfill
  t.ok(before - after(far, 1, { waitedMs: 0, workedMs: 60_000 }).backfill <= 2)
  t.end()
})

t.test('pull places: a few dozen pulls are enough to find out that the primary is far', t => {
  t.ok(after(new PullPlaces(2), 32, FAR).backfill >= 30)
  t.end()
})

t.test('pull places: pulls that move much count as four, and never take the places that a near primary has', t => {
  let heavy = 0
  const places = new PullPlaces(2, () => heavy)
  const before = after(places, MANY, { waitedMs: 200, workedMs: 20 })
  heavy = 3
  t.equal(places.backfill, before.backfill - 9)
  heavy = 30
  t.equal(places.backfill, 4)
  t.equal(places.all, before.all, 'what is pushed does not wait for them')
  t.end()
})

t.test('pull places: much is many bytes or many objects', t => {
  t.notOk(isHeavy({ objects: 100, bytes: 1024 * 1024 }))
  t.ok(isHeavy({ objects: 3, bytes: 24 * 1024 * 1024 }))
  t.ok(isHeavy({ objects: 20_000, bytes: 1024 * 1024 }))
  t.end()
})

t.test('pull places: the queue gives out more, and later fewer, as they change', t => {
  const places = new PullPlaces(1)
  const queue = new SyncQueue(places)
  const repos = Array.from({ length: 40 }, (_, n) =>
    parseRepoId(`00000000-0000-4000-8000-${String(n).padStart(12, '0')}`),
  )
  for (const repo of repos) queue.offer(repo, 'backfill')
  const leases: Lease[] = []
  const takeAll = () => {
    for (let lease = queue.take(); lease; lease = queue.take()) leases.push(lease)
  }
  takeAll()
  t.equal(queue.running, 2)
  after(places, MANY, { waitedMs: 200, workedMs: 10 })
  takeAll()
  t.equal(queue.running, places.backfill)
  t.ok(queue.running > 15)
  after(places, MANY, NEAR)
  leases.pop()?.[Symbol.dispose]()
  t.equal(queue.take(), undefined, 'those that run go on, and none begins')
  t.end()
})

t.test(
  'thread bounds: all threads together stay below what the agent serves at once, with a delta for each pull',
  t => {
    const AGENT_JOBS_MAX = 64
    for (let threads = 1; threads <= 16; threads++) {
      const { connections, blockAnswers } = threadBounds(threads)
      t.ok(blockAnswers >= 1)
      t.ok(PULLS_MAX + threads * blockAnswers <= AGENT_JOBS_MAX, `${threads} threads`)
      t.ok(connections >= Math.ceil(PULLS_MAX / threads) + blockAnswers, 'no request waits for a connection')
    }
    t.end()
  },
)

t.test(
  'fetch places: at least two requests for blocks, and one more for each time that the first bytes take as long as the rest',
  t => {
    const cases = [
      { firstMs: 1, restMs: 300, count: 2 },
      { firstMs: 200, restMs: 250, count: 2 },
      { firstMs: 200, restMs: 100, count: 3 },
      { firstMs: 200, restMs: 70, count: 4 },
      { firstMs: 60_000, restMs: 0, count: 4 },
    ]
    for (const { count, ...took } of cases) {
      const places = new FetchPlaces()
      for (let n = 0; n < MANY; n++) places.fetched(took)
      t.equal(places.count, count, JSON.stringify(took))
    }
    t.end()
  },
)

t.test('fetch places: one odd fetch adds one request, and they become fewer again', t => {
  const places = new FetchPlaces()
  places.fetched({ firstMs: 60_000, restMs: 1 })
  t.equal(places.count, 3)
  for (let n = 0; n < MANY; n++) places.fetched({ firstMs: 1, restMs: 300 })
  t.equal(places.count, 2)
  t.end()
})
