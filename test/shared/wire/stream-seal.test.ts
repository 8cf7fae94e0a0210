/** What proves a stream piece by piece: nothing of it can be changed, left out, doubled, moved, or taken from another. */

import fc from 'fast-check'
import t from 'tap'
import { authKey } from '../../../src/shared/wire/auth.js'
import { SEGMENT_BYTES, SEGMENT_FRAMES, StreamSeal } from '../../../src/shared/wire/stream-seal.js'
import { buffer } from './support.js'

const KEY = authKey('the sync token')
const NONCE = 'a'.repeat(32)
const NOTHING = Buffer.alloc(0)

type Segment = readonly Buffer[]

/** The proofs of segments, and the end of the stream. */
function proofs(segments: readonly Segment[], { key = KEY, nonce = NONCE, changed = false } = {}): string[] {
  const seal = new StreamSeal(key, nonce)
  const closed = segments.map(frames => {
    for (const frame of frames) seal.add(frame.subarray(0, 1), frame.subarray(1))
    return seal.close().toString('hex')
  })
  return [...closed, seal.end(changed)]
}

const frame = buffer({ minLength: 1, maxLength: 20 })
const segments = fc.array(fc.array(frame, { minLength: 1, maxLength: 4 }), { minLength: 2, maxLength: 6 })
const bytesOf = (frames: Segment = []) => Buffer.concat([...frames]).toString('hex')

t.test('stream seal: a segment is proven in its place alone, whatever the segments around it say', async () => {
  fc.assert(
    fc.property(segments, fc.nat(), fc.nat(), (said, a, b) => {
      const [from, to] = [a % said.length, b % said.length]
      const proof = proofs(said)[from]
      const moved = proofs(said.with(to, said[from] as Buffer[]))[to]
      return (proof === moved) === (from === to)
    }),
  )
})

t.test('stream seal: a proof is of all frames of its segment, in their order, and of no other byte', async () => {
  fc.assert(
    fc.property(segments, segments, (said, other) => {
      const same = bytesOf(said[0]) === bytesOf(other[0])
      return (proofs(said)[0] === proofs(other)[0]) === same
    }),
  )
})

t.test('stream seal: where a stream ends, and what its end says, is proven', async t => {
  const said = [[Buffer.from('one')], [Buffer.from('two')], [Buffer.from('three')]]
  const ends = [
    proofs(said),
    proofs(said.slice(1)),
    proofs([]),
    proofs(said, { changed: true }),
    proofs(said, { key: authKey('another') }),
    proofs(said, { nonce: 'b'.repeat(32) }),
  ].map(all => all.at(-1))
  t.equal(new Set(ends).size, ends.length)
})

t.test('stream seal: a segment is proven for one key and one request', async t => {
  const said = [[Buffer.from('one')]]
  const all = [proofs(said), proofs(said, { key: authKey('another') }), proofs(said, { nonce: 'b'.repeat(32) })]
  t.equal(new Set(all.flat()).size, 6)
})

t.test('stream seal: a segment is full with its frames or its bytes, and empty when it was proved', async t => {
  const seal = new StreamSeal(KEY, NONCE)
  for (let n = 0; n < SEGMENT_FRAMES; n++) {
    t.notOk(seal.isFull)
    seal.add(Buffer.from('x'), NOTHING)
  }
  t.ok(seal.isFull)
  seal.close()
  t.notOk(seal.isFull || seal.isOpen)
  seal.add(NOTHING, Buffer.alloc(SEGMENT_BYTES - 1))
  t.notOk(seal.isFull)
  seal.add(NOTHING, Buffer.alloc(1))
  t.ok(seal.isFull)
})
