import fc from 'fast-check'
import t from 'tap'
import { CommitQueue } from '../../../src/shared/seafile/commit-queue.js'

interface Item {
  readonly ctime: number
  readonly name: number
}

t.test('commit queue: gives the newest commit that is waiting, whatever the order of pushes and pops', async t => {
  // null: pop
  const steps = fc.array(fc.option(fc.integer({ min: -5, max: 20 }), { nil: null, freq: 3 }), { maxLength: 200 })
  const asASortedArray = fc.property(steps, steps => {
    const queue = new CommitQueue<Item>()
    const waiting: Item[] = []
    for (const [name, ctime] of steps.entries()) {
      if (ctime !== null) {
        queue.push({ ctime, name })
        waiting.push({ ctime, name })
      } else {
        const popped = queue.pop()
        const newest = Math.max(...waiting.map(item => item.ctime))
        if (popped === undefined ? waiting.length > 0 : popped.ctime !== newest) return false
        const at = waiting.findIndex(item => item.name === popped?.name)
        if (popped && at < 0) return false // never pushed, or given twice
        if (popped) waiting.splice(at, 1)
      }
      if (queue.size !== waiting.length) return false
    }
    return true
  })
  t.equal(fc.check(asASortedArray).failed, false)
})

t.test('commit queue: 100,000 commits come out newest first, each once', async t => {
  const queue = new CommitQueue<Item>()
  for (let name = 0; name < 100_000; name++) queue.push({ ctime: (name * 7_919) % 50_021, name })
  const names = new Set<number>()
  let before = Infinity
  let ordered = true
  for (let item = queue.pop(); item; item = queue.pop()) {
    ordered &&= item.ctime <= before
    before = item.ctime
    names.add(item.name)
  }
  t.equal(ordered, true)
  t.equal(names.size, 100_000)
  t.equal(queue.pop(), undefined, 'nothing is left')
})
