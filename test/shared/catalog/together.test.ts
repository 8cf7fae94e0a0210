import t from 'tap'
import { Together } from '../../../src/shared/catalog/together.js'

t.test('together: work that fails as a whole fails for all who asked, and the next goes on', async t => {
  let isBroken = true
  const together = new Together<number>(async items => {
    if (isBroken) throw new Error('the disk is full')
    return items.map(() => undefined)
  })
  const all = await Promise.allSettled([together.add(1), together.add(2)])
  t.strictSame(
    all.map(one => one.status === 'rejected' && (one.reason as Error).message),
    ['the disk is full', 'the disk is full'],
  )
  isBroken = false
  await together.add(3)
})

t.test('together: each hears how its own went', async t => {
  const together = new Together<number>(async items => items.map(n => (n % 2 ? new Error(`${n} is odd`) : undefined)))
  const all = await Promise.allSettled([1, 2, 3, 4].map(n => together.add(n)))
  t.strictSame(
    all.map(one => (one.status === 'rejected' ? (one.reason as Error).message : 'done')),
    ['1 is odd', 'done', '3 is odd', 'done'],
  )
})

t.test('together: what is asked for in one turn is done in one go, what comes meanwhile in the next', async t => {
  const gos: number[][] = []
  const together = new Together<number>(async items => {
    gos.push([...items])
    if (gos.length === 1) later = [together.add(4), together.add(5)]
    await new Promise(resolve => setTimeout(resolve, 5))
    return items.map(() => undefined)
  })
  let later: Array<Promise<void>> = []
  await Promise.all([1, 2, 3].map(n => together.add(n)))
  await Promise.all(later)
  t.strictSame(gos, [
    [1, 2, 3],
    [4, 5],
  ])
})
