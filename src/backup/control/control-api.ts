/**
 * The daemon's end of the command: HTTP over the control socket, as wire/control-messages.ts says.
 *
 * A sync that is asked for is waited for, with its progress as it comes; a
 * command that hangs up aborts the wait, and only that. Whatever goes wrong in
 * a request is answered with a coded error and ends that request alone.
 */

import { createServer } from 'node:http'
import { BackupError, asBackupError, isAbort } from '../../shared/errors.js'
import { CONTROL_REQUEST_BYTES_MAX, decodeSyncRequest } from '../../shared/wire/control-codec.js'
import { HEAD_LOG_ENTRIES_MAX } from '../../shared/wire/control-messages.js'
import { refuseInJson } from '../../shared/wire/plain-refusals.js'
import { listenOnControlSocket } from './control-socket.js'
import { nextStep } from '../../shared/next-step.js'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Log } from '../../shared/log.js'
import type {
  ControlError,
  DumpEvent,
  DumpStatus,
  HeadLogEntry,
  LibraryStatus,
  StatusReport,
  SyncEvent,
  SyncProgress,
  SyncRequest,
} from '../../shared/wire/control-messages.js'

export type SyncOptions = Omit<SyncRequest, 'library'>

/** What the daemon can be asked and told. */
export interface ControlTarget {
  /** From memory: never waits. `libraries` adds one entry for each. */
  status(options: { libraries: boolean }): StatusReport

  /**
   * The library with this id, or the only one whose id begins so.
   * @throws BackupError LIBRARY_UNKNOWN, or LIBRARY_AMBIGUOUS with `details.candidates: string[]`
   */
  resolve(idOrPrefix: string): string

  /** Newest first; `library` as `resolve` gives it. */
  headLog(library: string, limit: number): HeadLogEntry[]

  /** Resolves when the library is synchronized or failed. Aborting ends the wait; the sync itself may go on. */
  sync(
    library: string,
    options: SyncOptions,
    onProgress: (progress: SyncProgress) => void,
    signal: AbortSignal,
  ): Promise<LibraryStatus>

  /** As `sync`, for all libraries; `failedLibraries` may be cut short, `failed` counts all. */
  syncAll(
    options: SyncOptions,
    onProgress: (librariesDone: number, libraries: number, progress: SyncProgress) => void,
    signal: AbortSignal,
  ): Promise<{ synchronized: number; failed: number; failedLibraries: LibraryStatus[] }>

  /** Takes a dump now, and resolves when it is kept. Aborting ends it, if it was begun for this request alone. */
  dump(onBytes: (bytes: number) => void, signal: AbortSignal): Promise<DumpStatus>
}

export interface ControlApiOptions {
  readonly socketPath: string
  readonly target: ControlTarget
  readonly log: Log
}

/** Administrators and their monitoring; each waiting `sync` is one. */
const CONNECTIONS_MAX = 64
/** A request is one small write of a local process. */
const REQUEST_MS_MAX = 10_000
/** Often enough for a bar to move smoothly. */
const PROGRESS_EVERY_MS = 200
const CANDIDATES_MAX = 20
/** A command reads at once; one that is stopped (^Z) must not hold up the daemon's end. */
const LAST_WORD_MS_MAX = 1_000
/** One request a connection: nothing idle is left to be closed. */
const CLOSE = { connection: 'close' }

/** @throws BackupError DIRECTORY_UNUSABLE, ALREADY_RUNNING. When disposal resolves, no request is running. */
export async function startControlApi({ socketPath, target, log }: ControlApiOptions): Promise<AsyncDisposable> {
  const stopping = new AbortController()
  const running = new Set<Promise<void>>()
  const server = createServer({ requireHostHeader: false }, (request, response) => {
    const done = answer(request, response, target, log, stopping.signal).finally(() => running.delete(done))
    running.add(done)
  })
  refuseInJson(server, (code, message) => ({ code, message, nextStep: nextStep(code) }))
  server.maxConnections = CONNECTIONS_MAX
  server.requestTimeout = REQUEST_MS_MAX
  server.headersTimeout = REQUEST_MS_MAX

  const socket = await listenOnControlSocket(server, socketPath)
  server.on('error', error => log.error({ err: error }, 'control socket failed'))
  return {
    async [Symbol.asyncDispose]() {
      stopping.abort()
      await socket[Symbol.asyncDispose]()
      const closed = close(server)
      await Promise.all(running)
      await closed
    },
  }
}

/** Takes nobody new; who is being answered gets the answer if there is somebody to read it. */
async function close(server: Server): Promise<void> {
  const cut = setTimeout(() => server.closeAllConnections(), LAST_WORD_MS_MAX)
  await new Promise<void>(resolve => server.close(() => resolve()))
  clearTimeout(cut)
}

/** Never rejects. */
async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  target: ControlTarget,
  log: Log,
  stopping: AbortSignal,
): Promise<void> {
  const hungUp = new AbortController()
  response.on('close', () => hungUp.abort())
  response.on('error', () => hungUp.abort()) // a write to one who hung up
  try {
    await route(request, response, target, log, AbortSignal.any([hungUp.signal, stopping]))
  } catch (error) {
    if (hungUp.signal.aborted) return // nobody is left to be told
    const failure =
      isAbort(error) && stopping.aborted
        ? new BackupError('STOPPING', 'wait for the sync: the daemon is stopping')
        : asBackupError(error)
    if (failure.disposition !== 'usage') log.warn({ err: failure, path: request.url }, 'control request failed')
    refuse(response, failure)
  }
}

async function route(
  request: IncomingMessage,
  response: ServerResponse,
  target: ControlTarget,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  const url = URL.parse(`http://daemon${request.url ?? ''}`)
  switch (url && `${request.method} ${url.pathname}`) {
    case 'GET /v1/status': {
      const report = target.status({ libraries: url?.searchParams.get('libraries') === '1' })
      response.writeHead(200, { ...CLOSE, 'content-type': 'application/json' }).end(JSON.stringify(report))
      return
    }
    case 'GET /v1/log': {
      const limit = Number(url?.searchParams.get('limit') ?? HEAD_LOG_ENTRIES_MAX)
      if (!Number.isInteger(limit) || limit < 1 || limit > HEAD_LOG_ENTRIES_MAX)
        throw new BackupError('BAD_REQUEST', `read the head log: limit must be from 1 to ${HEAD_LOG_ENTRIES_MAX}`)
      const library = target.resolve(url?.searchParams.get('library') ?? '')
      const entries = target.headLog(library, limit)
      response.writeHead(200, { ...CLOSE, 'content-type': 'application/json' }).end(JSON.stringify({ entries }))
      return
    }
    case 'POST /v1/sync': {
      const { library, force, full } = decodeSyncRequest(await readBody(request, signal))
      const resolved = library === null ? null : target.resolve(library)
      log.info({ repo: resolved, force, full }, 'sync asked for by the command')
      response.writeHead(200, { ...CLOSE, 'content-type': 'application/x-ndjson' })
      await sync({ library: resolved, force, full }, response, target, signal)
      response.end()
      return
    }
    case 'POST /v1/dump': {
      log.info({}, 'dump asked for by the command')
      response.writeHead(200, { ...CLOSE, 'content-type': 'application/x-ndjson' })
      const send = (event: DumpEvent) => void response.write(`${JSON.stringify(event)}\n`)
      const progress = seldom(response, (bytes: number) => send({ type: 'progress', bytes }))
      send({ type: 'end', dump: await target.dump(progress, signal) })
      response.end()
      return
    }
    default:
      throw new BackupError('BAD_REQUEST', `${request.method} ${request.url}: there is nothing of that name here`, {
        httpStatus: 404,
      })
  }
}

async function sync(
  { library, force, full }: SyncRequest,
  response: ServerResponse,
  target: ControlTarget,
  signal: AbortSignal,
): Promise<void> {
  const send = (event: SyncEvent) => void response.write(`${JSON.stringify(event)}\n`)
  const progress = seldom(response, (librariesDone: number, progress: SyncProgress) => {
    send({ type: 'progress', librariesDone, progress })
  })
  if (library === null) {
    send({ type: 'started', library, libraries: target.status({ libraries: false }).counts.total })
    const onProgress = (done: number, _libraries: number, p: SyncProgress) => progress(done, p)
    const { synchronized, failed, failedLibraries } = await target.syncAll({ force, full }, onProgress, signal)
    for (const failedLibrary of failedLibraries) send({ type: 'library', library: failedLibrary })
    send({ type: 'end', synchronized, failed })
    return
  }
  send({ type: 'started', library, libraries: 1 })
  const status = await target.sync(library, { force, full }, p => progress(0, p), signal)
  send({ type: 'library', library: status })
  const synchronized = status.state === 'synchronized' ? 1 : 0
  send({ type: 'end', synchronized, failed: 1 - synchronized })
}

/** Drops progress that comes too often, or that a slow reader has not taken yet: only the newest matters. */
function seldom<A extends unknown[]>(response: ServerResponse, send: (...args: A) => void): (...args: A) => void {
  let sentAt = -Infinity
  return (...args) => {
    const now = performance.now()
    if (now - sentAt < PROGRESS_EVERY_MS || response.writableNeedDrain || response.destroyed) return
    sentAt = now
    send(...args)
  }
}

async function readBody(request: IncomingMessage, signal: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  const stop = () => request.destroy()
  signal.addEventListener('abort', stop)
  try {
    // Not destroyed when too large: its sender is to read why.
    const body: AsyncIterable<Buffer> = request.iterator({ destroyOnReturn: false })
    for await (const chunk of body) {
      bytes += chunk.byteLength
      if (bytes > CONTROL_REQUEST_BYTES_MAX) throw tooLarge()
      chunks.push(chunk)
    }
  } finally {
    signal.removeEventListener('abort', stop)
  }
  return Buffer.concat(chunks, bytes)
}

const tooLarge = () =>
  new BackupError('BAD_REQUEST', `read the request: more than ${CONTROL_REQUEST_BYTES_MAX} bytes`, { httpStatus: 413 })

/** As an answer of its own, or, once progress has been sent, as the last event. */
function refuse(response: ServerResponse, failure: BackupError): void {
  const { candidates } = failure.details
  const error: ControlError = {
    code: failure.code,
    message: failure.message,
    nextStep: nextStep(failure.code),
    ...(Array.isArray(candidates) ? { candidates: (candidates as string[]).slice(0, CANDIDATES_MAX) } : {}),
  }
  if (response.headersSent) {
    response.end(`${JSON.stringify({ type: 'error', error } satisfies SyncEvent)}\n`)
    return
  }
  response.writeHead(httpStatus(failure), { ...CLOSE, 'content-type': 'application/json' })
  response.end(JSON.stringify(error))
}

function httpStatus({ code, disposition, details }: BackupError): number {
  const { httpStatus: given } = details
  if (typeof given === 'number') return given
  if (code === 'LIBRARY_UNKNOWN') return 404
  if (code === 'LIBRARY_AMBIGUOUS') return 409
  if (code === 'STOPPING') return 503
  return disposition === 'usage' ? 400 : 500
}
