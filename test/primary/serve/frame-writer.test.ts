import t from 'tap'
import { randomBytes } from 'node:crypto'
import { FrameWriter } from '../../../src/primary/serve/frame-writer.js'
import { streamMac, authKey } from '../../../src/shared/wire/auth.js'
import { CHUNK_BYTES, ChunkReader, packed } from '../../../src/shared/wire/chunks.js'
import { FRAME, FrameReader, frameId } from '../../../src/shared/wire/frames.js'
import { ID_BYTES } from '../../../src/shared/ids.js'
import type { Frame, FrameType } from '../../../src/shared/wire/frames.js'

const id = (n: number): string => n.toString(16).padStart(40, '0')
const TOKEN = 'ab'.repeat(20)

/** What arrives of what is written, with each chunk that is one packed or as it is. */
async function sent(how: 'plain' | 'packed', write: (out: FrameWriter) => Promise<void>) {
  const wire: Buffer[] = []
  const out = new FrameWriter(streamMac(authKey(TOKEN), 'nonce'), (bytes, isChunk) => {
    const smaller = how === 'packed' && isChunk ? packed(bytes) : bytes
    wire.push(Buffer.from(smaller.byteLength < bytes.byteLength ? smaller : bytes))
  })
  await write(out)
  await out.flush()
  const [chunks, frames] = [new ChunkReader(), new FrameReader()]
  const got: Frame[] = []
  for (const bytes of wire)
    for (const part of chunks.push(bytes))
      for (const { type, payload } of frames.push(part)) got.push({ type, payload: Buffer.from(payload) })
  return { got, atBoundary: frames.atBoundary, wire }
}

const sizes = [
  0,
  1,
  1_000,
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
