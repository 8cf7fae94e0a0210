/**
 * The primary's answers to its backup, over HTTP(S): listing, delta, objects.
 *
 * Nobody is answered who has not proved the sync token, apart from being told
 * so; what is answered proves it in return. Reads only: rows through a
 * `CatalogReader`, objects through reader threads.
 */

import { storeIdOf } from '../../shared/catalog/library-tables.js'
import { BackupError, asBackupError, isAbort } from '../../shared/errors.js'
import { keepsMore } from '../../shared/seafile/kept-history.js'
import {
  AUTH_HEADER,
  FailureLimit,
  PROOF_HEADER,
  RequestGuard,
  VERSION_HEADER,
  answerProof,
} from '../../shared/wire/auth.js'
import { decodeBinlogRequest } from '../../shared/wire/binlog-messages.js'
import { encodeCounts } from '../../shared/wire/count-messages.js'
import { listen, peerAddress, readBody } from '../../shared/wire/listener.js'
import {
  PACKING_HEADER,
  PROTOCOL_VERSION,
  REQUEST_BYTES_MAX,
  decodeDeltaRequest,
  decodeObjectsRequest,
  encodeListing,
} from '../../shared/wire/sync-messages.js'
import { StreamSeal } from '../../shared/wire/stream-seal.js'
import { sendBinlog } from './send-binlog.js'
import { libraryFrame, listingWithConf, truncateTimeOf } from './library-rules.js'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { CatalogReader, LibraryRead } from '../../shared/catalog/catalog.js'
import type { RepoId } from '../../shared/ids.js'
import type { Log } from '../../shared/log.js'
import type { AuthKeys, ProvenRequest } from '../../shared/wire/auth.js'
import type { Listener, ListenOptions } from '../../shared/wire/listener.js'
import type { DiskObjectReader } from '../../shared/store/disk-object-store.js'
import type { ReadBinlog } from '../binlog/read-binlog.js'
import type { DeltaPool, WorkerJob } from './delta-pool.js'
import type { Fence } from '../fence.js'
import type { CpuLimit } from './cpu-limit.js'
import type { RateLimit } from './rate-limit.js'
import type { SendDump } from './send-dump.js'
import type { CountRows } from '../dump/count-rows.js'

export interface SyncApiParts {
  readonly keys: AuthKeys
  readonly catalog: CatalogReader
  readonly objects: DiskObjectReader
  readonly pool: DeltaPool
  readonly dump: SendDump
  readonly binlog: ReadBinlog
  readonly counts: CountRows
  readonly fence: Fence
  readonly rate: RateLimit
  readonly cpu: CpuLimit
  /** `[history] keep_days` of seafile.conf. */
  readonly confKeepDays: number | null
  readonly log: Log
}

interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly body: Buffer
  readonly proven: ProvenRequest
  /** Aborted when the backup hangs up. */
  readonly signal: AbortSignal
}

const STATUS: Partial<Record<string, number>> = {
  TOKEN_MISMATCH: 401,
  CLOCK_SKEW: 401,
  PROTOCOL_VERSION: 426,
  LIBRARY_GONE: 404,
  PROMOTED: 409,
  BAD_REQUEST: 400,
  PROTOCOL_BROKEN: 400,
  DATABASE_DOWN: 503,
  DATABASE_REFUSED: 503,
  BINLOG_UNAVAILABLE: 503,
}

export function startSyncApi(options: ListenOptions, parts: SyncApiParts): Promise<Listener> {
  const guard = new RequestGuard(parts.keys)
  const failures = new FailureLimit()
  return listen(options, (request, response) => {
    void answer(request, response, parts, guard, failures)
  })
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  parts: SyncApiParts,
  guard: RequestGuard,
  failures: FailureLimit,
): Promise<void> {
  const address = peerAddress(request) // now: a request that was cut off has no socket
  const gone = new AbortController()
  const { socket } = request
  const hungUp = () => gone.abort()
  response.on('close', hungUp)
  socket.setMaxListeners(0) // one for each request that waits on it
  socket.on('close', hungUp) // of an answer that waits behind another on its connection Node says nothing
  let proven: ProvenRequest | undefined
  try {
    const body = await readBody(request, REQUEST_BYTES_MAX)
    proven = guard.prove({
      method: request.method ?? '',
      path: request.url ?? '',
      body,
      header: request.headers[AUTH_HEADER],
    })
    guard.admit(proven)
    expectVersion(request)
    parts.fence.expectDown()
    await route({ request, response, body, proven, signal: gone.signal }, parts)
  } catch (error) {
    if (gone.signal.aborted || isAbort(error)) return void response.destroy()
    refuse(response, { error, address, proven, parts, failures })
  } finally {
    socket.off('close', hungUp)
  }
}

function expectVersion(request: IncomingMessage): void {
  const theirs = request.headers[VERSION_HEADER]
  if (theirs === String(PROTOCOL_VERSION)) return
  throw new BackupError(
    'PROTOCOL_VERSION',
    `answer: the backup speaks protocol ${String(theirs).slice(0, 10)}, this agent ${PROTOCOL_VERSION}; install the same version on both hosts`,
  )
}

interface Refusal {
  readonly error: unknown
  readonly address: string
  readonly proven: ProvenRequest | undefined
  readonly parts: SyncApiParts
  readonly failures: FailureLimit
}

function refuse(response: ServerResponse, { error, address, proven, parts, failures }: Refusal): void {
  const coded = asBackupError(error)
  const fields = { peer: address, code: coded.code, reason: coded.message }
  if (coded.code === 'TOKEN_MISMATCH') {
    if (failures.failed(address)) parts.log.warn(fields, 'request refused')
  } else if (coded.code === 'BINLOG_UNAVAILABLE') {
    // asked for again and again, and said where it matters: in the backup's status
  } else if (coded.code === 'INTERNAL') parts.log.error({ ...fields, err: error }, 'request failed')
  else parts.log.warn(fields, 'request not answered')
  if (response.headersSent) return void response.destroy() // a stream that is cut has no END: the backup sees it
  sendBody(response, proven, STATUS[coded.code] ?? 500, 'application/json', errorBody(coded))
}

const errorBody = (error: BackupError): Buffer =>
  Buffer.from(JSON.stringify({ code: error.code, message: error.message }), 'utf8')

function sendBody(
  response: ServerResponse,
  proven: ProvenRequest | undefined,
  status: number,
  type: string,
  body: Buffer,
): void {
  // a stranger is told so and hung up on: sockets that wait for the next request are for those who have the token
  const proof = proven
    ? { [PROOF_HEADER]: answerProof(proven.key, { nonce: proven.nonce, status, body }) }
    : { connection: 'close' }
  response.writeHead(status, { 'content-type': type, 'content-length': body.byteLength, ...proof })
  response.end(body)
}

async function route(exchange: Exchange, parts: SyncApiParts): Promise<void> {
  const { request, response, proven, signal } = exchange
  switch (`${request.method} ${request.url}`) {
    case 'GET /v1/listing': {
      const body = encodeListing(listingWithConf(await parts.catalog.listing(signal), parts.confKeepDays))
      return sendBody(response, proven, 200, 'application/octet-stream', body)
    }
    case 'POST /v1/delta':
      return sendDelta(exchange, parts)
    case 'POST /v1/objects':
      return sendObjects(exchange, parts)
    case 'GET /v1/counts':
      return sendBody(response, proven, 200, 'application/json', encodeCounts(await parts.counts(signal)))
    case 'POST /v1/dump':
      return sendDump(exchange, parts)
    case 'POST /v1/binlog':
      return answerBinlog(exchange, parts)
    default:
      throw new BackupError('BAD_REQUEST', `answer: there is no ${request.method} ${String(request.url).slice(0, 80)}`)
  }
}

async function readLibrary(repo: RepoId, parts: SyncApiParts, signal: AbortSignal): Promise<LibraryRead> {
  const library = await parts.catalog.read(repo, signal)
  if (library) return library
  throw new BackupError('LIBRARY_GONE', `read library ${repo}: the primary has no such library (any more)`)
}

async function sendDelta(exchange: Exchange, parts: SyncApiParts): Promise<void> {
  const asked = decodeDeltaRequest(exchange.body)
  const library = await readLibrary(asked.repo, parts, exchange.signal)
  const { rows } = library
  const truncateTime = truncateTimeOf(library, parts.confKeepDays)
  const usable =
    asked.have !== null && !keepsMore(truncateTime, asked.haveSince) && hasCommit(asked.repo, asked.have, parts)
  const base = usable ? asked.have : null
  const { haveSince } = asked
  const commitsAlone = asked.commitsAlone && base === null
  const from = { repo: rows.repo, storeId: storeIdOf(rows), base, truncateTime, haveSince, commitsAlone }
  await sendStream(exchange, parts, library, {
    library: libraryFrame(library, parts.confKeepDays, { truncateTime, base }),
    ...(rows.head && rows.head !== base && { delta: { ...from, want: rows.head } }),
  })
}

function hasCommit(repo: RepoId, id: string, parts: SyncApiParts): boolean {
  return parts.objects.read({ kind: 'commits', storeId: repo, id }).state === 'whole'
}

async function sendObjects(exchange: Exchange, parts: SyncApiParts): Promise<void> {
  const { repo, objects } = decodeObjectsRequest(exchange.body)
  const library = await readLibrary(repo, parts, exchange.signal)
  const storeId = storeIdOf(library.rows)
  await sendStream(exchange, parts, library, { objects: { repo, storeId, objects } })
}

async function sendStream(
  exchange: Exchange,
  parts: SyncApiParts,
  library: LibraryRead,
  content: Omit<WorkerJob, 'proof' | 'mayPack'>,
): Promise<void> {
  const { request, response, proven, signal } = exchange
  const write = beginStream(exchange, parts)
  const changed = () => hasChanged(library, parts, signal)
  // packing saves the line and costs CPU: not where that is what is short, there or here
  const mayPack = request.headers[PACKING_HEADER] !== 'none' && !parts.cpu.isLimited
  await parts.pool.stream({ ...content, proof: proven, mayPack }, write, changed, signal)
  response.end()
}

async function sendDump(exchange: Exchange, parts: SyncApiParts): Promise<void> {
  const { response, proven, signal } = exchange
  const write = beginStream(exchange, parts)
  await parts.dump(new StreamSeal(proven.key, proven.nonce), write, signal)
  response.end()
}

async function answerBinlog(exchange: Exchange, parts: SyncApiParts): Promise<void> {
  const { response, proven, body, signal } = exchange
  const next = await parts.binlog(decodeBinlogRequest(body), signal)
  await sendBinlog(next, new StreamSeal(proven.key, proven.nonce), beginStream(exchange, parts))
  response.end()
}

/** From here on bytes are sent as the limits allow. Of what is given, each resolves when the kernel has it. */
function beginStream({ response, proven, signal }: Exchange, { cpu, rate }: SyncApiParts) {
  const { key, nonce } = proven
  response.writeHead(200, {
    'content-type': 'application/octet-stream',
    [PROOF_HEADER]: answerProof(key, { nonce, status: 200, body: 'stream' }),
  })
  let sentBytes = 0
  return async (chunk: Uint8Array): Promise<void> => {
    for (const piece of rate.pieces(chunk)) {
      await cpu.take(sentBytes, signal)
      await rate.take(piece.byteLength, signal)
      await sent(response, piece, signal)
      sentBytes += piece.byteLength
    }
  }
}

/** Whether what was read before the stream is still so: seaf-gc writes valid-since and its id before it deletes. */
async function hasChanged(before: LibraryRead, parts: SyncApiParts, signal: AbortSignal): Promise<boolean> {
  const now = await parts.catalog.read(before.rows.repo, signal)
  return (
    now === undefined ||
    now.gcId !== before.gcId ||
    now.rows.head !== before.rows.head ||
    now.history.validSince !== before.history.validSince ||
    now.history.limitDays !== before.history.limitDays
  )
}

/** Resolves when the kernel has it: the memory may be used again. */
function sent(response: ServerResponse, piece: Uint8Array, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason as Error) // nobody will say so again
    const stop = () => reject(signal.reason as Error)
    signal.addEventListener('abort', stop, { once: true })
    response.write(piece, error => {
      signal.removeEventListener('abort', stop)
      if (error) reject(new DOMException(`the backup hung up: ${error.message}`, 'AbortError'))
      else resolve()
    })
  })
}
