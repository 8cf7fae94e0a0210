import t from 'tap'
import { giveBack } from '../../src/shared/give-back.js'

t.test('give back: a buffer of its own is empty afterwards, a part of another is left as it was', async t => {
  const own = Buffer.from(new ArrayBuffer(100_000))
  giveBack(own)
  t.equal(own.byteLength, 0)

  const whole = Buffer.from(new ArrayBuffer(100_000))
  giveBack(whole.subarray(1))
  giveBack(whole.subarray(0, 99_999))
  const pooled = Buffer.from('a few bytes of the pool that all share')
  giveBack(pooled)
  t.strictSame([whole.byteLength, pooled.toString()], [100_000, 'a few bytes of the pool that all share'])
})
