import t from 'tap'
import { LineWait } from '../../../src/backup/sync/line-wait.js'

/** Time that passes when it is told to, idle or not. */
class ToldClock {
  #now = 1_000
  #idle = 500

  now(): number {
    return this.#now
  }

  idle(): number {
    return this.#idle
  }

  passIdle(ms: number): void {
    this.#now += ms
    this.#idle += ms
  }

  passBusy(ms: number): void {
    this.#now += ms
  }
}

function waiting(act: (clock: ToldClock) => void): { clock: ToldClock; wait: LineWait } {
  const clock = new ToldClock()
  const wait = new LineWait(clock)
  const one = wait.begin()
  act(clock)
  one[Symbol.dispose]()
  return { clock, wait }
}

t.test('line wait: a thread that has nothing else to do waits for the line', t => {
  const { clock, wait } = waiting(clock => clock.passIdle(200))
  clock.passBusy(10)
  t.strictSame(wait.times, { waitedMs: 200, workedMs: 10 })
  t.end()
})

t.test('line wait: of an answer that waits for its turn in a busy thread nothing counts, as waiting or as work', t => {
  const { clock, wait } = waiting(clock => clock.passBusy(200))
  clock.passBusy(10)
  t.strictSame(wait.times, { waitedMs: 0, workedMs: 10 })
  t.end()
})

t.test('line wait: a thread with room for more waited for the line all the time, whoever used it meanwhile', t => {
  const { wait } = waiting(clock => {
    clock.passBusy(150)
    clock.passIdle(50)
  })
  t.strictSame(wait.times, { waitedMs: 200, workedMs: 0 })
  t.end()
})

t.test('line wait: a thread that was hardly idle waited for the line for a part of the time', t => {
  const { wait } = waiting(clock => {
    clock.passBusy(195)
    clock.passIdle(5)
  })
  t.strictSame(wait.times, { waitedMs: 50, workedMs: 0 })
  t.end()
})

t.test('line wait: answers that are waited for at the same time are one wait', t => {
  const clock = new ToldClock()
  const wait = new LineWait(clock)
  const first = wait.begin()
  clock.passIdle(50)
  const second = wait.begin()
  clock.passIdle(100)
  first[Symbol.dispose]()
  clock.passIdle(50)
  second[Symbol.dispose]()
  clock.passBusy(10)
  t.strictSame(wait.times, { waitedMs: 200, workedMs: 10 })
  t.end()
})
