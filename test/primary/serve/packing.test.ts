import t from 'tap'
import { randomBytes } from 'node:crypto'
import { Packing, SLOW_BYTES_PER_SECOND } from '../../../src/primary/serve/packing.js'
import { plainChunk } from '../../shared/wire/support.js'
import { CHUNK_BYTES, CHUNK_HEADER_BYTES, ChunkReader } from '../../../src/shared/wire/chunks.js'

const text = plainChunk(Buffer.alloc(CHUNK_BYTES - CHUNK_HEADER_BYTES, 'minutes of a meeting '))
const photograph = plainChunk(randomBytes(CHUNK_BYTES - CHUNK_HEADER_BYTES))

function scene() {
  const clock = { now: 1_000 }
  const packing = new Packing(() => clock.now)
  return {
    clock,
    packing,
    isPacked: (chunk: Buffer) => packing.apply(chunk) !== chunk,
    /** A megabyte leaves at this rate while a stream waits. */
    drain(bytesPerSecond: number) {
      packing.waits()
      packing.left(1_000_000)
      clock.now += (1_000_000 / bytesPerSecond) * 1_000
      packing.goesOn()
    },
  }
}

t.test('packing: of a line that nobody has waited for, nothing is packed', async t => {
  const { packing, isPacked } = scene()
  packing.left(10_000_000)
  t.notOk(isPacked(text))
})

t.test('packing: a line on which gigabits pass gets everything as it is', async t => {
  const { drain, isPacked } = scene()
  drain(SLOW_BYTES_PER_SECOND * 2)
  t.notOk(isPacked(text))
})

t.test('packing: on a slow line what can be packed is, and says the same', async t => {
  const { drain, packing } = scene()
  drain(6_250_000)
  const sent = packing.apply(text)
  t.ok(sent.byteLength < text.byteLength / 10, `${sent.byteLength} bytes`)
  t.ok(Buffer.concat([...new ChunkReader().push(sent)]).equals(text.subarray(CHUNK_HEADER_BYTES)))
})

t.test('packing: what cannot be packed is tried less and less, and what can be is found again', async t => {
  const { drain, isPacked } = scene()
  drain(6_250_000)
  t.notOk(Array.from({ length: 1_000 }, () => isPacked(photograph)).includes(true))
  const until = Array.from({ length: 40 }, () => isPacked(text)).indexOf(true)
  t.ok(until >= 1 && until <= 33, `text is packed again after ${until} chunks`)
  t.ok(isPacked(text), 'and from then on each')
})

t.test('packing: a line that became quick is noticed after a minute at the latest', async t => {
  const { drain, isPacked, clock } = scene()
  drain(6_250_000)
  t.ok(isPacked(text))
  drain(SLOW_BYTES_PER_SECOND * 3)
  t.notOk(isPacked(text), 'at once where somebody waits')
  drain(6_250_000)
  clock.now += 61_000
  t.notOk(isPacked(text), 'or when nobody has waited for long')
})

t.test('packing: two streams that wait at once are one line', async t => {
  const { packing, clock, isPacked } = scene()
  packing.waits()
  packing.waits()
  packing.left(1_000_000)
  clock.now += 20 // 50 MB/s
  packing.goesOn()
  packing.goesOn()
  t.notOk(isPacked(text))
})

t.test('packing: a line is measured also where some stream waits all the time', async t => {
  const { packing, clock, isPacked } = scene()
  packing.waits() // a delta that the backup holds back for minutes
  for (let n = 0; n < 10; n++) {
    packing.waits()
    packing.left(250_000)
    clock.now += 40 // 6.25 MB/s
    packing.goesOn()
  }
  t.ok(isPacked(text))
})

t.test('packing: a few hundred bytes stay as they are', async t => {
  const { drain, isPacked } = scene()
  drain(6_250_000)
  t.notOk(isPacked(plainChunk(Buffer.alloc(900, 'x'))))
})
