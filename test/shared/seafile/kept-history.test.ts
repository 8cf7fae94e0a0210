import fc from 'fast-check'
import t from 'tap'
import { followsParents } from '../../../src/shared/seafile/history-rule.js'
import { keepsMore } from '../../../src/shared/seafile/kept-history.js'

const since = fc.oneof(fc.constantFrom(-5, -1, 0, 1), fc.integer({ min: 1, max: 100 }))

t.test('kept history: all history is more than a part, a part more than the head alone', async t => {
  t.equal(keepsMore(-1, 5), true)
  t.equal(keepsMore(5, 6), true, 'an earlier second keeps more')
  t.equal(keepsMore(5, 0), true, 'zero is the head alone, not the beginning of time')
  t.equal(keepsMore(0, 5), false)
  t.equal(keepsMore(6, 5), false)
  t.equal(keepsMore(5, -1), false)
})

t.test('kept history: nothing keeps more than itself, and any negative number is all history', async t => {
  for (const time of [-7, -1, 0, 1, 1_800_000_000]) t.equal(keepsMore(time, time), false, String(time))
  t.equal(keepsMore(-7, -1), false)
  t.equal(keepsMore(-1, -7), false)
})

t.test('kept history: a time that does not keep more never goes on to parents where the other stops', async t => {
  const covered = fc.property(since, since, fc.nat(120), fc.boolean(), (a, b, ctime, isHead) => {
    return keepsMore(a, b) || !followsParents(a, ctime, isHead) || followsParents(b, ctime, isHead)
  })
  t.equal(fc.check(covered, { numRuns: 2_000 }).failed, false)
})
