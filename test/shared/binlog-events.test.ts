/** The events of a binlog, as they come in any pieces: what is not what the server wrote is noticed. */

import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import t from 'tap'
import { BinlogBroken, BinlogReader, MAGIC, isSameFormat } from '../../src/shared/binlog-events.js'
import { binlogFile, event, formatDescription } from '../support/binlog-bytes.js'

function read(bytes: Buffer, chunk = bytes.byteLength, begin?: { offset: number; format: Buffer }): BinlogReader {
  const reader = new BinlogReader(begin)
  for (let at = 0; at < bytes.byteLength; at += chunk) reader.push(bytes.subarray(at, at + chunk))
  return reader
}

for (const checksums of [true, false]) {
  const file = binlogFile({ checksums, bodies: [100, 0, 70_000, 5] })

  t.test(`binlog events: whole events are counted, in pieces of any size (checksums: ${checksums})`, async t => {
    for (const chunk of [1, 3, 18, 19, 20, 4_096, 1 << 20]) {
      const reader = read(file, chunk)
      t.equal(reader.offset, file.byteLength, `pieces of ${chunk}`)
      t.equal(reader.atBoundary, true)
      t.equal(isSameFormat(reader.format as Buffer, formatDescription({ checksums })), true)
    }
    const cut = read(file.subarray(0, file.byteLength - 1))
    t.equal(cut.atBoundary, false, 'one that was cut off is none')
    t.ok(cut.offset < file.byteLength)
  })

  t.test(`binlog events: one that is left out, or there twice, does not connect (checksums: ${checksums})`, async t => {
    const { format } = read(file)
    const first = MAGIC.byteLength + (format?.byteLength ?? 0)
    const next = event({ at: first, body: 10, checksums })
    const begin = { offset: first, format: format as Buffer }
    t.equal(read(next, 7, begin).offset, first + next.byteLength)
    t.throws(() => read(next, 7, { ...begin, offset: first + 1 }), BinlogBroken)
    t.throws(() => read(Buffer.concat([next, next]), 7, begin), BinlogBroken)
  })
}

t.test(
  'binlog events: one that does not say where it ends (MariaDB 11.4) is taken; the next that does must connect',
  async t => {
    for (const checksums of [true, false]) {
      const { format } = read(binlogFile({ checksums, bodies: [] }))
      const begin = { offset: MAGIC.byteLength + (format?.byteLength ?? 0), format: format as Buffer }
      const within = [30, 500].map(body => event({ at: 0, body, checksums, endless: true }))
      const end = begin.offset + Buffer.concat(within).byteLength
      const commit = event({ at: end, body: 8, checksums })
      t.equal(read(Buffer.concat([...within, commit]), 7, begin).offset, end + commit.byteLength)
      t.throws(() => read(Buffer.concat([...within.slice(1), commit]), 7, begin), BinlogBroken, 'one is left out')
      t.throws(() => read(Buffer.concat([...within, ...within, commit]), 7, begin), BinlogBroken, 'they come twice')
    }
  },
)

t.test('binlog events: with checksums no flipped bit goes by, but the mark of a file in use', async t => {
  const file = binlogFile({ checksums: true, bodies: [30, 40] })
  const inUse = MAGIC.byteLength + 17
  fc.assert(
    fc.property(fc.nat(file.byteLength - 1), fc.nat(7), (at, bit) => {
      const bytes = Buffer.from(file)
      bytes[at] = (bytes[at] ?? 0) ^ (1 << bit)
      let whole = false
      try {
        whole = read(bytes).offset === file.byteLength && read(bytes).atBoundary
      } catch (error) {
        if (!(error instanceof BinlogBroken)) throw error
      }
      return whole === (at === inUse && bit === 0)
    }),
  )
  t.pass('held')
})

t.test('binlog events: beyond 4 GiB positions begin again at 0, and still connect', async t => {
  const format = formatDescription({ checksums: true })
  const at = 2 ** 32 - 20
  const next = event({ at, body: 100, checksums: true })
  t.equal(read(next, 9, { offset: at, format }).offset, at + next.byteLength)
})

t.test('binlog events: another file of the same server is not the same, the place that one begins at is', async t => {
  const format = formatDescription({ checksums: true })
  const asFromTheMiddle = Buffer.from(format)
  asFromTheMiddle.writeUInt32LE(0, 13)
  asFromTheMiddle.writeUInt32LE(crc32(asFromTheMiddle.subarray(0, -4)), asFromTheMiddle.byteLength - 4)
  t.equal(isSameFormat(format, asFromTheMiddle), true)
  t.equal(isSameFormat(format, formatDescription({ checksums: true, timestamp: 1_700_000_001 })), false)
  t.equal(isSameFormat(format, formatDescription({ checksums: true, serverId: 2 })), false)
  t.equal(isSameFormat(format, formatDescription({ checksums: false })), false)
  t.equal(isSameFormat(Buffer.alloc(0), Buffer.alloc(0)), false)
})

t.test('binlog events: what is no binlog is refused at its first bytes', async t => {
  for (const text of ['SQLite format 3', '\xfebim', `${MAGIC.toString('latin1')}${'x'.repeat(40)}`])
    t.throws(() => read(Buffer.from(text, 'latin1')), BinlogBroken, text)
})
