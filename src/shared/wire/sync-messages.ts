/**
 * What the primary agent and the backup daemon say to each other, apart from object frames (frames.ts).
 *
 *   primary -> backup, WebSocket `/v1/events`: EventMessage, one JSON a message
 *   backup -> primary, HTTP:
 *     GET  /v1/listing                  -> binary, encodeListing
 *     POST /v1/delta   DeltaRequest     -> frames, in chunks (chunks.ts): LIBRARY, COMMIT..., TREES, (TREE objects...)..., END
 *     POST /v1/objects ObjectsRequest   -> frames, in chunks: objects or ABSENT in the order asked, END
 *     POST /v1/dump                     -> frames, in chunks: a dump of the database (dump-messages.ts), END
 *     POST /v1/binlog  BinlogRequest    -> frames, in chunks: the next of the database's binlog (binlog-messages.ts), END
 *
 * Everything received is parsed here once and bounded; past this module it is trusted to be of its shape.
 */

import { EMPTY_ID, ID_BYTES, isObjectId, isRepoId, parseCommitId, parseRepoId } from '../ids.js'
import { BackupError, isErrorCode } from '../errors.js'
import { broken, decodeJson, printable } from './frames.js'
import { parseLibraryRows } from './rows-codec.js'
import type { CommitId, RepoId } from '../ids.js'
import type { ErrorCode } from '../errors.js'
import type { LibraryListing, LibraryRows } from '../catalog/catalog.js'
import type { ObjectKind } from '../store/object-store.js'

/** Both sides must speak the same one. Raised whenever an older peer would misunderstand. */
export const PROTOCOL_VERSION = 3

/** Of a request: `none`, where the backup cannot unpack as fast as it comes. Else the agent packs where it thinks that it pays. */
export const PACKING_HEADER = 'x-seaf-backup-packing'

/** Requests are a few ids; the largest asks for OBJECTS_MAX objects. */
export const REQUEST_BYTES_MAX = 256 * 1024
/** In one ObjectsRequest. */
export const OBJECTS_MAX = 2_000
/** Of what is sent along with an event; a larger change is asked for. */
export const ENCLOSED_BYTES_MAX = 48 * 1024
/** An event is two ids, two numbers and what is sent along, in base64; a heartbeat a line of text. */
export const EVENT_BYTES_MAX = 4 * 1024 + (ENCLOSED_BYTES_MAX * 4) / 3
/** Blocks up to here travel inside the delta; larger ones are asked for, so that those already here never travel. */
export const INLINE_BLOCK_BYTES_MAX = 256 * 1024

export interface DeltaRequest {
  readonly repo: RepoId
  /** A commit whose closure the backup holds, null: nothing. */
  readonly have: CommitId | null
  /** `truncateTime` under which that closure was pulled; see LibraryFrame. */
  readonly haveSince: number
  /** Of a library that the backup has objects of: where `have` cannot be used, commits are sent and no trees. */
  readonly commitsAlone: boolean
}

export function decodeDeltaRequest(body: Buffer): DeltaRequest {
  return checked('a delta request', () => {
    const json = decodeJson(body, 'a delta request')
    const since = json['haveSince']
    if (typeof since !== 'number' || !Number.isSafeInteger(since)) throw new TypeError('haveSince')
    const { commitsAlone = false } = json // not said: an older backup
    if (typeof commitsAlone !== 'boolean') throw new TypeError('commitsAlone')
    const have = nullable(json['have'], parseCommitId)
    return { repo: parseRepoId(json['repo']), have, haveSince: since, commitsAlone }
  })
}

export interface WantedObject {
  readonly kind: ObjectKind
  readonly id: string
}

export interface ObjectsRequest {
  readonly repo: RepoId
  readonly objects: readonly WantedObject[]
}

const KINDS: readonly ObjectKind[] = ['commits', 'fs', 'blocks']

/** repo (36 ASCII), then kind (1) and id (20) of each. */
export function encodeObjectsRequest({ repo, objects }: ObjectsRequest): Buffer {
  const body = Buffer.allocUnsafe(36 + objects.length * (1 + ID_BYTES))
  body.write(repo, 'latin1')
  objects.forEach(({ kind, id }, i) => {
    const at = 36 + i * (1 + ID_BYTES)
    body[at] = KINDS.indexOf(kind)
    body.write(id, at + 1, 'hex')
  })
  return body
}

export function decodeObjectsRequest(body: Buffer): ObjectsRequest {
  const count = (body.byteLength - 36) / (1 + ID_BYTES)
  if (!Number.isInteger(count) || count < 0 || count > OBJECTS_MAX) throw broken('a malformed request for objects')
  return checked('a request for objects', () => ({
    repo: parseRepoId(body.toString('latin1', 0, 36)),
    objects: Array.from({ length: count }, (_, i) => {
      const at = 36 + i * (1 + ID_BYTES)
      const kind = KINDS[body[at] ?? 255]
      if (!kind) throw new TypeError('kind')
      return { kind, id: body.toString('hex', at + 1, at + 1 + ID_BYTES) }
    }),
  }))
}

/** First frame of a delta. */
export interface LibraryFrame {
  readonly rows: LibraryRows
  readonly digest: string
  /** seafile's truncate time: -1 all history is kept, 0 only the head, else since these Unix seconds (history-rule.ts). */
  readonly truncateTime: number
  /** `GCID` of the store: changes when seaf-gc runs. Null: none yet, or a database on which it keeps none. */
  readonly gcId: string | null
  /** `have` of the request when the primary could use it, else null: then everything is sent. */
  readonly base: CommitId | null
}

export function decodeLibraryFrame(payload: Buffer, asked: RepoId): LibraryFrame {
  return checked('a LIBRARY frame', () => {
    const json = decodeJson(payload, 'a LIBRARY frame')
    const rows = parseLibraryRows(json['rows'])
    if (rows.repo !== asked) throw new TypeError('another library')
    const { digest, truncateTime } = json
    if (typeof digest !== 'string' || !DIGEST.test(digest)) throw new TypeError('digest')
    if (typeof truncateTime !== 'number' || !Number.isSafeInteger(truncateTime) || truncateTime < -1)
      throw new TypeError('truncateTime')
    const gcId = nullable(json['gcId'], parseGcId)
    return { rows, digest, truncateTime, gcId, base: nullable(json['base'], parseCommitId) }
  })
}

/** Last frame of every stream. */
export interface EndFrame {
  readonly mac: string
  /** seaf-gc ran, or the rules or the head changed, while objects that are absent were looked for: ask again. */
  readonly changed: boolean
}

export function decodeEndFrame(payload: Buffer): EndFrame {
  const json = decodeJson(payload, 'an END frame')
  if (typeof json['mac'] !== 'string' || typeof json['changed'] !== 'boolean')
    throw broken('an END frame without its fields')
  return { mac: json['mac'], changed: json['changed'] }
}

/** Body of an error answer. */
export interface RemoteError {
  readonly code: ErrorCode
  readonly message: string
}

export function decodeRemoteError(payload: Buffer, who: 'primary' | 'backup' = 'primary'): BackupError {
  const json = decodeJson(payload, 'an error')
  const message = typeof json['message'] === 'string' ? printable(json['message'].slice(0, 500)) : 'no reason given'
  const code = isErrorCode(json['code']) ? json['code'] : 'PRIMARY_FAILED'
  // INTERNAL and DATABASE_DOWN over there are not ours: say whose they are
  const ours = new Set<ErrorCode>([
    'TOKEN_MISMATCH',
    'CLOCK_SKEW',
    'PROTOCOL_VERSION',
    'LIBRARY_GONE',
    'STOPPING',
    'DUMP_FAILED',
    'BINLOG_UNAVAILABLE',
    'PROMOTED',
  ])
  return new BackupError(ours.has(code) ? code : 'PRIMARY_FAILED', `the ${who} says: ${message}`, { code })
}

const LISTING_ENTRY_BYTES = 16 + ID_BYTES + 8
const DIGEST = /^[0-9a-f]{16}$/
/** Ten million libraries: far above any server, far below any memory. */
const LISTING_ENTRIES_MAX = 10_000_000
export const LISTING_BYTES_MAX = LISTING_ENTRY_BYTES * LISTING_ENTRIES_MAX

/** Per library: UUID (16 bytes), head (20, zeros for none), digest (8). A sweep of 100,000 libraries is 4.4 MB. */
export function encodeListing(listing: readonly LibraryListing[]): Buffer {
  const body = Buffer.alloc(listing.length * LISTING_ENTRY_BYTES)
  listing.forEach(({ repo, head, digest }, i) => {
    const at = i * LISTING_ENTRY_BYTES
    body.write(repo.replaceAll('-', ''), at, 'hex')
    if (head) body.write(head, at + 16, 'hex')
    body.write(digest, at + 16 + ID_BYTES, 'hex')
  })
  return body
}

/** A listing as it came: each entry is made when it is asked for, since all of them at once are ten times the bytes. */
export interface EncodedListing extends Iterable<LibraryListing> {
  readonly length: number
}

export function decodeListing(body: Buffer): EncodedListing {
  const length = body.byteLength / LISTING_ENTRY_BYTES
  if (!Number.isInteger(length) || length > LISTING_ENTRIES_MAX) throw broken('a malformed listing')
  return {
    length,
    *[Symbol.iterator]() {
      for (let i = 0; i < length; i++) yield listingEntry(body, i * LISTING_ENTRY_BYTES)
    },
  }
}

function listingEntry(body: Buffer, at: number): LibraryListing {
  const hex = body.toString('hex', at, at + LISTING_ENTRY_BYTES)
  const head = hex.slice(32, 72)
  const repo = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`
  return { repo: repo as RepoId, head: head === EMPTY_ID ? null : (head as CommitId), digest: hex.slice(72) }
}

/** `epoch` changes with each start of the agent; `seq` counts its messages, so that a gap shows what was lost. */
export type EventMessage =
  | {
      readonly type: 'event'
      readonly epoch: string
      readonly seq: number
      readonly repo: RepoId
      readonly head: CommitId | null
      readonly agoMs: number
      /** Frames of the delta from the head's parent, without END (docs/PROTOCOL.md). */
      readonly enclosed: Buffer | null
    }
  | { readonly type: 'everything'; readonly epoch: string; readonly seq: number }
  | {
      readonly type: 'heartbeat'
      readonly epoch: string
      readonly seq: number
      /** Newest position read from the change source, in its own words. */
      readonly position: string
      /** Since that source was last known to be alive; null: never yet. */
      readonly positionAgoMs: number | null
      readonly source: string
      /** Why the fast source is not used; null: it is. */
      readonly degraded: string | null
    }

export function decodeEvent(data: Buffer): EventMessage {
  if (data.byteLength > EVENT_BYTES_MAX) throw broken(`an event of ${data.byteLength} bytes`)
  const json = decodeJson(data, 'an event')
  const { type, epoch, seq } = json
  if (typeof epoch !== 'string' || !/^[0-9a-f]{16}$/.test(epoch) || !isCount(seq))
    throw broken('an event without its number')
  switch (type) {
    case 'event': {
      const { repo, head, agoMs, enclosed = null } = json
      if (!isRepoId(repo) || !(head === null || isObjectId(head)) || !isCount(agoMs)) throw broken('a malformed event')
      if (!(enclosed === null || isBase64(enclosed))) throw broken('a malformed enclosure')
      const bytes = enclosed === null ? null : Buffer.from(enclosed, 'base64')
      return { type, epoch, seq, repo, head: head as CommitId | null, agoMs, enclosed: bytes }
    }
    case 'everything':
      return { type, epoch, seq }
    case 'heartbeat': {
      const { position, positionAgoMs, source, degraded } = json
      if (
        !isText(position) ||
        !isText(source) ||
        !(degraded === null || isText(degraded)) ||
        !(positionAgoMs === null || isCount(positionAgoMs))
      ) {
        throw broken('a malformed heartbeat')
      }
      return {
        type,
        epoch,
        seq,
        position: printable(position),
        positionAgoMs,
        source: printable(source),
        degraded: degraded === null ? null : printable(degraded),
      }
    }
    default:
      throw broken('an event of unknown type')
  }
}

function parseGcId(value: unknown): string {
  if (!isText(value)) throw new TypeError('gcId')
  return value
}

const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
const isBase64 = (value: unknown): value is string => typeof value === 'string' && /^[A-Za-z0-9+/]*={0,2}$/.test(value)
const isText = (value: unknown): value is string => typeof value === 'string' && value.length <= 1_000

function nullable<T>(value: unknown, parse: (value: unknown) => T): T | null {
  return value === null || value === undefined ? null : parse(value)
}

function checked<T>(what: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    if (error instanceof TypeError) throw broken(`${what} that is malformed`)
    throw error
  }
}
