import fc from 'fast-check'
import t from 'tap'
import { randomBytes } from 'node:crypto'
import { HeldFrames } from '../../../src/backup/sync/held-frames.js'
import { FrameWriter } from '../../../src/primary/serve/frame-writer.js'
import { authKey } from '../../../src/shared/wire/auth.js'
import { CHUNK_BYTES, ChunkReader, packed } from '../../../src/shared/wire/chunks.js'
import { FRAME, FrameReader, frameId, provesItself } from '../../../src/shared/wire/frames.js'
import { StreamSeal } from '../../../src/shared/wire/stream-seal.js'
import { decodeEndFrame } from '../../../src/shared/wire/sync-messages.js'
import { ID_BYTES } from '../../../src/shared/ids.js'
import type { Frame, FrameType } from '../../../src/shared/wire/frames.js'

const id = (n: number): string => n.toString(16).padStart(40, '0')
const TOKEN = 'ab'.repeat(20)

/** What arrives of what is written, with each chunk that is one packed or as it is. */
async function sent(how: 'plain' | 'packed', write: (out: FrameWriter) => Promise<void>) {
  const wire: Buffer[] = []
  const out = new FrameWriter(new StreamSeal(authKey(TOKEN), 'nonce'), (bytes, isChunk) => {
    const smaller = how === 'packed' && isChunk ? packed(bytes) : bytes
    wire.push(Buffer.from(smaller.byteLength < bytes.byteLength ? smaller : bytes))
  })
  await write(out)
  await out.flush()
  const [chunks, frames] = [new ChunkReader(), new FrameReader()]
  const received = wire.flatMap(bytes =>
    [...chunks.push(bytes)].flatMap(part =>
      [...frames.push(part)].map(({ type, payload }) => ({ type, payload: Buffer.from(payload) })),
    ),
  )
  const got: Frame[] = received.filter(({ type }) => type !== FRAME.proof)
  return { got, received, atBoundary: frames.atBoundary, wire }
}

/** What the backup acts on, in that order. Throws for what it would refuse. */
function heard(received: readonly Frame[]): Frame[] {
  const held = new HeldFrames(new StreamSeal(authKey(TOKEN), 'nonce'))
  return received.flatMap(frame => {
    if (frame.type === FRAME.end) held.expectEnd(decodeEndFrame(frame.payload))
    if (provesItself(frame.type)) return frame.type === FRAME.proof ? held.proved(frame.payload) : [frame]
    held.hold(frame)
    return []
  })
}

const sizes = [
  0,
  1,
  1_000,
  CHUNK_BYTES - 68,
  CHUNK_BYTES - 67,
  CHUNK_BYTES - 66,
  CHUNK_BYTES - 60,
  CHUNK_BYTES - 30,
  CHUNK_BYTES - 29,
  CHUNK_BYTES,
  CHUNK_BYTES + 1,
  3_000_000,
]
const types: readonly FrameType[] = [FRAME.fs, FRAME.block, FRAME.commit]

for (const how of ['plain', 'packed'] as const) {
  t.test(`stream, ${how}: objects of all sizes arrive as they were, in their order`, async t => {
    const objects = sizes.flatMap((size, n) =>
      types.map((type, k) => ({ type, id: id(n * 10 + k), bytes: Buffer.alloc(size, randomBytes(100)) })),
    )
    const { got, atBoundary } = await sent(how, async out => {
      for (const object of objects) await out.object(object.type, object.id, object.bytes)
    })
    t.ok(atBoundary)
    t.equal(got.length, objects.length)
    for (const [n, object] of objects.entries()) {
      const payload = got[n]?.payload ?? Buffer.alloc(0)
      const same = payload.subarray(ID_BYTES).equals(object.bytes)
      t.ok(got[n]?.type === object.type && frameId(payload) === object.id && same, `${object.bytes.byteLength} bytes`)
    }
  })

  t.test(`stream, ${how}: a block in parts arrives whole, between others; what cannot be read is zeros`, async t => {
    const block = randomBytes(1_000_000)
    let at = 0
    const { got } = await sent(how, async out => {
      await out.object(FRAME.fs, id(1), Buffer.from('before'))
      await out.blockInParts(id(2), block.byteLength, target => {
        const part = block.copy(target, 0, at, Math.min(at + 100_000, 900_000))
        at += part
        return part
      })
      await out.object(FRAME.fs, id(3), Buffer.from('after'))
    })
    t.strictSame(
      got.map(({ payload }) => frameId(payload)),
      [id(1), id(2), id(3)],
    )
    const bytes = got[1]?.payload.subarray(ID_BYTES) ?? Buffer.alloc(0)
    t.ok(bytes.subarray(0, 900_000).equals(block.subarray(0, 900_000)))
    t.ok(bytes.subarray(900_000).equals(Buffer.alloc(100_000)))
  })
}

t.test('stream: many small frames share a chunk, and nothing is sent for nothing', async t => {
  const { wire, got } = await sent('plain', async out => {
    for (let n = 0; n < 100; n++) await out.object(FRAME.fs, id(n), Buffer.alloc(1_000))
  })
  t.equal(got.length, 100)
  t.equal(wire.length, 1)
  t.equal((await sent('plain', async () => {})).wire.length, 0)
})

const ODD_SIZES = [0, 1, 100, 1_000, 30_000, 66_000, CHUNK_BYTES - 67, CHUNK_BYTES - 66, CHUNK_BYTES, 700_000]

/** One call of any kind; how many bytes it has is random. */
const call = fc.record({
  what: fc.constantFrom('commit', 'fs', 'block', 'parts', 'tree', 'ref', 'absent', 'json', 'flush'),
  bytes: fc.oneof(fc.constantFrom(...ODD_SIZES), fc.nat(3_000)),
})

async function write(out: FrameWriter, what: string, n: number, bytes: number): Promise<void> {
  switch (what) {
    case 'parts':
      return out.blockInParts(id(n), bytes, target => target.fill(1).byteLength)
    case 'tree':
      return out.tree(id(n))
    case 'ref':
      return out.blockRef(id(n), bytes)
    case 'absent':
      return out.notThere({ kind: 'blocks', id: id(n), problem: 'missing', reason: 'is missing' })
    case 'json':
      return out.json(FRAME.library, { n })
    case 'flush':
      return out.flush()
    default:
      return out.object(FRAME[what as 'commit' | 'fs' | 'block'], id(n), Buffer.alloc(bytes, n))
  }
}

t.test(
  'stream: whatever is said, it is proved before the receiver would refuse to hold it, and in the end',
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(call, { maxLength: 60 }), async calls => {
        const { received, got } = await sent('plain', async out => {
          for (const [n, { what, bytes }] of calls.entries()) await write(out, what, n, bytes)
          await out.end(false)
        })
        return heard(received).length === got.length
      }),
      { numRuns: 200 },
    )
  },
)

t.test('stream: a thousand small frames and more are proved in between', async t => {
  const { received, got } = await sent('plain', async out => {
    for (let n = 0; n < 5_000; n++) await out.blockRef(id(n), n)
  })
  t.equal(got.length, 5_000)
  t.equal(heard(received).length, 5_000)
})

t.test(
  'stream: what has left is proved, but a large frame that the next chunk proves; what a tree has comes after it',
  async t => {
    const wire: Buffer[] = []
    const out = new FrameWriter(new StreamSeal(authKey(TOKEN), 'nonce'), bytes => void wire.push(Buffer.from(bytes)))
    const proofsIn = (bytes: Buffer) =>
      [...new FrameReader().push(bytes.subarray(5))].flatMap(({ type }, at) => (type === FRAME.proof ? [at] : []))
    await out.object(FRAME.commit, id(1), Buffer.alloc(100))
    await out.flush()
    await out.tree(id(1))
    await out.object(FRAME.fs, id(2), Buffer.alloc(100))
    await out.blockRef(id(3), 1)
    await out.flush()
    await out.object(FRAME.commit, id(4), Buffer.alloc(CHUNK_BYTES))
    await out.flush()
    const [first, second, , , last] = wire
    t.strictSame(proofsIn(first as Buffer), [1], 'COMMIT PROOF')
    t.strictSame(proofsIn(second as Buffer), [1, 4], 'TREE PROOF FS BLOCK_REF PROOF')
    t.strictSame(proofsIn(last as Buffer), [0])
    t.equal(wire.length, 5)
  },
)
