/** What is taken of the server's events, and how much of it is held. */

import t from 'tap'
import { BeyondReach, Slice } from '../../../src/primary/binlog/slice.js'
import { event, formatDescription } from '../../support/binlog-bytes.js'

const MIB = 1024 * 1024
const FROM = { file: 'mysql-bin.000007', offset: 2 ** 32 - 10 * MIB }

/** Events of a MiB, one after the other, from there on. */
function* eventsFrom(offset: number): Generator<Buffer> {
  for (let at = offset; ;) {
    const next = event({ at, body: MIB, checksums: true })
    at += next.byteLength
    yield next
  }
}

t.test('slice: behind 4 GiB, where nobody can go on, a file is taken to its end', async t => {
  const slice = new Slice(FROM, 16 * MIB)
  slice.take(formatDescription({ checksums: true }))
  for (const next of eventsFrom(FROM.offset)) {
    slice.take(next)
    if (slice.position.offset > 2 ** 32 + 50 * MIB) break
    t.equal(slice.isFull, false)
  }
  const bytes = slice.end().reduce((sum, piece) => sum + (typeof piece === 'string' ? 0 : piece.byteLength), 0)
  t.equal(bytes, slice.position.offset - FROM.offset)
})

t.test('slice: of a file that goes on for longer than can be held, that is said', async t => {
  const slice = new Slice(FROM, 16 * MIB)
  slice.take(formatDescription({ checksums: true }))
  let taken = 0
  t.throws(
    () => {
      for (const next of eventsFrom(FROM.offset)) {
        slice.take(next)
        taken += next.byteLength
        if (taken > 1024 * MIB) break
      }
    },
    { name: BeyondReach.name, message: /^mysql-bin\.000007 is longer than 4 GiB/ },
  )
  t.ok(taken < 76 * MIB, `${taken} bytes were held`)
})
