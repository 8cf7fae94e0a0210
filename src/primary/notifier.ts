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
import { EventSeal, PROOF_HEADER, VERSION_HEADER, provingKey, signRequest } from '../shared/wire/auth.js'
import { readBody } from '../shared/wire/listener.js'
import { EVENT_BYTES_MAX, PROTOCOL_VERSION, decodeRemoteError } from '../shared/wire/sync-messages.js'
import type { IncomingMessage } from 'node:http'
import type { ErrorCode } from '../shared/errors.js'
import type { CommitId, RepoId } from '../shared/ids.js'
import type { Log } from '../shared/log.js'
import type { AuthKeys } from '../shared/wire/auth.js'
import type { EventMessage } from '../shared/wire/sync-messages.js'
import type { Fence } from './fence.js'
import type { ChangeHint, ChangeSink } from './changes/change-source.js'

const EVENTS_PATH = '/v1/events'
/** Refusals that name what differs, in the words of who knows both. */
const SAID_BY_BACKUP: ReadonlySet<ErrorCode> = new Set(['CLOCK_SKEW', 'PROTOCOL_VERSION', 'PROMOTED'])
const HEARTBEAT_MS = 3_000
/** Without a pong for so long the connection is dead, whatever TCP thinks. */
const SILENCE_MS_MAX = 15_000
const CONNECT_MS_MAX = 10_000
const RECONNECT = { first: 250, max: 30_000 }
/** An event waits no longer for what would be sent along. */
const ENCLOSING_MS_MAX = 25
/** Unsent bytes in the socket above which events wait here instead, where they coalesce. */
const UNSENT_BYTES_MAX = 256 * 1024

type Body = EventMessage extends infer M ? (M extends EventMessage ? Unnumbered<M> : never) : never
/** What is sent along, as it stands in JSON. */
type Unnumbered<M extends EventMessage> = Omit<M, 'epoch' | 'seq' | 'enclosed'> &
  (M extends { type: 'event' } ? { readonly enclosed: string | null } : object)

export interface NotifierOptions {
  readonly backupUrl: URL
  readonly caFile: string | null
  readonly keys: AuthKeys
  readonly source: () => string
  /** What is sent along with an event of this head (enclosure.ts). */
  readonly enclosure: (repo: RepoId, head: CommitId, signal: AbortSignal) => Promise<Buffer | null>
  /** Goes up when the backup says that it was promoted. */
  readonly fence: Fence
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
        const line = await connect(this.#options, signal)
        this.#connected = true
        lastReason = ''
        this.#options.log.info({ backup: this.#options.backupUrl.origin }, 'connected to the backup')
        attempt = -1
        await this.#serve(line, signal)
      } catch (error) {
        if (isAbort(error) && signal.aborted) throw error
        const { code, message: why } = asBackupError(error)
        if (code === 'PROMOTED') await this.#fenced(why)
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
  async #serve(line: Line, signal: AbortSignal): Promise<void> {
    const { socket } = line
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
          if (now - heardAt > SILENCE_MS_MAX) throw this.#lost('the backup has been silent for 15 s')
          this.#beat(line)
        }
        if (await this.#flush(line, both))
          await this.#bell.wait(Math.max(0, beatAt + HEARTBEAT_MS - performance.now()), both)
        else await sleep(5, both) // the socket is full: let it drain
      }
    } catch (error) {
      if (signal.aborted || !ended.signal.aborted) throw error
      throw this.#lost(why)
    } finally {
      socket.terminate()
    }
  }

  /** What cannot be written now is written at the next refusal. */
  async #fenced(why: string): Promise<void> {
    try {
      await this.#options.fence.raise(why)
    } catch (error) {
      this.#options.log.error(
        { code: 'PROMOTED', reason: why, failed: reason(error) },
        'the fence could not be written',
      )
    }
  }

  #lost(why: string): BackupError {
    return new BackupError(
      'BACKUP_UNREACHABLE',
      `send events to ${this.#options.backupUrl.origin} (backup_url): ${why}`,
    )
  }

  #beat(line: Line): void {
    const positionAgoMs = this.#positionAt === undefined ? null : Math.round(performance.now() - this.#positionAt)
    this.#send(line, {
      type: 'heartbeat',
      position: this.#position,
      positionAgoMs,
      source: this.#options.source(),
      degraded: this.#degraded?.slice(0, 900) ?? null,
    })
    line.socket.ping()
  }

  /** False when the socket has enough. */
  async #flush(line: Line, signal: AbortSignal): Promise<boolean> {
    if (this.#everything) {
      this.#everything = false
      this.#send(line, { type: 'everything' })
    }
    const isAlone = this.#pending.size === 1 && line.socket.bufferedAmount === 0
    for (const [repo, { head, since }] of this.#pending) {
      if (line.socket.bufferedAmount > UNSENT_BYTES_MAX) return false
      this.#pending.delete(repo)
      const enclosed = isAlone && head !== null ? await this.#enclosed(repo, head, signal) : null
      this.#send(line, { type: 'event', repo, head, agoMs: Math.round(performance.now() - since), enclosed })
      if (isAlone) break // what came meanwhile has its turn after the heartbeat
    }
    if (this.#pending.size > 0) this.#bell.ring()
    return true
  }

  /** Of a change that comes alone: where many come at once the backup is behind, and asks for what it lacks. */
  async #enclosed(repo: RepoId, head: CommitId, signal: AbortSignal): Promise<string | null> {
    const ended = new AbortController()
    try {
      const made = this.#options.enclosure(repo, head, AbortSignal.any([signal, ended.signal]))
      const late = sleep(ENCLOSING_MS_MAX, ended.signal).then(() => null)
      late.catch(() => {})
      return (await Promise.race([made, late]))?.toString('base64') ?? null
    } catch (error) {
      if (signal.aborted) throw error
      return null // the backup asks, and is told what is wrong
    } finally {
      ended.abort()
    }
  }

  #send({ socket, seal }: Line, body: Body): void {
    if (socket.readyState !== WebSocket.OPEN) return // lost: the backup sweeps when we are back
    this.#seq += 1
    socket.send(seal.seal(JSON.stringify({ ...body, epoch: this.#epoch, seq: this.#seq })))
  }
}

/** A connection, and what proves its messages. */
interface Line {
  readonly socket: WebSocket
  readonly seal: EventSeal
}

function connect({ backupUrl, caFile, keys }: NotifierOptions, signal: AbortSignal): Promise<Line> {
  const url = new URL(EVENTS_PATH, backupUrl)
  const { nonce, headers } = signRequest(keys, { method: 'GET', path: url.pathname, body: '' })
  const socket = new WebSocket(url, {
    headers: { ...headers, [VERSION_HEADER]: String(PROTOCOL_VERSION) },
    maxPayload: EVENT_BYTES_MAX,
    perMessageDeflate: false,
    followRedirects: false,
    ...(caFile && { ca: readFileSync(caFile) }),
  })
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(deadline)
      socket.terminate()
      reject(signal.reason as Error)
    }
    signal.addEventListener('abort', stop, { once: true })
    const unreachable = (why: string) =>
      settle(new BackupError('BACKUP_UNREACHABLE', `connect to ${url.origin} (backup_url): ${why}`))
    // of the whole handshake: the package's own starts anew with each byte
    const deadline = setTimeout(() => unreachable('the handshake took longer than 10 s'), CONNECT_MS_MAX)
    const settle = (result: Error | Line) => {
      clearTimeout(deadline)
      signal.removeEventListener('abort', stop)
      if (!(result instanceof Error)) return resolve(result)
      socket.terminate()
      reject(result)
    }
    let proof: unknown
    socket.on('upgrade', response => (proof = response.headers[PROOF_HEADER]))
    socket.on('unexpected-response', (_request, response) => {
      void refusal(response, { url, keys, nonce }).then(settle, (error: unknown) => unreachable(reason(error)))
    })
    socket.on('error', error => unreachable(reason(error)))
    socket.on('open', () => {
      const key = provingKey(keys, { nonce, status: 101, body: '' }, proof)
      settle(
        key
          ? { socket, seal: new EventSeal(key, nonce) }
          : new BackupError(
              'TOKEN_MISMATCH',
              `connect to ${url.origin}: the backup did not prove that it has our sync_token`,
            ),
      )
    })
  })
}

async function refusal(
  response: IncomingMessage,
  { url, keys, nonce }: { url: URL; keys: AuthKeys; nonce: string },
): Promise<BackupError> {
  const body = await readBody(response, EVENT_BYTES_MAX)
  const at = `connect to ${url.origin} (backup_url): the backup`
  const status = response.statusCode ?? 0
  // only of somebody who has the token; a backup that refuses our token cannot prove that it does
  if (provingKey(keys, { nonce, status, body }, response.headers[PROOF_HEADER])) {
    const { code, message } = decodeRemoteError(body, 'backup')
    if (SAID_BY_BACKUP.has(code)) return new BackupError(code, `connect to ${url.origin} (backup_url): ${message}`)
  }
  switch (status) {
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
        `${at} answered ${status}; is this the address of seaf-backup-server?`,
      )
  }
}
