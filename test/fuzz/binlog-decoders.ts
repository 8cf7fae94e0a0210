/** What is read of the binlog: on its way, its events, and as it is archived. */

import fc from 'fast-check'
import {
  decodeFileInfo,
  decodeReached,
  decodeRunInfo,
  encodeFileInfo,
  encodeReached,
  encodeRunInfo,
} from '../../src/backup/binlog/archive-layout.js'
import { BinlogBroken, BinlogReader } from '../../src/shared/binlog-events.js'
import {
  ANSWER_BYTES_MAX,
  decodeBinlogHeader,
  decodeBinlogRequest,
  decodeLogFile,
  encodeBinlogHeader,
  isLogName,
} from '../../src/shared/wire/binlog-messages.js'
import { parseReplicaUrl } from '../../src/shared/replica-url.js'
import { binlogFile } from '../support/binlog-bytes.js'
import { byteCases, coded, isSaid, jsonCases, piecesOf, record } from './decoder.js'
import type { FileInfo, Reached, RunInfo } from '../../src/backup/binlog/archive-layout.js'
import type { SystemZone } from '../../src/shared/system-zone.js'
import type { ReplicaAccess } from '../../src/shared/replica-url.js'
import type { BinlogHeader, BinlogRequest } from '../../src/shared/wire/binlog-messages.js'
import type { Decoder } from './decoder.js'

const broken = coded('PROTOCOL_BROKEN')
const refusesPlainly = (error: unknown): boolean =>
  error instanceof TypeError || error instanceof SyntaxError || error instanceof BinlogBroken
const count = fc.maxSafeNat()
const word = fc.stringMatching(/^[a-z0-9_ .-]{0,40}$/)
const logName = fc.constantFrom('mysql-bin.000042', 'a', 'bin log.1')
const isCount = (value: unknown): boolean => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
const isZone = (zone: SystemZone | null): boolean =>
  zone === null || (isSaid(zone.name) && zone.offsets.length >= 1 && zone.offsets.length <= 1_000 && zone.days <= 1_000)
const PLAIN = /^[^\p{Cc}]{0,500}$/u
const STAYS = /^[^/\\]+$/

const request: fc.Arbitrary<BinlogRequest> = record({
  from: fc.option(record({ file: logName, offset: fc.integer({ min: 23 }) })),
  bytes: fc.integer({ min: 1, max: ANSWER_BYTES_MAX }),
})
const server = record({ version: word, id: count })
const zone: fc.Arbitrary<SystemZone> = fc
  .record({
    name: word,
    from: fc.nat(2 ** 30),
    days: fc.integer({ min: 1, max: 900 }),
    easts: fc.array(fc.integer({ min: -172_800, max: 172_800 }), { minLength: 1, maxLength: 5 }),
  })
  .map(({ name, from, days, easts }) => ({
    ...{ name, from, days },
    offsets: easts.slice(0, days).map((east, day): [number, number] => [from + day * 86_400, east]),
  }))
const header: fc.Arbitrary<BinlogHeader> = record({
  server,
  serverTime: count,
  atEnd: fc.boolean(),
  lost: fc.option(word),
  format: fc.option(fc.uint8Array({ maxLength: 40 }).map(bytes => Buffer.from(bytes))),
  zone: fc.option(zone),
})
const runInfo: fc.Arbitrary<RunInfo> = record({ server, began: count, why: word })
const fileInfo: fc.Arbitrary<FileInfo> = record({ name: logName, zone: fc.option(zone) })
const reached: fc.Arbitrary<Reached> = record({
  n: fc.integer({ min: 1, max: 99_999_999 }),
  offset: count,
  serverTime: count,
  at: count,
})
const file = record({
  checksums: fc.boolean(),
  serverId: fc.nat(0xffffffff),
  bodies: fc.array(fc.nat(300), { maxLength: 4 }),
})

/** How many bytes of it are whole events; in pieces and whole it must be the same. */
function wholeEvents(input: Buffer): number {
  const read = (chunks: Iterable<Buffer>): { offset: number; refused: unknown } => {
    const reader = new BinlogReader()
    try {
      for (const chunk of chunks) reader.push(chunk)
    } catch (refused) {
      if (!(refused instanceof BinlogBroken)) throw refused
      return { offset: reader.offset, refused: refused.message }
    }
    return { offset: reader.offset, refused: undefined }
  }
  const [pieces, whole] = [read(piecesOf(input)), read([input])]
  if (pieces.offset !== whole.offset || pieces.refused !== whole.refused) throw new Error('other events in pieces')
  return whole.offset
}

const MESSAGES: readonly Decoder[] = [
  {
    name: 'binlog-request',
    cases: jsonCases(request),
    decode: decodeBinlogRequest,
    refuses: broken,
    right: ({ from, bytes }: BinlogRequest) =>
      bytes >= 1 && bytes <= ANSWER_BYTES_MAX && (from === null || (isLogName(from.file) && isCount(from.offset))),
  },
  {
    name: 'binlog-header',
    cases: byteCases(header, value => Buffer.from(JSON.stringify(encodeBinlogHeader(value)))),
    decode: decodeBinlogHeader,
    refuses: broken,
    right: ({ server: { version, id }, serverTime, lost, format, zone }: BinlogHeader) =>
      isZone(zone) &&
      PLAIN.test(version) &&
      [id, serverTime].every(isCount) &&
      (lost === null || PLAIN.test(lost)) &&
      (format === null || Buffer.isBuffer(format)),
  },
  {
    name: 'log-file',
    cases: jsonCases(fileInfo, ({ name }) => ({ name })),
    decode: decodeLogFile,
    refuses: broken,
    right: ({ name }: FileInfo) => STAYS.test(name) && PLAIN.test(name),
  },
]

/** What is shown, less what it is made of: of a password nothing may be left. */
const shownWithout = ({ shown, user, host, port }: ReplicaAccess): string =>
  [`${user}@`, host, String(port)]
    .reduce((left, part) => left.replace(part, ''), shown)
    .replace(/^(mysql|unix):\/\/|[:/]/g, '')

export const BINLOG_DECODERS: readonly Decoder[] = [
  ...MESSAGES,
  {
    name: 'binlog-events',
    cases: byteCases(file, binlogFile, one => binlogFile(one).byteLength),
    decode: wholeEvents,
    refuses: () => false,
    right: (offset: number, input) => offset <= input.byteLength,
  },
  {
    name: 'archive-run',
    cases: byteCases(runInfo, encodeRunInfo),
    decode: decodeRunInfo,
    refuses: refusesPlainly,
    right: ({ began, server: { id } }: RunInfo) => [began, id].every(isCount),
  },
  {
    name: 'archive-file',
    cases: byteCases(fileInfo, encodeFileInfo),
    decode: decodeFileInfo,
    refuses: refusesPlainly,
    right: ({ name, zone }: FileInfo) => STAYS.test(name) && isZone(zone),
  },
  {
    name: 'archive-reached',
    cases: byteCases(reached, encodeReached),
    decode: decodeReached,
    refuses: refusesPlainly,
    right: ({ n, offset, serverTime, at }: Reached) => n >= 1 && [n, offset, serverTime, at].every(isCount),
  },
  {
    name: 'replica-url',
    cases: byteCases(
      record({
        user: fc.stringMatching(/^[a-z]{1,9}$/),
        password: fc.string({ maxLength: 20 }),
        port: fc.integer({ min: 1, max: 65_535 }),
      }),
      ({ user, password, port }) =>
        Buffer.from(`mysql://${user}:${encodeURIComponent(password)}@db.example.com:${port}/`),
      ({ user, password, port }) => ({
        host: 'db.example.com',
        port,
        user,
        password,
        shown: `mysql://${user}@db.example.com:${port}/`,
      }),
    ),
    decode: input => parseReplicaUrl(input.toString('utf8')) ?? null,
    refuses: () => false,
    right: (access: ReplicaAccess | null) =>
      access === null ||
      access.password.length < 4 ||
      (isSaid(access.shown) && !shownWithout(access).includes(access.password || '\n')),
  },
]
