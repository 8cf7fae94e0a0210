/**
 * Tells the backup that something changed: one WebSocket, newest head per library.
 *
 * What it sends are hints. A library that changes a thousand times while the
 * line is slow or down waits as one entry, so memory is bounded by the number
 * of libraries. Every message has a number; the backup sweeps when one is
 * missing. A heartbeat goes out every few seconds whether anything changed or
 * not, with the newest position of the change source.
 */

import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { WebSocket } from 'ws'
import { BackupError, asBackupError, isAbort, reason } from '../shared/errors.js'
import { startLoop } from '../shared/lifecycle.js'
import { Bell, backoffMs, sleep } from '../shared/timing.js'
import { PROOF_HEADER, VERSION_HEADER, provingKey, signRequest } from '../shared/wire/auth.js'
import { EVENT_BYTES_MAX, PROTOCOL_VERSION } from '../shared/wire/sync-messages.js'
import type { IncomingMessage } from 'node:http'
import type { CommitId, RepoId } from '../shared/ids.js'
import type { Log } from '../shared/log.js'
import type { AuthKeys } from '../shared/wire/auth.js'
import type { EventMessage } from '../shared/wire/sync-messages.js'
import type { ChangeHint, ChangeSink } from './changes/change-source.js'

const EVENTS_PATH = '/v1/events'
const HEARTBEAT_MS = 3_000
/** Without a pong for so long the connection is dead, whatever TCP thinks. */
const SILENCE_MS_MAX = 15_000
const CONNECT_MS_MAX = 10_000
const RECONNECT = { first: 250, max: 30_000 }
/** Unsent bytes in the socket above which events wait here instead, where they coalesce. */
const UNSENT_BYTES_MAX = 256 * 1024

type Body = EventMessage extends infer M ? (M extends EventMessage ? Omit<M, 'epoch' | 'seq'> : never) : never

export interface NotifierOptions {
  readonly backupUrl: URL
  readonly caFile: string | null
  readonly keys: AuthKeys
  readonly source: () => string
  readonly log: Log
  readonly onDeath: (error: unknown) => void
}

export class Notifier implements ChangeSink, AsyncDisposable {
  readonly #options: NotifierOptions
  readonly #epoch = randomBytes(8).toString('hex')
  #seq = 0
  readonly #pending = new Map<RepoId, { head: CommitId | null; since: number }>()
  #everything = false
  #position = ''
  #positionAt: number | undefined
  #degraded: string | null = null
  readonly #bell = new Bell()
  readonly #loop: AsyncDisposable
  #connected = false

  constructor(options: NotifierOptions) {
    this.#options = options
    this.#loop = startLoop(signal => this.#run(signal), options.onDeath)
  }

  get connected(): boolean {
    return this.#connected
  }

  changed({ repo, head }: ChangeHint): void {
    const waiting = this.#pending.get(repo)
    // delete first: a library that changed again goes to the end, so that a busy one does not hold the others up
    this.#pending.delete(repo)
    this.#pending.set(repo, { head: head ?? waiting?.head ?? null, since: waiting?.since ?? performance.now() })
    this.#bell.ring()
  }

  allMayHaveChanged(): void {
    this.#everything = true
    this.#bell.ring()
  }

  position(text: string): void {
    this.#position = text
    this.#positionAt = performance.now()
  }

  degraded(why: string): void {
    if (this.#degraded !== why) this.#options.log.warn({ reason: why }, 'fast change source not available')
    this.#degraded = why
  }

  restored(): void {
    if (this.#degraded !== null) this.#options.log.info({}, 'fast change source available')
    this.#degraded = null
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#loop[Symbol.asyncDispose]()
  }

  async #run(signal: AbortSignal): Promise<void> {
    let lastReason = ''
    for (let attempt = 0; ; attempt++) {
      try {
        const socket = await connect(this.#options, signal)
        this.#connected = true
        lastReason = ''
        this.#options.log.info({ backup: this.#options.backupUrl.origin }, 'connected to the backup')
        attempt = -1
        await this.#serve(socket, signal)
      } catch (error) {
        if (isAbort(error) && signal.aborted) throw error
        const { code, message: why } = asBackupError(error)
        // once a reason, not once an attempt: an unreachable backup must not fill the log
        if (why !== lastReason)
          this.#options.log.warn({ code, reason: why }, 'events cannot be delivered; trying again')
        lastReason = why
      } finally {
        this.#connected = false
      }
      await sleep(backoffMs(Math.max(0, attempt), RECONNECT), signal)
    }
  }

  /** Sends until the connection ends; then resolves or rejects with the reason. */
  async #serve(socket: WebSocket, signal: AbortSignal): Promise<void> {
    const ended = new AbortController()
    const both = AbortSignal.any([signal, ended.signal])
    let heardAt = performance.now()
    let why = 'the backup closed the connection'
    socket.on('pong', () => (heardAt = performance.now()))
    socket.on('error', error => (why = reason(error)))
    socket.on('close', () => ended.abort())
    try {
      for (let beatAt = -Infinity; ;) {
        const now = performance.now()
        if (now - beatAt >= HEARTBEAT_MS) {
          beatAt = now
          if (now - heardAt > SILENCE_MS_MAX) throw new Error('the backup has been silent for 15 s')
          this.#beat(socket)
        }
        if (this.#flush(socket)) await this.#bell.wait(Math.max(0, beatAt + HEARTBEAT_MS - now), both)
        else await sleep(5, both) // the socket is full: let it drain
      }
    } catch (error) {
      if (signal.aborted || !ended.signal.aborted) throw error
      throw new Error(why, { cause: error })
    } finally {
      socket.terminate()
    }
  }

  #beat(socket: WebSocket): void {
    const positionAgoMs = this.#positionAt === undefined ? null : Math.round(performance.now() - this.#positionAt)
    this.#send(socket, {
      type: 'heartbeat',
      position: this.#position,
      positionAgoMs,
      source: this.#options.source(),
      degraded: this.#degraded?.slice(0, 900) ?? null,
    })
    socket.ping()
  }

  /** False when the socket has enough. */
  #flush(socket: WebSocket): boolean {
    if (this.#everything) {
      this.#everything = false
      this.#send(socket, { type: 'everything' })
    }
    for (const [repo, { head, since }] of this.#pending) {
      if (socket.bufferedAmount > UNSENT_BYTES_MAX) return false
      this.#pending.delete(repo)
      this.#send(socket, { type: 'event', repo, head, agoMs: Math.round(performance.now() - since) })
    }
    return true
  }

  #send(socket: WebSocket, body: Body): void {
    if (socket.readyState !== WebSocket.OPEN) return // lost: the backup sweeps when we are back
    this.#seq += 1
    socket.send(JSON.stringify({ ...body, epoch: this.#epoch, seq: this.#seq }))
  }
}

function connect({ backupUrl, caFile, keys }: NotifierOptions, signal: AbortSignal): Promise<WebSocket> {
  const url = new URL(EVENTS_PATH, backupUrl)
  const { nonce, headers } = signRequest(keys, { method: 'GET', path: url.pathname, body: '' })
  const socket = new WebSocket(url, {
    headers: { ...headers, [VERSION_HEADER]: String(PROTOCOL_VERSION) },
    handshakeTimeout: CONNECT_MS_MAX,
    maxPayload: EVENT_BYTES_MAX,
    perMessageDeflate: false,
    followRedirects: false,
    ...(caFile && { ca: readFileSync(caFile) }),
  })
  return new Promise((resolve, reject) => {
    const stop = () => {
      socket.terminate()
      reject(signal.reason as Error)
    }
    signal.addEventListener('abort', stop, { once: true })
    const settle = (error?: Error) => {
      signal.removeEventListener('abort', stop)
      if (!error) return resolve(socket)
      socket.terminate()
      reject(error)
    }
    let proof: unknown
    socket.on('upgrade', response => (proof = response.headers[PROOF_HEADER]))
    socket.on('unexpected-response', (_request, response) => settle(refusal(response, url)))
    socket.on('error', error =>
      settle(new BackupError('BACKUP_UNREACHABLE', `connect to ${url.origin} (backup_url): ${reason(error)}`)),
    )
    socket.on('open', () => {
      const proved = provingKey(keys, { nonce, status: 101, body: '' }, proof) !== undefined
      settle(
        proved
          ? undefined
          : new BackupError(
              'TOKEN_MISMATCH',
              `connect to ${url.origin}: the backup did not prove that it has our sync_token`,
            ),
      )
    })
  })
}

function refusal(response: IncomingMessage, url: URL): BackupError {
  response.resume()
  const at = `connect to ${url.origin} (backup_url): the backup`
  switch (response.statusCode) {
    case 401:
      return new BackupError(
        'TOKEN_MISMATCH',
        `${at} refused our sync_token, or the clocks differ by minutes; compare the key on both hosts`,
      )
    case 426:
      return new BackupError(
        'PROTOCOL_VERSION',
        `${at} speaks another protocol version; install the same version on both hosts`,
      )
    default:
      return new BackupError(
        'BACKUP_UNREACHABLE',
        `${at} answered ${response.statusCode}; is this the address of seaf-backup-server?`,
      )
  }
}
