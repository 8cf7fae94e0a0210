/** What is read of a dump: on its way, on the disk, and in the answer to the command. */

import fc from 'fast-check'
import { isErrorCode, errorCodes } from '../../src/shared/errors.js'
import { decodeDumpEvent } from '../../src/shared/wire/control-codec.js'
import { decodeDumpHeader, decodeDumpPart, isPartName } from '../../src/shared/wire/dump-messages.js'
import { decodeManifest } from '../../src/backup/dumps/dump-manifest.js'
import { coded, jsonCases, record } from './decoder.js'
import type { DumpEvent } from '../../src/shared/wire/control-messages.js'
import type { DumpHeader, DumpPart } from '../../src/shared/wire/dump-messages.js'
import type { Dump } from '../../src/backup/dumps/dump-manifest.js'
import type { Decoder } from './decoder.js'

const ID = '20261121T140310Z'
const broken = coded('PROTOCOL_BROKEN')
const count = fc.maxSafeNat()
const word = fc.stringMatching(/^[a-z0-9_ .-]{0,40}$/)
const partName = fc.constantFrom('tables.sql', 'seafile-data/seafile.db', 'ccnet/PeerMgr/usermgr.db', 'a.b')
const engine = fc.constantFrom('mysql' as const, 'sqlite' as const)
const words = fc.array(word, { maxLength: 4 })

const logName = fc.constantFrom('mysql-bin.000042', 'a', 'bin log.1')

const header: fc.Arbitrary<DumpHeader> = record({ engine, server: word, tool: word, databases: words, absent: words })
const part: fc.Arbitrary<DumpPart> = record({ name: partName })
const dump = record({ id: word, at: count, bytes: count, tables: count, rows: count })
const error = record({ code: fc.constantFrom(...errorCodes()), message: word, nextStep: word })
const event: fc.Arbitrary<DumpEvent> = fc.oneof(
  record({ type: fc.constant('progress' as const), bytes: count }),
  record({ type: fc.constant('end' as const), dump }),
  record({ type: fc.constant('error' as const), error }),
)
const manifest: fc.Arbitrary<Dump & { readonly version: number }> = record({
  version: fc.constant(1),
  id: fc.constant(ID),
  engine,
  server: word,
  tool: word,
  databases: words,
  absent: words,
  askedAt: count,
  endedAt: count,
  cause: fc.constantFrom('schedule' as const, 'manual' as const),
  parts: fc.array(record({ name: partName, bytes: count, sha256: fc.constant('ab'.repeat(32)) }), { maxLength: 3 }),
  tables: fc.array(record({ database: word, table: word, rows: count }), { maxLength: 3 }),
  position: fc.option(record({ file: logName, offset: count })),
})

const isCount = (value: unknown): boolean => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
const PLAIN = /^[^\p{Cc}]{0,500}$/u

export const DUMP_DECODERS: readonly Decoder[] = [
  {
    name: 'dump-header',
    cases: jsonCases(header),
    decode: decodeDumpHeader,
    refuses: broken,
    right: ({ server, tool, databases, absent }: DumpHeader) =>
      [server, tool, ...databases, ...absent].every(text => PLAIN.test(text)),
  },
  {
    name: 'dump-part',
    cases: jsonCases(part),
    decode: decodeDumpPart,
    refuses: broken,
    // what it is joined to stays above it
    right: ({ name }: DumpPart) => !name.startsWith('/') && !name.split('/').some(step => step === '..' || step === ''),
  },
  {
    name: 'dump-event',
    cases: jsonCases(event),
    decode: decodeDumpEvent,
    refuses: broken,
    right: (value: DumpEvent) => value.type !== 'error' || isErrorCode(value.error.code),
  },
  {
    name: 'dump-manifest',
    cases: jsonCases(manifest, ({ version: _version, ...rest }) => rest),
    decode: input => decodeManifest(ID, input),
    refuses: coded('DUMP_DAMAGED'),
    right: ({ id, parts, tables, askedAt, endedAt }: Dump) =>
      id === ID &&
      parts.every(({ name, bytes }) => isPartName(name) && isCount(bytes)) &&
      tables.every(({ rows }) => isCount(rows)) &&
      [askedAt, endedAt].every(isCount),
  },
]
