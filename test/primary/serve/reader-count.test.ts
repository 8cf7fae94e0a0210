import t from 'tap'
import { ReaderCount } from '../../../src/primary/serve/reader-count.js'
import type { ThreadLoad } from '../../../src/primary/serve/reader-count.js'

const LOOK_MS = 500

interface Doing {
  readonly jobs?: number
  readonly idleMs?: number
  readonly busyMs?: number
  readonly cpuMs?: number
  readonly queuedMs?: number
  readonly turns?: number
}

/** Half a second on a disk that takes 10 ms for each read, unless told otherwise. */
const thread = ({
  jobs = 4,
  idleMs = 0,
  busyMs = 490,
  cpuMs = 20,
  queuedMs = 2,
  turns = 47,
}: Doing = {}): ThreadLoad => ({
  jobs,
  idleMs,
  wallMs: LOOK_MS,
  busyMs,
  times: { cpuMs, queuedMs, turns },
})

const threads = (count: number, doing?: Doing): ThreadLoad[] => Array.from({ length: count }, () => thread(doing))

/** As a pool that asks at each look and gets what it asks for; how many threads there are in the end. */
function grown(readers: ReaderCount, doing: (count: number) => Doing): number {
  let count = readers.least
  for (let look = 0; look < 100; look++) if (readers.wantsMore(threads(count, doing(count)))) count += 1
  return count
}

t.test('readers: a disk that is waited for gets more threads, up to the bound', async t => {
  t.equal(
    grown(new ReaderCount(2), () => ({})),
    16,
  )
})

t.test('readers: the bound is eight for each that was set, sixteen in all, and never below what was set', async t => {
  for (const [least, most] of [
    [1, 8],
    [2, 16],
    [4, 16],
    [16, 16],
  ] as const) {
    const readers = new ReaderCount(least)
    t.equal(readers.most, most)
    t.equal(
      grown(readers, () => ({})),
      most,
    )
  }
})

t.test('readers: threads that are busy with the processor get no company', async t => {
  const readers = new ReaderCount(2)
  t.equal(readers.wantsMore(threads(2, { cpuMs: 470, turns: 20 })), false)
  t.equal(readers.wantsMore(threads(2, { cpuMs: 250 })), false, 'half is reading itself')
})

t.test('readers: threads that wait for a processor get no company, however little of it they had', async t => {
  const readers = new ReaderCount(2)
  t.equal(readers.wantsMore(threads(2, { cpuMs: 50, queuedMs: 400 })), false)
  t.equal(readers.wantsMore(threads(2, { cpuMs: 20, queuedMs: 150 })), false, 'the disk is slow, and processors short')
})

t.test('readers: threads held back by the backup, max_rate or max_cpu get no company', async t => {
  t.equal(new ReaderCount(2).wantsMore(threads(2, { busyMs: 200, cpuMs: 10, turns: 20 })), false)
})

t.test('readers: one thread that has room is enough', async t => {
  const readers = new ReaderCount(2)
  t.equal(readers.wantsMore([thread(), thread({ jobs: 0, busyMs: 0, cpuMs: 0 })]), false)
  t.equal(readers.wantsMore([thread(), thread({ cpuMs: 400 })]), false, 'one of them works')
})

t.test('readers: a thread that is new says nothing yet', async t => {
  const fresh = { ...thread({ jobs: 1, busyMs: 0 }), times: undefined }
  t.equal(new ReaderCount(2).wantsMore([...threads(2), fresh]), true)
})

t.test('readers: a disk on which more reads at once only wait for each other is left in peace', async t => {
  // one arm: twice the threads, twice the wait
  const oneArm = (count: number) => ({ turns: Math.round(100 / count) })
  t.equal(grown(new ReaderCount(2), oneArm), 4, 'until a read takes twice as long as with those that were set')
})

t.test('readers: what a wait is without more is learned anew when there are no more', async t => {
  const readers = new ReaderCount(2)
  t.equal(readers.wantsMore(threads(2, { turns: 500 })), true, 'a millisecond each')
  t.equal(readers.wantsMore(threads(3, { turns: 50 })), false, 'now ten: others use the disk')
  t.equal(readers.wantsMore(threads(2, { turns: 50 })), true)
  t.equal(readers.wantsMore(threads(3, { turns: 50 })), true)
})

t.test('readers: where the system says nothing of its threads there are as many as were set', async t => {
  const unknown = threads(2).map(load => ({ ...load, times: undefined }))
  t.equal(new ReaderCount(2).wantsMore(unknown), false)
})

t.test('readers: beyond those that were set, a thread that had nothing to do for half a minute goes', async t => {
  const readers = new ReaderCount(2)
  const idle = (idleMs: number) => thread({ jobs: 0, idleMs, busyMs: 0 })
  t.equal(readers.spare([thread(), idle(29_999), thread()]), undefined)
  t.equal(readers.spare([thread(), idle(30_000), thread()]), 1)
  t.equal(readers.spare([idle(60_000), idle(60_000), idle(60_000)]), 2, 'the youngest first')
  t.equal(readers.spare([idle(60_000), idle(60_000)]), undefined, 'never below what was set')
})
