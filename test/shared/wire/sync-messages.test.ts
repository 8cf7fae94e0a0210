import fc from 'fast-check'
import t from 'tap'
import { BackupError, errorCodes } from '../../../src/shared/errors.js'
import { isObjectId, isRepoId } from '../../../src/shared/ids.js'
import {
  decodeDeltaRequest,
  decodeEndFrame,
  decodeEvent,
  decodeLibraryFrame,
  decodeListing,
  decodeObjectsRequest,
  decodeRemoteError,
  encodeListing,
  encodeObjectsRequest,
  EVENT_BYTES_MAX,
  OBJECTS_MAX,
  REQUEST_BYTES_MAX,
} from '../../../src/shared/wire/sync-messages.js'
import {
  buffer,
  commitId,
  digest,
  headEvent,
  libraryRows,
  numbered,
  objectId,
  orNull,
  refusesOrGives,
  repoId,
  withDeepField,
} from './support.js'
import type { RepoId } from '../../../src/shared/ids.js'

const bytes = (value: unknown) => Buffer.from(JSON.stringify(value))
const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) => fc.record<T>(model, { noNullPrototype: true })
const BROKEN = { code: 'PROTOCOL_BROKEN' }

const REPO = '3f1c09aa-0000-4000-8000-000000000001' as RepoId
const ID = 'ab'.repeat(20)
const EPOCH = '0123456789abcdef'

const since = fc.maxSafeInteger()
const count = fc.maxSafeNat()
const line = fc.string({ unit: 'grapheme-ascii', maxLength: 300 })
const deltaRequest = record({
  repo: repoId,
  have: orNull(commitId),
  haveSince: since,
  commitsAlone: fc.boolean(),
})
const libraryFrame = record({
  rows: libraryRows.map(rows => ({ ...rows, repo: REPO })),
  digest,
  truncateTime: fc.integer({ min: -1 }),
  gcId: orNull(line),
  base: orNull(commitId),
})
const endFrame = record({ mac: line, changed: fc.boolean() })
const everything = record({ type: fc.constant('everything'), ...numbered })
const heartbeat = record({
  type: fc.constant('heartbeat'),
  ...numbered,
  position: line,
  positionAgoMs: orNull(count),
  source: line,
  degraded: orNull(line),
})

const isText = (value: unknown) => typeof value === 'string'
const isInteger = (value: unknown) => Number.isSafeInteger(value)
const isBoolean = (value: unknown) => typeof value === 'boolean'
const isCount = (value: unknown) => isInteger(value) && (value as number) >= 0
const nullOr = (is: (value: unknown) => boolean) => (value: unknown) => value === null || is(value)
const isEpoch = (value: unknown) => isText(value) && /^[0-9a-f]{16}$/.test(value as string)
/** As it is sent, or decoded. */
const isBase64 = (value: unknown) =>
  Buffer.isBuffer(value) || (isText(value) && /^[A-Za-z0-9+/]*={0,2}$/.test(value as string))
const bytesOf = (base64: unknown) => (typeof base64 === 'string' ? Buffer.from(base64, 'base64') : null)
const isLine = (value: unknown) => isText(value) && (value as string).length <= 1_000

/** Every message of JSON, and what each of its fields must be once decoded. */
const MESSAGES = [
  {
    name: 'a delta request',
    decode: decodeDeltaRequest as (input: Buffer) => object,
    good: deltaRequest as fc.Arbitrary<object>,
    fields: { repo: isRepoId, have: nullOr(isObjectId), haveSince: isInteger, commitsAlone: isBoolean },
    absent: { have: null, commitsAlone: false },
  },
  {
    name: 'LIBRARY',
    decode: (input: Buffer) => decodeLibraryFrame(input, REPO),
    good: libraryFrame,
    fields: {
      rows: (value: unknown) => (value as { repo?: unknown } | null)?.repo === REPO,
      digest: isEpoch,
      truncateTime: (value: unknown) => isInteger(value) && (value as number) >= -1,
      gcId: nullOr(isLine),
      base: nullOr(isObjectId),
    },
    absent: { gcId: null, base: null },
  },
  { name: 'END', decode: decodeEndFrame, good: endFrame, fields: { mac: isText, changed: isBoolean } },
  {
    name: 'an event',
    decode: decodeEvent,
    good: headEvent,
    fields: {
      epoch: isEpoch,
      seq: isCount,
      repo: isRepoId,
      head: nullOr(isObjectId),
      agoMs: isCount,
      enclosed: nullOr(isBase64),
    },
    absent: { enclosed: null },
    meaning: (value: object) => ('enclosed' in value ? { ...value, enclosed: bytesOf(value.enclosed) } : value),
  },
  { name: 'everything', decode: decodeEvent, good: everything, fields: { epoch: isEpoch, seq: isCount } },
  {
    name: 'a heartbeat',
    decode: decodeEvent,
    good: heartbeat,
    fields: {
      epoch: isEpoch,
      seq: isCount,
      position: isLine,
      source: isLine,
      degraded: nullOr(isLine),
      positionAgoMs: nullOr(isCount),
    },
  },
] as const satisfies readonly {
  name: string
  decode: (input: Buffer) => object
  good: fc.Arbitrary<object>
  fields: Record<string, (value: unknown) => boolean>
  /** What a field that may be left out is read as. */
  absent?: Record<string, unknown>
  /** What is decoded, where that is not what is written. */
  meaning?: (value: object) => object
}[]

/** No field takes all of these; which it refuses, its predicate says. */
const ODD = [
  null,
  true,
  '',
  'x',
  ' ',
  `${ID} `,
  ID.toUpperCase(),
  REPO.toUpperCase(),
  '../../etc/passwd',
  'é'.repeat(1_001),
]
const ODD_NUMBERS = [-1, -2, 0.5, 2 ** 53, [], {}, [ID], [0]]

for (const message of MESSAGES) {
  const { name, decode } = message
  const good: fc.Arbitrary<object> = message.good
  const fields: Record<string, (value: unknown) => boolean> = message.fields
  const absent: Record<string, unknown> = 'absent' in message ? message.absent : {}
  const meaning = 'meaning' in message ? message.meaning : (value: object) => value

  t.test(`sync: ${name} with a field that is not what it must be is refused, and so is one that lacks it`, async t => {
    for (const sample of fc.sample(good, 5)) {
      for (const [field, is] of Object.entries(fields)) {
        for (const wrong of [...ODD, ...ODD_NUMBERS]) {
          const input = bytes({ ...sample, [field]: wrong })
          if (is(wrong)) t.match(decode(input), meaning({ [field]: wrong }), `${field} ${JSON.stringify(wrong)}`)
          else t.throws(() => decode(input), BROKEN, `${field} ${JSON.stringify(wrong)}`)
        }
        const without = bytes({ ...sample, [field]: undefined })
        if (field in absent) t.match(decode(without), { [field]: absent[field] })
        else t.throws(() => decode(without), BROKEN, `without ${field}`)
      }
    }
  })

  t.test(`sync: ${name} of any bytes or any JSON is decoded to its shape or refused`, async t => {
    const kinds = Object.entries(fields)
    const shaped = refusesOrGives(decode, value => {
      const got = value as Record<string, unknown>
      // an event of any type may come out of decodeEvent
      return kinds.every(([field, is]) => (got[field] === undefined ? 'type' in got : is(got[field])))
    })
    fc.assert(fc.property(fc.oneof(buffer(), fc.jsonValue().map(bytes)), shaped), { numRuns: 500 })
    const spoilt = fc.tuple(good, fc.constantFrom('type', ...Object.keys(fields)), fc.jsonValue())
    fc.assert(fc.property(spoilt, ([sample, field, wrong]) => shaped(bytes({ ...sample, [field]: wrong }))))
    t.pass('no counterexample')
  })

  t.test(`sync: ${name} with a field nested deeper than any stack is refused as any other`, async t => {
    const [sample] = fc.sample(good, 1) as [object]
    for (const field of Object.keys(fields)) {
      t.throws(() => decode(withDeepField(sample, field)), BROKEN, field)
    }
    t.throws(() => decode(withDeepField({}, 'repo', REQUEST_BYTES_MAX / 2 - 10)), BROKEN)
  })

  t.test(`sync: ${name} is read as it was written, without fields of a newer peer`, async t => {
    fc.assert(fc.property(good, value => t.strictSame(decode(bytes({ ...value, newer: [1] })), meaning(value))))
  })
}

t.test('sync: the rows of another library than was asked for are refused', async t => {
  const [sample] = fc.sample(libraryFrame, 1) as [object]
  const other = REPO.replace('3', '4') as RepoId
  t.throws(() => decodeLibraryFrame(bytes(sample), other), BROKEN)
})

t.test('sync: an event longer than the bound is refused whatever it says', async t => {
  const said = JSON.stringify({ type: 'everything', epoch: EPOCH, seq: 1 })
  const longest = Buffer.from(said.padEnd(EVENT_BYTES_MAX))
  t.match(decodeEvent(longest), { type: 'everything' })
  t.throws(() => decodeEvent(Buffer.from(said.padEnd(EVENT_BYTES_MAX + 1))), BROKEN)
})

const wanted = record({ kind: fc.constantFrom('commits' as const, 'fs' as const, 'blocks' as const), id: objectId })
const objectsRequest = record({ repo: repoId, objects: fc.array(wanted, { maxLength: 20 }) })

t.test('sync: a request for objects that is cut or has bytes left over is refused', async t => {
  const body = encodeObjectsRequest({ repo: REPO, objects: [{ kind: 'fs', id: ID }] })
  for (let length = 0; length < body.byteLength; length += 1) {
    if (length !== 36) t.throws(() => decodeObjectsRequest(body.subarray(0, length)), BROKEN, `${length} bytes`)
  }
  t.throws(() => decodeObjectsRequest(Buffer.concat([body, Buffer.alloc(1)])), BROKEN)
  t.throws(() => decodeObjectsRequest(Buffer.from(body).fill(3, 36, 37)), BROKEN, 'an unknown kind')
  t.throws(() => decodeObjectsRequest(Buffer.from(body).fill('/', 3, 4)), BROKEN, 'a path in place of the library')
  t.throws(() => decodeObjectsRequest(Buffer.from(body).fill(0xb3, 0, 1)), BROKEN, 'a byte that is no ASCII')
})

t.test('sync: a request for more objects than the bound is refused, and one of the bound fits a request', async t => {
  const objects = Array.from({ length: OBJECTS_MAX + 1 }, () => ({ kind: 'blocks' as const, id: ID }))
  t.throws(() => decodeObjectsRequest(encodeObjectsRequest({ repo: REPO, objects })), BROKEN)
  const most = encodeObjectsRequest({ repo: REPO, objects: objects.slice(1) })
  t.equal(decodeObjectsRequest(most).objects.length, OBJECTS_MAX)
  t.ok(most.byteLength <= REQUEST_BYTES_MAX)
})

t.test(
  'sync: a request for objects is read as it was written; any other bytes are refused or written the same',
  async t => {
    fc.assert(
      fc.property(objectsRequest, value => t.strictSame(decodeObjectsRequest(encodeObjectsRequest(value)), value)),
    )
    const tail = fc.array(fc.tuple(fc.nat(3), buffer({ minLength: 20, maxLength: 20 })), { maxLength: 4 })
    const almost = fc
      .tuple(repoId, tail)
      .map(([repo, parts]) => Buffer.concat([Buffer.from(repo), ...parts.flatMap(([k, id]) => [Buffer.of(k), id])]))
    fc.assert(
      fc.property(fc.oneof(buffer({ maxLength: 100 }), almost), body =>
        refusesOrGives(decodeObjectsRequest, value => encodeObjectsRequest(value).equals(body))(body),
      ),
      { numRuns: 500 },
    )
  },
)

t.test('sync: a listing cut within an entry is refused', async t => {
  const body = encodeListing([{ repo: REPO, head: null, digest: EPOCH }])
  for (let length = 1; length < body.byteLength; length += 1) {
    t.throws(() => decodeListing(body.subarray(0, length)), BROKEN, `${length} bytes`)
  }
  t.strictSame([...decodeListing(Buffer.alloc(0))], [], 'no library is a listing too')
})

t.test('sync: a listing is read as it was written, and any whole entries are well-formed', async t => {
  const notEmpty = commitId.filter(id => !/^0+$/.test(id))
  const listing = fc.array(record({ repo: repoId, head: orNull(notEmpty), digest }))
  fc.assert(fc.property(listing, value => t.strictSame([...decodeListing(encodeListing(value))], value)))
  const entries = fc.oneof(
    buffer({ maxLength: 100 }),
    fc.nat(3).chain(n => buffer({ minLength: n * 44, maxLength: n * 44 })),
  )
  fc.assert(
    fc.property(entries, body =>
      refusesOrGives(
        input => [...decodeListing(input)],
        got => {
          const right = got.every(
            ({ repo, head, digest }) => isRepoId(repo) && nullOr(isObjectId)(head) && isEpoch(digest),
          )
          return right && encodeListing(got).equals(body)
        },
      )(body),
    ),
  )
})

t.test(
  "sync: the other side's errors become ours only where they mean the same, its own failures stay its own",
  async t => {
    const ours = [
      'TOKEN_MISMATCH',
      'CLOCK_SKEW',
      'PROTOCOL_VERSION',
      'LIBRARY_GONE',
      'STOPPING',
      'DUMP_FAILED',
      'BINLOG_UNAVAILABLE',
      'PROMOTED',
    ]
    for (const code of [...errorCodes(), 'toString', '__proto__', '', 5, null, undefined]) {
      const error = decodeRemoteError(bytes({ code, message: 'no' }))
      t.equal(error.code, ours.includes(code as string) ? code : 'PRIMARY_FAILED', String(code))
      t.match(error.message, 'the primary says: no')
    }
    t.equal(decodeRemoteError(bytes({ message: 'x'.repeat(501) })).message, `the primary says: ${'x'.repeat(500)}`)
    t.match(decodeRemoteError(bytes({ message: 5 })).message, 'no reason given')
    const anError = refusesOrGives(
      decodeRemoteError,
      error => error instanceof BackupError && error.message.length < 600,
    )
    fc.assert(fc.property(fc.oneof(buffer(), fc.jsonValue().map(bytes)), anError))
  },
)

t.test('what the other side says in words reaches no terminal with control characters in it', async t => {
  const evil = 'a\u001b[2Jb\u202ec\n'
  const clean = 'a?[2Jb?c?'
  t.match(decodeRemoteError(bytes({ code: 'DATABASE_DOWN', message: evil })).message, `the primary says: ${clean}`)
  const heartbeat = { type: 'heartbeat', epoch: '0'.repeat(16), seq: 1, positionAgoMs: 0 }
  const said = decodeEvent(bytes({ ...heartbeat, position: evil, source: evil, degraded: evil }))
  t.match(said, { position: clean, source: clean, degraded: clean })
})
