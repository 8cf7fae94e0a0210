/** A raw binlog of a real server, read to its end; and one that is not what the server wrote, found before it is used. */

import { readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { EVENT, EVENT_BYTES_MAX, readEvents } from '../../../src/backup/binlog/events.js'
import { binlogEnd } from '../../support/binlog-archive.js'
import { mariadbInstalled, startMariadb } from '../../support/mariadb.js'
import type { BinlogEvent, BinlogPart } from '../../../src/backup/binlog/events.js'

const noMariadb = !mariadbInstalled() && 'mariadbd is not installed'

const read = (part: BinlogPart): BinlogEvent[] =>
  Array.from(readEvents(part), event => ({ ...event, bytes: Buffer.from(event.bytes) }))
const partOf = (path: string, to: number, from = 0): BinlogPart => ({ path, name: 'mysql-bin.000001', from, to })

/** One that is whole, and a place for copies of it. */
async function logged(checksum: 'CRC32' | 'NONE', { stopped = false } = {}) {
  await using server = await startMariadb({
    args: ['--log-bin=mysql-bin', '--binlog-format=ROW', `--binlog-checksum=${checksum}`],
  })
  await server.query("CREATE DATABASE a; CREATE TABLE a.t (a INT, b LONGTEXT); INSERT INTO a.t VALUES (1, 'x')")
  await server.query("INSERT INTO a.t VALUES (2, REPEAT('y', 3000000))")
  const { offset } = await binlogEnd(server)
  if (stopped) await server.stop()
  const bytes = readFileSync(join(server.dir, 'data', 'mysql-bin.000001')).subarray(0, stopped ? undefined : offset)
  const dir = await mkdtemp(join(tmpdir(), 'sbe-'))
  const file = (content: Uint8Array): string => {
    writeFileSync(join(dir, 'x.binlog'), content)
    return join(dir, 'x.binlog')
  }
  return { bytes, file, [Symbol.asyncDispose]: () => rm(dir, { recursive: true }) }
}

for (const checksum of ['CRC32', 'NONE'] as const) {
  t.test(
    `events: a file with checksums ${checksum} is read from event to event, and from where one begins`,
    { skip: noMariadb },
    async t => {
      await using log = await logged(checksum)
      const path = log.file(log.bytes)

      const events = read(partOf(path, log.bytes.byteLength))

      t.equal(events[0]?.type, EVENT.formatDescription)
      t.equal(events[0]?.format.hasChecksums, checksum === 'CRC32')
      t.match(events[0]?.format.serverVersion, /MariaDB/)
      t.equal(events.at(-1)?.end, log.bytes.byteLength)
      t.equal(events.filter(({ type }) => type === EVENT.gtid).length, 4)
      t.strictSame(
        Buffer.concat(events.map(({ bytes }) => bytes)),
        log.bytes.subarray(4),
        'nothing is left out or changed',
      )
      const third = events[3] as BinlogEvent
      const rest = read(partOf(path, log.bytes.byteLength, third.position))
      t.strictSame(
        rest.map(({ position }) => position),
        [4, ...events.slice(3).map(({ position }) => position)],
      )
    },
  )

  t.test(
    `events: with checksums ${checksum}, a file ends where the server was stopped, with an event that has no body`,
    { skip: noMariadb },
    async t => {
      await using log = await logged(checksum, { stopped: true })
      const last = read(partOf(log.file(log.bytes), log.bytes.byteLength)).at(-1)
      t.match(last, { type: 3, end: log.bytes.byteLength, body: { byteLength: 0 } })
    },
  )

  t.test(
    `events: with checksums ${checksum}, a file that is cut, or no binlog, or begun in the middle of an event is damaged`,
    { skip: noMariadb },
    async t => {
      await using log = await logged(checksum)
      const { byteLength } = log.bytes
      const fails = (content: Uint8Array, to: number, from = 0) =>
        t.throws(() => read(partOf(log.file(content), to, from)), { code: 'BINLOG_DAMAGED' })

      fails(log.bytes.subarray(0, -1), byteLength)
      fails(log.bytes, byteLength - 1)
      fails(log.bytes.subarray(0, -2_000_000), byteLength)
      fails(log.bytes.subarray(0, 3), 3)
      fails(log.bytes.subarray(0, 100), 100)
      fails(log.bytes, byteLength, 300)
      fails(Buffer.alloc(1000, 'x'), 1000)
      const size = Buffer.from(log.bytes)
      size.writeUInt32LE(5, read(partOf(log.file(log.bytes), byteLength))[3]!.position + 9)
      fails(size, byteLength)
      t.throws(() => read(partOf('/nowhere/x', 100)), { code: 'BINLOG_DAMAGED' })
    },
  )
}

t.test(
  'events: with checksums, any byte that is changed is found, but for the mark of a file in use',
  { skip: noMariadb },
  async t => {
    await using log = await logged('CRC32')
    const { byteLength } = log.bytes
    const events = read(partOf(log.file(log.bytes), byteLength))
    for (const { position, end } of events) {
      for (const at of [position, position + 5, position + 20, Math.floor((position + end) / 2), end - 1]) {
        const changed = Buffer.from(log.bytes)
        changed.writeUInt8(changed.readUInt8(at) ^ 0x10, at)
        t.throws(
          () => read(partOf(log.file(changed), byteLength)),
          { code: /BINLOG_DAMAGED|BINLOG_UNREPLAYABLE/ },
          `byte ${at}`,
        )
      }
    }
  },
)

t.test('events: what would not fit into memory, or is encrypted, is refused by name', { skip: noMariadb }, async t => {
  await using log = await logged('CRC32')
  const events = read(partOf(log.file(log.bytes), log.bytes.byteLength))
  const { position } = events[3] as BinlogEvent
  const huge = Buffer.from(log.bytes)
  huge.writeUInt32LE(EVENT_BYTES_MAX + 1, position + 9)
  t.throws(() => read(partOf(log.file(huge), 2 ** 31)), { code: 'BINLOG_UNREPLAYABLE', message: /67108865 bytes/ })
})
