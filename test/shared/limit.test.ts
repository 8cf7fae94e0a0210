import t from 'tap'
import { limit } from '../../src/shared/limit.js'

const stuck = () => {
  let release = (): void => {}
  const task = () => new Promise<void>(resolve => (release = resolve))
  return { task, release: () => release() }
}

t.test('limit: whoever is aborted while waiting stops waiting at once, and takes no place', async t => {
  const turn = limit(1)
  const first = stuck()
  const running = turn(first.task)
  const gone = new AbortController()
  let ran = false
  const waiting = turn(async () => void (ran = true), gone.signal)
  const behind = turn(async () => 'done')
  gone.abort(new Error('no longer wanted'))
  await t.rejects(waiting, { message: 'no longer wanted' })
  first.release()
  await running
  t.equal(await behind, 'done')
  t.notOk(ran)
  await t.rejects(
    turn(async () => {}, gone.signal),
    { message: 'no longer wanted' },
  )
  t.equal(await turn(async () => 'free again'), 'free again')
})

t.test('limit: a task that throws gives its place to the next', async t => {
  const turn = limit(1)
  const failing = turn(async () => {
    throw new Error('failed')
  })
  const next = turn(async () => 'next')
  await t.rejects(failing, { message: 'failed' })
  t.equal(await next, 'next')
})

t.test('limit: no more run at once than it says, in the order in which they came', async t => {
  const turn = limit(2)
  const tasks = [stuck(), stuck(), stuck()]
  const begun: number[] = []
  const all = tasks.map(({ task }, n) =>
    turn(() => {
      begun.push(n)
      return task()
    }),
  )
  await new Promise(resolve => setImmediate(resolve))
  t.strictSame(begun, [0, 1])
  tasks[1]?.release()
  await all[1]
  await new Promise(resolve => setImmediate(resolve))
  t.strictSame(begun, [0, 1, 2])
  for (const { release } of tasks) release()
  await Promise.all(all)
})

t.test('limit: fewer than one place is a mistake of the caller', async t => {
  for (const wrong of [0, -1, 1.5, NaN]) t.throws(() => limit(wrong), RangeError)
})
