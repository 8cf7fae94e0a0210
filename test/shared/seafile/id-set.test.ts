import fc from 'fast-check'
import t from 'tap'
import { EMPTY_ID } from '../../../src/shared/ids.js'
import { IdSet } from '../../../src/shared/seafile/id-set.js'
import { idOf } from '../../support/objects.js'

/** Ids that fall into the same few slots, and differ late or early. */
const crowded = fc
  .tuple(fc.constantFrom('00000000', '000003ff', 'ffffffff', '00000400'), fc.integer({ min: 1, max: 40 }))
  .map(([head, tail]) => head + tail.toString(16).padStart(32, '0'))

t.test('id set: says of each id what a Set says, also of ids that share a slot', async t => {
  const step = fc.record({ id: crowded, add: fc.boolean() })
  const asASet = fc.property(fc.array(step, { maxLength: 300 }), steps => {
    const [ids, model] = [new IdSet(), new Set<string>()]
    for (const { id, add } of steps) {
      if (ids.has(id) !== model.has(id)) return false
      if (add && ids.add(id) === model.has(id)) return false
      if (add) model.add(id)
      if (ids.size !== model.size) return false
    }
    return true
  })
  t.equal(fc.check(asASet).failed, false)
})

t.test('id set: of 100,000 ids none is forgotten and no other is taken for present', async t => {
  const ids = new IdSet()
  const names = Array.from({ length: 100_000 }, (_, n) => idOf(`member ${n}`))
  t.equal(names.filter(id => ids.add(id)).length, 100_000, 'each is new')
  t.equal(names.filter(id => ids.add(id)).length, 0, 'none is new again')
  t.equal(names.filter(id => ids.has(id)).length, 100_000)
  t.equal(names.filter((_, n) => ids.has(idOf(`stranger ${n}`))).length, 0)
  t.equal(ids.size, 100_000)
})

t.test('id set: ids that differ in one hex digit are different ids', async t => {
  const ids = new IdSet()
  const id = idOf('one')
  ids.add(id)
  for (let digit = 0; digit < id.length; digit++) {
    const other = id.slice(0, digit) + (id[digit] === '0' ? '1' : '0') + id.slice(digit + 1)
    t.equal(ids.has(other), false, `digit ${digit}`)
  }
})

t.test('id set: ids that differ in the same high bits of two places are different ids, whatever the keys', async t => {
  const bytes = Buffer.from(idOf('one'), 'hex')
  for (const bit of [0x80, 0x40, 0xc0, 0xff]) {
    for (let a = 0; a < bytes.byteLength; a++) {
      for (let b = a + 1; b < bytes.byteLength; b++) {
        const other = Buffer.from(bytes)
        for (const at of [a, b]) other[at] = (other[at] ?? 0) ^ bit
        const ids = new IdSet()
        ids.add(bytes.toString('hex'))
        if (ids.has(other.toString('hex'))) t.fail(`bits ${bit} of bytes ${a} and ${b}`)
      }
    }
  }
  t.pass('760 pairs')
})

t.test('id set: an id whose first bytes are zero is a member like any other', async t => {
  const ids = new IdSet()
  const nearlyEmpty = '0'.repeat(39) + '1'
  t.equal(ids.has(nearlyEmpty), false)
  t.equal(ids.add(nearlyEmpty), true)
  for (let n = 0; n < 5_000; n++) ids.add(idOf(String(n))) // it moves when the table grows
  t.equal(ids.has(nearlyEmpty), true)
})

t.test('id set: the id of forty zeros is never a member', async t => {
  const ids = new IdSet()
  t.equal(ids.has(EMPTY_ID), false)
  for (let n = 0; n < 2_000; n++) ids.add(idOf(String(n)))
  t.equal(ids.has(EMPTY_ID), false)
})

t.test('id set: what is too short or not hex is refused, not taken for an id', async t => {
  const ids = new IdSet()
  for (const wrong of ['', 'ab', 'f'.repeat(38), 'g'.repeat(40), 'f'.repeat(39) + 'x']) {
    t.throws(() => ids.add(wrong), RangeError, wrong)
    t.throws(() => ids.has(wrong), RangeError, wrong)
  }
})
