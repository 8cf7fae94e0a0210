import fc from 'fast-check'
import t from 'tap'
import { BackupError } from '../../../src/shared/errors.js'
import {
  decodeAbsent,
  decodeBlockRef,
  decodeJson,
  encodeAbsent,
  encodeBlockRef,
  FRAME,
  FRAME_BYTES_MAX,
  FRAME_HEADER_BYTES,
  frameHeader,
  frameId,
  FrameReader,
} from '../../../src/shared/wire/frames.js'
import { buffer, cut, objectId, refusesOrGives } from './support.js'
import type { Frame } from '../../../src/shared/wire/frames.js'

const encoded = ({ type, payload }: Frame) => Buffer.concat([frameHeader(type, payload.byteLength), payload])
const frame: fc.Arbitrary<Frame> = fc.record({
  type: fc.constantFrom(...Object.values(FRAME)),
  payload: fc.oneof(fc.constant(Buffer.alloc(0)), buffer({ maxLength: 60 })),
})
const frames = fc.array(frame, { maxLength: 8 })

/** Chunk sizes, used in turn; a zero is an empty chunk. */
const sizes = fc.array(fc.nat(12), { minLength: 1, maxLength: 6 }).filter(some => some.some(size => size > 0))

const read = (reader: FrameReader, chunks: readonly Buffer[]) => chunks.flatMap(chunk => [...reader.push(chunk)])
const same = (a: readonly Frame[], b: readonly Frame[]) =>
  a.length === b.length && a.every(({ type, payload }, i) => type === b[i]?.type && payload.equals(b[i].payload))

/** The frames that came before the refusal, and the refusal. */
function readToRefusal(chunks: readonly Buffer[]) {
  const reader = new FrameReader()
  const got: Frame[] = []
  try {
    for (const chunk of chunks) for (const one of reader.push(chunk)) got.push(one)
  } catch (error) {
    return { got, refused: error }
  }
  return { got, refused: undefined }
}

t.test(
  'frames: a stream cut anywhere but between two frames is not at a boundary, and gives only whole frames',
  async t => {
    fc.assert(
      fc.property(frames, sizes, (sent, chunkSizes) => {
        const bytes = Buffer.concat(sent.map(encoded))
        let end = 0
        const ends = [0, ...sent.map(one => (end += encoded(one).byteLength))]
        for (let length = 0; length <= bytes.byteLength; length += 1) {
          const reader = new FrameReader()
          const got = read(reader, cut(bytes.subarray(0, length), chunkSizes))
          const whole = ends.filter(at => at > 0 && at <= length).length
          if (!same(got, sent.slice(0, whole)) || reader.atBoundary !== ends.includes(length)) return false
        }
        return true
      }),
      { numRuns: 40 },
    )
    t.pass('no counterexample')
  },
)

t.test('frames: a frame longer than the bound is refused before its bytes are waited for', async t => {
  for (const length of [FRAME_BYTES_MAX + 1, 0x7fffffff, 0xffffffff]) {
    const header = frameHeader(FRAME.block, 0)
    header.writeUInt32BE(length, 1)
    t.throws(() => [...new FrameReader().push(header)], { code: 'PROTOCOL_BROKEN' }, `${length} bytes`)
  }
  const longest = new FrameReader()
  t.strictSame([...longest.push(frameHeader(FRAME.block, FRAME_BYTES_MAX))], [], 'one of the bound is waited for')
  t.equal(longest.atBoundary, false)
  t.throws(() => frameHeader(FRAME.block, FRAME_BYTES_MAX + 1), RangeError, 'and none longer is ever sent')
})

t.test('frames: every unknown type is refused at its header, after the frames before it were given', async t => {
  const known = new Set<number>(Object.values(FRAME))
  const before = { type: FRAME.tree, payload: Buffer.alloc(20, 7) }
  for (let type = 0; type <= 255; type += 1) {
    const header = Buffer.from([type, 0, 0, 0, 9])
    const { got, refused } = readToRefusal([Buffer.concat([encoded(before), header])])
    if (!same(got, [before])) t.fail(`the frame before type ${type} was lost`)
    if (known.has(type)) t.equal(refused, undefined)
    else t.match(refused, { code: 'PROTOCOL_BROKEN', message: `unknown type ${type}` })
  }
})

t.test('frames: however the stream is cut into chunks, the frames are the same', async t => {
  fc.assert(
    fc.property(frames, sizes, (sent, chunkSizes) => {
      const reader = new FrameReader()
      return same(read(reader, cut(Buffer.concat(sent.map(encoded)), chunkSizes)), sent) && reader.atBoundary
    }),
    { numRuns: 500 },
  )
  const sent: Frame[] = [
    { type: FRAME.trees, payload: Buffer.alloc(0) },
    { type: FRAME.alive, payload: Buffer.alloc(0) },
    { type: FRAME.block, payload: Buffer.from('block') },
    { type: FRAME.alive, payload: Buffer.alloc(0) },
  ]
  for (const chunkSizes of [[1], [0, 1], [FRAME_HEADER_BYTES], [FRAME_HEADER_BYTES, 0, 0], [10_000]]) {
    const got = read(new FrameReader(), cut(Buffer.concat(sent.map(encoded)), chunkSizes))
    t.ok(same(got, sent), `in chunks of ${chunkSizes.join(', ')}`)
  }
})

t.test('frames: an empty payload is given with its header, not with the next chunk', async t => {
  const reader = new FrameReader()
  t.strictSame([...reader.push(frameHeader(FRAME.trees, 0).subarray(0, 4))], [])
  t.match([...reader.push(Buffer.alloc(1))], [{ type: FRAME.trees }])
  t.equal(reader.atBoundary, true)
})

t.test('frames: of any bytes, what is given is what was sent, and the rest is waited for or refused', async t => {
  const likely = fc.array(fc.oneof(fc.constantFrom(0, 0, 0, 1, 5, 10, 11), fc.nat(255)), { maxLength: 120 })
  const anything = fc.oneof(
    buffer({ maxLength: 200 }),
    likely.map(some => Buffer.from(some)),
  )
  fc.assert(
    fc.property(anything, sizes, (bytes, chunkSizes) => {
      const { got, refused } = readToRefusal(cut(bytes, chunkSizes))
      const back = Buffer.concat(got.map(encoded))
      const prefix = bytes.subarray(0, back.byteLength).equals(back)
      return prefix && (refused === undefined || (refused instanceof BackupError && refused.code === 'PROTOCOL_BROKEN'))
    }),
    { numRuns: 1_000 },
  )
  t.pass('no counterexample')
})

t.test('frames: large payloads, whole or in parts, between small ones, are what was sent', async t => {
  const large = (bytes: number, fill: number): Frame => ({ type: FRAME.block, payload: Buffer.alloc(bytes, fill) })
  const small: Frame = { type: FRAME.tree, payload: Buffer.alloc(20, 7) }
  const sent = [small, large(600_000, 1), small, large(9_000_000, 2), large(20_000_000, 3), large(524_288, 4), small]
  const bytes = Buffer.concat(sent.map(encoded))
  for (const size of [65_536, 1_000_003, bytes.byteLength]) {
    const reader = new FrameReader()
    let at = 0
    for (let from = 0; from < bytes.byteLength; from += size) {
      // looked at before the next is asked for: the room is used again
      for (const frame of reader.push(bytes.subarray(from, from + size))) {
        t.ok(same([frame], sent.slice(at, at + 1)), `frame ${at} in chunks of ${size}`)
        at += 1
      }
    }
    t.equal(at, sent.length)
    t.equal(reader.atBoundary, true)
  }
})

t.test('frames: a length that is announced and never comes takes no room of its size', async t => {
  const reader = new FrameReader()
  const before = process.memoryUsage().arrayBuffers
  t.strictSame([...reader.push(frameHeader(FRAME.block, FRAME_BYTES_MAX))], [])
  t.strictSame([...reader.push(Buffer.alloc(1_000))], [])
  t.ok(process.memoryUsage().arrayBuffers - before < 32 * 1024 * 1024)
})

t.test('frames: a large frame in very small chunks is joined in time that grows with its size only', async t => {
  const timeOf = (bytes: number) => {
    const reader = new FrameReader()
    const chunks = [frameHeader(FRAME.block, bytes), ...cut(Buffer.alloc(bytes, 1), [1])]
    const start = performance.now()
    t.match(read(reader, chunks), [{ type: FRAME.block }])
    return performance.now() - start
  }
  timeOf(10_000)
  const elapsed = timeOf(600_000)
  t.ok(elapsed < 2_000, `${Math.round(elapsed)} ms`)
})

const absent = fc.record(
  {
    kind: fc.constantFrom('commits' as const, 'fs' as const, 'blocks' as const),
    id: objectId,
    problem: fc.constantFrom('missing' as const, 'corrupt' as const, 'unreadable' as const),
    reason: fc.string({ unit: 'grapheme-ascii', maxLength: 200 }),
  },
  { noNullPrototype: true },
)

t.test('frames: ABSENT of any bytes is decoded to printable text or refused', async t => {
  const almost = fc
    .tuple(fc.nat(3), buffer({ minLength: 19, maxLength: 21 }), fc.nat(3), buffer({ maxLength: 210 }))
    .map(([kind, id, problem, reason]) => Buffer.concat([Buffer.of(kind), id, Buffer.of(problem), reason]))
  const wellFormed = refusesOrGives(decodeAbsent, ({ kind, id, problem, reason }) => {
    const named = ['commits', 'fs', 'blocks'].includes(kind) && ['missing', 'corrupt', 'unreadable'].includes(problem)
    return named && /^[0-9a-f]{40}$/.test(id) && /^[\x20-\x7e]{0,200}$/.test(reason)
  })
  fc.assert(fc.property(fc.oneof(buffer(), almost), wellFormed), { numRuns: 1_000 })
  const good = encodeAbsent({ kind: 'fs', id: 'ab'.repeat(20), problem: 'corrupt', reason: '' })
  t.throws(() => decodeAbsent(Buffer.concat([good, Buffer.alloc(201, 'x')])), { code: 'PROTOCOL_BROKEN' })
  for (let length = 0; length < good.byteLength; length += 1) {
    t.throws(() => decodeAbsent(good.subarray(0, length)), { code: 'PROTOCOL_BROKEN' }, `cut to ${length}`)
  }
  t.throws(() => decodeAbsent(Buffer.from(good).fill(3, 0, 1)), { code: 'PROTOCOL_BROKEN' }, 'an unknown kind')
  t.throws(() => decodeAbsent(Buffer.from(good).fill(3, 21, 22)), { code: 'PROTOCOL_BROKEN' }, 'an unknown problem')
})

t.test('frames: ABSENT is read as it was written, its reason shortened and made printable', async t => {
  fc.assert(fc.property(absent, value => t.strictSame(decodeAbsent(encodeAbsent(value)), value)))
  const any = fc.string({ unit: 'binary', maxLength: 400 })
  fc.assert(
    fc.property(absent, any, (value, reason) => {
      const { reason: shown, ...rest } = decodeAbsent(encodeAbsent({ ...value, reason }))
      const { reason: _, ...expected } = value
      return t.strictSame(rest, expected) && /^[\x20-\x7e]{0,200}$/.test(shown)
    }),
  )
})

t.test('frames: BLOCK_REF of another length is refused, of its own it is read as it was written', async t => {
  for (let length = 0; length <= 30; length += 1) {
    if (length !== 24) t.throws(() => decodeBlockRef(Buffer.alloc(length)), { code: 'PROTOCOL_BROKEN' }, `${length}`)
  }
  const ref = fc.record({ id: objectId, size: fc.nat(0xffffffff) }, { noNullPrototype: true })
  fc.assert(fc.property(ref, ({ id, size }) => t.strictSame(decodeBlockRef(encodeBlockRef(id, size)), { id, size })))
  const larger = decodeBlockRef(encodeBlockRef('ab'.repeat(20), 0xffffffff + 1))
  t.equal(larger.size, 0xffffffff, 'a size that does not fit is as large as fits, not its remainder')
})

t.test('frames: a payload too short for its id is refused, else the id is its beginning', async t => {
  fc.assert(
    fc.property(buffer({ maxLength: 19 }), bytes =>
      Boolean(t.throws(() => frameId(bytes), { code: 'PROTOCOL_BROKEN' })),
    ),
  )
  fc.assert(
    fc.property(objectId, buffer(), (id, rest) => frameId(Buffer.concat([Buffer.from(id, 'hex'), rest])) === id),
  )
})

t.test('frames: JSON that is no object is refused without quoting it', async t => {
  for (const text of ['', 'null', '[]', '[{}]', '5', '"secret"', '{"secret":', '{} {}', '\ufeff{}']) {
    const refusal = { code: 'PROTOCOL_BROKEN', message: /an answer that is no JSON object$/ }
    t.throws(() => decodeJson(Buffer.from(text), 'an answer'), refusal, JSON.stringify(text))
  }
  const isObject = refusesOrGives(
    (bytes: Buffer) => decodeJson(bytes, 'an answer'),
    value => typeof value === 'object' && !Array.isArray(value),
  )
  fc.assert(fc.property(fc.oneof(buffer(), fc.json().map(Buffer.from)), isObject), { numRuns: 500 })
  const object = fc.dictionary(fc.string(), fc.jsonValue()).map(value => JSON.stringify(value))
  fc.assert(fc.property(object, text => JSON.stringify(decodeJson(Buffer.from(text), 'it')) === text))
})
