/** What the two daemons read of each other: frames, messages, rows, and the proof of a request. */

import { createHmac, hash } from 'node:crypto'
import fc from 'fast-check'
import { BackupError } from '../../src/shared/errors.js'
import { isObjectId, isRepoId } from '../../src/shared/ids.js'
import {
  CLOCK_WINDOW_MS,
  EventSeal,
  RequestGuard,
  authKey,
  sameProof,
  signRequest,
} from '../../src/shared/wire/auth.js'
import {
  FRAME,
  FrameReader,
  decodeAbsent,
  decodeBlockRef,
  decodeJson,
  encodeAbsent,
  encodeBlockRef,
  frameHeader,
  frameId,
  printable,
} from '../../src/shared/wire/frames.js'
import { parseLibraryRows } from '../../src/shared/wire/rows-codec.js'
import {
  EVENT_BYTES_MAX,
  OBJECTS_MAX,
  decodeDeltaRequest,
  decodeEndFrame,
  decodeEvent,
  decodeLibraryFrame,
  decodeListing,
  decodeObjectsRequest,
  decodeRemoteError,
  encodeListing,
  encodeObjectsRequest,
} from '../../src/shared/wire/sync-messages.js'
import {
  buffer,
  commitId,
  digest,
  headEvent,
  libraryRows,
  numbered,
  objectId,
  orNull,
  repoId,
} from '../shared/wire/support.js'
import { byteCases, coded, isSaid, jsonCases, piecesOf, record } from './decoder.js'
import { anyBytes } from './mutate.js'
import type { RepoId } from '../../src/shared/ids.js'
import type { LibraryListing, LibraryRows } from '../../src/shared/catalog/catalog.js'
import type { Absent, Frame } from '../../src/shared/wire/frames.js'
import type { DeltaRequest, EventMessage, LibraryFrame, ObjectsRequest } from '../../src/shared/wire/sync-messages.js'
import type { Decoder } from './decoder.js'

const REPO = '3f1c09aa-0000-4000-8000-000000000001' as RepoId
const broken = coded('PROTOCOL_BROKEN')
const line = fc.string({ unit: 'grapheme-ascii', maxLength: 300 })
const count = fc.maxSafeNat()
const kind = fc.constantFrom('commits' as const, 'fs' as const, 'blocks' as const)

const isInteger = (value: unknown): boolean => Number.isSafeInteger(value)
const isCount = (value: unknown): boolean => isInteger(value) && (value as number) >= 0
const isIdOrNull = (value: unknown): boolean => value === null || isObjectId(value)
const isDigest = (value: unknown): boolean => typeof value === 'string' && /^[0-9a-f]{16}$/.test(value)
const isPrintable = (text: string): boolean => printable(text) === text
const isText = (value: unknown, lengthMax = 65_535): boolean => typeof value === 'string' && value.length <= lengthMax
const orNone = (is: (value: unknown) => boolean) => (value: unknown) => value === null || is(value)
const isNumberOrNull = orNone(isInteger)
const isTextOrNull = orNone(value => isText(value))

export function areRows(rows: LibraryRows): boolean {
  const { repo, head, branchName, virtual, owner, info, size } = rows
  const numbers = [rows.fileCount, rows.historyLimitDays, rows.validSince, ...infoNumbers(rows)]
  return (
    isRepoId(repo) &&
    isIdOrNull(head) &&
    [branchName, owner, info?.lastModifier ?? null, info?.type ?? null, size?.head ?? null].every(isTextOrNull) &&
    (virtual === null || (isRepoId(virtual.originRepo) && isText(virtual.path) && isIdOrNull(virtual.baseCommit))) &&
    (info === null || isText(info.name)) &&
    (size === null || isInteger(size.bytes)) &&
    numbers.every(isNumberOrNull)
  )
}

const infoNumbers = ({ info }: LibraryRows) =>
  info ? [info.updateTime, info.version, info.isEncrypted, info.status] : []

const isEvent = (event: EventMessage): boolean => {
  if (!isDigest(event.epoch) || !isCount(event.seq)) return false
  if (event.type === 'event') {
    const { repo, head, agoMs, enclosed } = event
    return isRepoId(repo) && isIdOrNull(head) && isCount(agoMs) && orNone(Buffer.isBuffer)(enclosed)
  }
  if (event.type === 'everything') return true
  const texts = [event.position, event.source, event.degraded ?? '']
  return texts.every(text => isText(text, 1_000) && isPrintable(text)) && orNone(isCount)(event.positionAgoMs)
}

const encoded = ({ type, payload }: Frame): Buffer => Buffer.concat([frameHeader(type, payload.byteLength), payload])
const frame: fc.Arbitrary<Frame> = record<Frame>({
  type: fc.constantFrom(...Object.values(FRAME)),
  payload: fc.oneof(fc.constant(Buffer.alloc(0)), buffer({ maxLength: 60 })),
})

/** What a stream gives before it ends or is refused; in pieces and whole it must be the same. */
function readFrames(input: Buffer): Frame[] {
  const read = (chunks: Iterable<Buffer>): { frames: Frame[]; refused: unknown } => {
    const reader = new FrameReader()
    const frames: Frame[] = []
    try {
      for (const chunk of chunks)
        for (const { type, payload } of reader.push(chunk)) frames.push({ type, payload: Buffer.from(payload) })
    } catch (refused) {
      return { frames, refused }
    }
    return { frames, refused: undefined }
  }
  const [pieces, whole] = [read(piecesOf(input)), read([input])]
  const bytes = ({ frames }: typeof whole) => Buffer.concat(frames.map(encoded))
  if (!bytes(pieces).equals(bytes(whole))) throw new Error('other frames in pieces than whole')
  if (!input.subarray(0, bytes(whole).byteLength).equals(bytes(whole))) throw new Error('frames that were not sent')
  if (String(pieces.refused) !== String(whole.refused)) throw new Error('refused in another way in pieces than whole')
  if (whole.refused instanceof Error) throw whole.refused
  return whole.frames
}

const TYPES = new Set<number>(Object.values(FRAME))

const absent = record<Absent>({
  kind,
  id: objectId,
  problem: fc.constantFrom('missing' as const, 'corrupt' as const, 'unreadable' as const),
  reason: fc.string({ unit: 'grapheme-ascii', maxLength: 200 }),
})

/** Any characters: those that a terminal would obey are shown as question marks. */
const words = fc.string({ unit: 'binary', maxLength: 60 })
const cleaned = (text: string): string => text.replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, '?')
const eventMeaning = (value: object): object =>
  Object.fromEntries(Object.entries(value).map(([k, v]) => [k, v === null ? v : fieldMeaning(k, v)]))
function fieldMeaning(key: string, value: unknown): unknown {
  if (key === 'enclosed') return Buffer.from(value as string, 'base64')
  return TOLD.has(key) ? cleaned(value as string) : value
}
const TOLD = new Set(['position', 'source', 'degraded'])

export const event = fc.oneof(
  headEvent,
  record({ type: fc.constant('everything'), ...numbered }),
  record({
    type: fc.constant('heartbeat'),
    ...numbered,
    position: words,
    positionAgoMs: orNull(count),
    source: words,
    degraded: orNull(words),
  }),
)
export const deltaRequest = record({
  repo: repoId,
  have: orNull(commitId),
  haveSince: fc.maxSafeInteger(),
  commitsAlone: fc.boolean(),
})
export const objectsRequest = record<ObjectsRequest>({
  repo: repoId,
  objects: fc.array(record({ kind, id: objectId }), { maxLength: 20 }),
})

const FRAMES: readonly Decoder[] = [
  {
    name: 'frames',
    cases: byteCases(fc.array(frame, { maxLength: 8 }), frames => Buffer.concat(frames.map(encoded))),
    decode: readFrames,
    refuses: broken,
    right: (frames: readonly Frame[], input) =>
      frames.every(({ type }) => TYPES.has(type)) &&
      frames.reduce((sum, { payload }) => sum + payload.byteLength, 0) <= input.byteLength,
  },
  {
    name: 'absent-frame',
    cases: byteCases(absent, encodeAbsent),
    decode: decodeAbsent,
    refuses: broken,
    right: ({ id, reason }: Absent) => isObjectId(id) && /^[\x20-\x7e]{0,200}$/.test(reason),
  },
  {
    name: 'block-ref-frame',
    cases: byteCases(record({ id: objectId, size: fc.nat(0xffffffff) }), ({ id, size }) => encodeBlockRef(id, size)),
    decode: decodeBlockRef,
    refuses: broken,
    right: ({ id, size }: { id: string; size: number }) => isObjectId(id) && isCount(size),
  },
  {
    name: 'frame-id',
    cases: byteCases(objectId, id => Buffer.from(id, 'hex')),
    decode: frameId,
    refuses: broken,
    right: isObjectId,
  },
  {
    name: 'json-payload',
    cases: jsonCases(fc.dictionary(fc.string(), fc.jsonValue(), { noNullPrototype: true }), value =>
      JSON.parse(JSON.stringify(value)),
    ),
    decode: input => decodeJson(input, 'an answer'),
    refuses: broken,
    right: (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value),
  },
]

const MESSAGES: readonly Decoder[] = [
  {
    name: 'delta-request',
    cases: jsonCases(deltaRequest),
    decode: decodeDeltaRequest,
    refuses: broken,
    right: ({ repo, have, haveSince, commitsAlone }: DeltaRequest) =>
      isRepoId(repo) && isIdOrNull(have) && isInteger(haveSince) && typeof commitsAlone === 'boolean',
  },
  {
    name: 'objects-request',
    cases: byteCases(objectsRequest, encodeObjectsRequest),
    decode: decodeObjectsRequest,
    refuses: broken,
    right: ({ repo, objects }: ObjectsRequest, input) =>
      isRepoId(repo) && objects.length <= OBJECTS_MAX && encodeObjectsRequest({ repo, objects }).equals(input),
  },
  {
    name: 'library-frame',
    cases: jsonCases(
      record({
        rows: libraryRows.map(rows => ({ ...rows, repo: REPO })),
        digest,
        truncateTime: fc.integer({ min: -1 }),
        gcId: orNull(line),
        base: orNull(commitId),
      }),
    ),
    decode: input => decodeLibraryFrame(input, REPO),
    refuses: broken,
    right: ({ rows, digest: d, truncateTime, gcId, base }: LibraryFrame) =>
      areRows(rows) &&
      rows.repo === REPO &&
      isDigest(d) &&
      isInteger(truncateTime) &&
      truncateTime >= -1 &&
      orNone(value => isText(value, 1_000))(gcId) &&
      isIdOrNull(base),
  },
  {
    name: 'end-frame',
    cases: jsonCases(record({ mac: line, changed: fc.boolean() })),
    decode: decodeEndFrame,
    refuses: broken,
    right: ({ mac, changed }: { mac: unknown; changed: unknown }) =>
      typeof mac === 'string' && typeof changed === 'boolean',
  },
  {
    name: 'remote-error',
    cases: jsonCases(record({ code: fc.string(), message: fc.string({ unit: 'binary' }) }), () => undefined).map(
      ({ input }) => ({ input }), // an error is no value to be compared
    ),
    decode: input => decodeRemoteError(input),
    refuses: broken,
    right: (error: unknown) =>
      error instanceof BackupError && isPrintable(error.message) && error.message.length <= 520,
  },
  {
    name: 'listing',
    cases: byteCases(
      fc.array(
        record<LibraryListing>({ repo: repoId, head: orNull(commitId.filter(id => !/^0+$/.test(id))), digest }),
        { maxLength: 10 },
      ),
      encodeListing,
      value => value,
      fc.nat(3).chain(n => buffer({ minLength: n * 44, maxLength: n * 44 })),
    ),
    decode: input => [...decodeListing(input)],
    refuses: broken,
    right: (listing: readonly LibraryListing[], input) =>
      listing.every(({ repo, head, digest: d }) => isRepoId(repo) && isIdOrNull(head) && isDigest(d)) &&
      encodeListing(listing).equals(input),
  },
  {
    name: 'event',
    cases: jsonCases(event, eventMeaning),
    decode: decodeEvent,
    refuses: broken,
    right: (value: EventMessage, input) => isEvent(value) && input.byteLength <= EVENT_BYTES_MAX,
  },
  {
    name: 'rows',
    cases: jsonCases(libraryRows),
    decode: input => parseLibraryRows(JSON.parse(input.toString())),
    refuses: error =>
      error instanceof SyntaxError || // of the JSON around them
      (error instanceof TypeError && /^.{1,120}$/.test(error.message) && isSaid(error.message)),
    right: areRows,
  },
]

const KEY = authKey('0123456789abcdef0123456789abcdef01234567')
const NOW = 1_800_000_000_000
const NONCE = 'ab'.repeat(16)
const REQUEST = { method: 'POST', path: '/v1/delta', body: '{}' }
/** As docs/PROTOCOL.md has it, by hand. */
function macOf(header: string, nonce: string): string {
  const time = Number(/time=(\d+)/.exec(header)?.[1])
  const key = createHmac('sha256', '0123456789abcdef0123456789abcdef01234567').update('seaf-backup 1').digest()
  const said = ['request', REQUEST.method, REQUEST.path, time, nonce, hash('sha256', REQUEST.body, 'hex')]
  return createHmac('sha256', key).update(said.join('\n')).digest('hex')
}

const signed = fc
  .integer({ min: -2 * CLOCK_WINDOW_MS, max: 2 * CLOCK_WINDOW_MS })
  .map(by => ({ by, header: String(signRequest(KEY, REQUEST, NOW + by).headers['authorization']) }))

const AUTH: readonly Decoder[] = [
  {
    name: 'auth-header',
    cases: byteCases(
      signed.filter(({ by }) => Math.abs(by) <= CLOCK_WINDOW_MS),
      ({ header }) => Buffer.from(header),
      ({ header }) => /nonce=(\w+)/.exec(header)?.[1],
      signed.map(({ header }) => Buffer.from(header)),
    ),
    decode: input => new RequestGuard(KEY, () => NOW).check({ ...REQUEST, header: input.toString() }),
    refuses: coded('TOKEN_MISMATCH', 'CLOCK_SKEW'),
    right: (nonce: string, input) =>
      /^SEAF-BACKUP-HMAC time=\d{1,16},nonce=[0-9a-f]{32}(,mac=[0-9a-f]{64}){1,2}$/.test(input.toString()) &&
      input.toString().includes(`nonce=${nonce},`) &&
      input.toString().includes(`,mac=${macOf(input.toString(), nonce)}`),
  },
  {
    name: 'event-seal',
    cases: byteCases(
      fc.string({ unit: 'grapheme', maxLength: 200 }),
      text => Buffer.from(new EventSeal(KEY, NONCE).seal(text)),
      text => Buffer.from(text),
    ),
    decode: input => new EventSeal(KEY, NONCE).open(input),
    refuses: coded('TOKEN_MISMATCH'),
    right: (text: Buffer, input) => new EventSeal(KEY, NONCE).seal(text.toString()) === input.toString(),
  },
  {
    name: 'proof',
    cases: byteCases(
      fc.constant('ab'.repeat(32)),
      text => Buffer.from(text),
      () => true,
      anyBytes(64),
    ),
    decode: input => sameProof('ab'.repeat(32), input.toString()),
    refuses: () => false,
    right: (same: boolean, input) => same === (input.toString() === 'ab'.repeat(32)),
  },
]

export const WIRE_DECODERS: readonly Decoder[] = [...FRAMES, ...MESSAGES, ...AUTH]
