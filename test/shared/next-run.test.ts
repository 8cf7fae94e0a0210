import t from 'tap'
import { NextRun } from '../../src/shared/next-run.js'

/** Runs that end when they are told to. */
function runs() {
  const begun: PromiseWithResolvers<void>[] = []
  const next = new NextRun(() => {
    const run = Promise.withResolvers<void>()
    begun.push(run)
    return run.promise
  })
  return { begun, next }
}

const turn = () => new Promise<void>(resolve => setImmediate(resolve))

t.test('next run: what was asked while one runs is not done when that one ends', async t => {
  const { begun, next } = runs()
  const done: string[] = []
  const ask = (name: string) => next.ask().then(() => done.push(name))
  const first = ask('first')
  const [second, third] = [ask('second'), ask('third')]
  t.equal(begun.length, 1)
  begun[0]?.resolve()
  await first
  await turn()
  t.strictSame(done, ['first'])
  t.equal(begun.length, 2, 'one run for both')
  const fourth = ask('fourth')
  begun[1]?.resolve()
  await Promise.all([second, third])
  await turn()
  t.equal(begun.length, 3)
  begun[2]?.resolve()
  await fourth
  t.strictSame(done, ['first', 'second', 'third', 'fourth'])
})

t.test(
  'next run: a failure is of all who shared that run and of all who waited for it to end, and of no other',
  async t => {
    const { begun, next } = runs()
    const first = next.ask()
    const [second, third] = [next.ask(), next.ask()]
    const failure = new Error('Input/output error')
    begun[0]?.reject(failure)
    for (const asked of [first, second, third]) await t.rejects(asked, failure)
    await turn()
    t.equal(begun.length, 1, 'nobody was told that all is well by a second run')
    const fourth = next.ask()
    begun[1]?.resolve()
    await fourth
    t.equal(begun.length, 2)
  },
)

t.test('next run: where nobody waits each call is a run', async t => {
  const { begun, next } = runs()
  for (let n = 0; n < 3; n++) {
    const asked = next.ask()
    begun[n]?.resolve()
    await asked
  }
  t.equal(begun.length, 3)
})
