import fc from 'fast-check'
import t from 'tap'
import { zstdCompressSync } from 'node:zlib'
import { CHUNK_BYTES, CHUNK_HEADER_BYTES, ChunkReader, packed } from '../../../src/shared/wire/chunks.js'
import { buffer, cut, plainChunk, refusesOrGives } from './support.js'

const withHeader = (how: number, bytes: Buffer): Buffer => {
  const chunk = plainChunk(bytes)
  chunk[0] = how
  return chunk
}

const read = (received: Iterable<Buffer>): Buffer => {
  const reader = new ChunkReader()
  // copied at once: a part is good until the next one
  return Buffer.concat([...received].flatMap(bytes => [...reader.push(bytes)].map(part => Buffer.from(part))))
}

t.test('chunks: a kind that nobody sends is refused', async t => {
  for (const how of [2, 3, 255])
    t.throws(() => read([withHeader(how, Buffer.from('x'))]), { code: 'PROTOCOL_BROKEN', message: /unknown kind/ })
})

t.test('chunks: a packed chunk that would not fit, or holds nothing, is refused before it is gathered', async t => {
  for (const bytes of [0, CHUNK_BYTES + 1, 0xffffffff]) {
    const header = Buffer.alloc(CHUNK_HEADER_BYTES)
    header[0] = 1
    header.writeUInt32BE(bytes, 1)
    t.throws(() => read([header]), { code: 'PROTOCOL_BROKEN', message: /packed chunk of/ }, `${bytes} bytes`)
  }
})

t.test('chunks: a few bytes that unpack to more than a chunk are refused, and never become so much', async t => {
  const bomb = zstdCompressSync(Buffer.alloc(1024 * 1024 * 1024))
  t.ok(bomb.byteLength < CHUNK_BYTES, `${bomb.byteLength} bytes stand for a gigabyte`)
  const before = process.memoryUsage().rss
  t.throws(() => read([withHeader(1, bomb)]), { code: 'PROTOCOL_BROKEN', message: /cannot be unpacked/ })
  t.ok(process.memoryUsage().rss - before < 64 * 1024 * 1024, 'in bounded memory')
  t.throws(() => read([withHeader(1, zstdCompressSync(Buffer.alloc(CHUNK_BYTES + 1)))]), { code: 'PROTOCOL_BROKEN' })
})

t.test('chunks: what is no zstd frame, the half of one, or one of nothing, is refused', async t => {
  const good = packed(plainChunk(Buffer.alloc(5_000, 'seafile ')))
  for (const bytes of [
    zstdCompressSync(Buffer.alloc(0)),
    Buffer.from('no zstd'),
    good.subarray(CHUNK_HEADER_BYTES, -3),
    Buffer.alloc(40),
  ])
    t.throws(() => read([withHeader(1, bytes)]), { code: 'PROTOCOL_BROKEN', message: /cannot be unpacked/ })
})

t.test('chunks: any bytes are refused with a code, or give bytes', async t => {
  const how = fc.constantFrom(0, 1)
  fc.assert(
    fc.property(
      fc.array(fc.tuple(how, buffer({ maxLength: 40 })), { maxLength: 4 }),
      buffer({ maxLength: 20 }),
      (chunks, rest) => {
        const bytes = Buffer.concat([...chunks.map(([kind, payload]) => withHeader(kind, payload)), rest])
        return refusesOrGives(input => read([input]), Buffer.isBuffer)(bytes)
      },
    ),
  )
  t.pass()
})

t.test('chunks: plain and packed ones give the stream that was sent, wherever they are cut', async t => {
  const piece = fc.oneof(
    buffer({ maxLength: 60 }),
    fc.nat(70_000).map(size => Buffer.alloc(size, 'a directory of Seafile')),
  )
  const sizes = fc.array(fc.integer({ min: 1, max: 3_000 }), { minLength: 1, maxLength: 5 })
  fc.assert(
    fc.property(fc.array(fc.tuple(piece, fc.boolean()), { maxLength: 6 }), sizes, (pieces, parts) => {
      const sent = pieces.map(([bytes, isPacked]) =>
        isPacked && bytes.byteLength > 0 ? packed(plainChunk(bytes)) : plainChunk(bytes),
      )
      return read(cut(Buffer.concat(sent), parts)).equals(Buffer.concat(pieces.map(([bytes]) => bytes)))
    }),
    { numRuns: 300 },
  )
  t.pass()
})

t.test('chunks: the largest chunk is packed and read', async t => {
  const bytes = Buffer.alloc(CHUNK_BYTES - CHUNK_HEADER_BYTES, 'text of an office')
  const chunk = packed(plainChunk(bytes))
  t.ok(chunk.byteLength < bytes.byteLength / 100)
  t.ok(read([chunk]).equals(bytes))
})
