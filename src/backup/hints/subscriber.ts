/**
 * Hears the agents: one WebSocket each, on `/v1/events`.
 *
 * An event only makes us look sooner at one library. When an agent connects, or
 * one of its numbers is missing, everything is compared at once. An agent that
 * is silent for longer than several heartbeats is cut off: it will come back.
 */

import { WebSocketServer } from 'ws'
import { BackupError, asBackupError } from '../../shared/errors.js'
import {
  AUTH_HEADER,
  EventSeal,
  FailureLimit,
  PROOF_HEADER,
  RequestGuard,
  SEAL_BYTES,
  VERSION_HEADER,
  answerProof,
} from '../../shared/wire/auth.js'
import { listen, peerAddress } from '../../shared/wire/listener.js'
import { rawAnswer } from '../../shared/wire/plain-refusals.js'
import { EVENT_BYTES_MAX, PROTOCOL_VERSION, decodeEvent } from '../../shared/wire/sync-messages.js'
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import type { ErrorCode } from '../../shared/errors.js'
import type { CommitId, RepoId } from '../../shared/ids.js'
import type { Log } from '../../shared/log.js'
import type { AuthKeys, ProvenRequest } from '../../shared/wire/auth.js'
import type { EventMessage } from '../../shared/wire/sync-messages.js'
import type { Listener, ListenOptions } from '../../shared/wire/listener.js'

const EVENTS_PATH = '/v1/events'
/** Five missed heartbeats. */
const SILENCE_MS_MAX = 15_000
/** Nodes of one cluster, and their old connections that have not timed out yet. */
const AGENTS_MAX = 64

/** What an agent last said of its own health. */
export interface Agent {
  readonly address: string
  readonly connectedAt: number
  heardAt: number
  heartbeat: (EventMessage & { readonly type: 'heartbeat' }) | undefined
  /** performance.now() of that heartbeat. */
  heartbeatAt: number
}

export interface Hints {
  /**
   * `ago`: milliseconds since the agent saw the change; null head: its rows changed, or nobody knows what. `enclosed`:
   * frames of the delta from the head's parent, if they came along.
   */
  changed(repo: RepoId, head: CommitId | null, ago: number, enclosed: Buffer | null): void
  /** Something may have been missed. */
  sweep(reason: string): void
}

export class Subscriber implements AsyncDisposable {
  readonly #agents = new Map<WebSocket, Agent>()
  readonly #server = new WebSocketServer({
    noServer: true,
    maxPayload: SEAL_BYTES + EVENT_BYTES_MAX,
    perMessageDeflate: false,
  })
  readonly #failures = new FailureLimit()
  readonly #guard: RequestGuard
  /** Header line for the answer to each upgrade. */
  readonly #proofs = new WeakMap<IncomingMessage, string>()
  #listener: Listener | undefined
  #heardAt: number | undefined
  #heardUntil: number | undefined

  private constructor(
    keys: AuthKeys,
    private readonly hints: Hints,
    private readonly log: Log,
    /** What every agent is told in place of being heard. */
    private readonly refusesAll: BackupError | undefined,
  ) {
    this.#guard = new RequestGuard(keys)
    this.#server.on('headers', (headers, request) => headers.push(this.#proofs.get(request) ?? ''))
    this.#server.on('wsClientError', ({ message }, socket) => {
      socket.end(refusal({ code: 'PROTOCOL_BROKEN', message: `open a WebSocket: ${message}` }, undefined), () =>
        socket.destroy(),
      )
    })
  }

  static async start(
    options: ListenOptions & { keys: AuthKeys; hints: Hints; log: Log; refusesAll?: BackupError },
  ): Promise<Subscriber> {
    const subscriber = new Subscriber(options.keys, options.hints, options.log, options.refusesAll)
    const listener = await listen(options, (_request, response) => {
      const message = 'seaf-backup-server: agents connect to /v1/events with a WebSocket'
      response.writeHead(404, { 'content-type': 'application/json', connection: 'close' })
      response.end(JSON.stringify({ code: 'BAD_REQUEST', message }))
    })
    listener.server.on('upgrade', (request, socket: Duplex, head: Buffer) => subscriber.#upgrade(request, socket, head))
    subscriber.#listener = listener
    return subscriber
  }

  get url(): string {
    return this.#listener?.url ?? ''
  }

  agents(): readonly Agent[] {
    return [...this.#agents.values()]
  }

  /** performance.now() of the last word of any agent, also of one that is gone; undefined: none since the start. */
  get heardAt(): number | undefined {
    return this.#heardAt
  }

  /** performance.now(): all that the primary had then was told of, by a heartbeat of any agent; undefined: by none yet. */
  get heardUntil(): number | undefined {
    return this.#heardUntil
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#agents.keys()) socket.terminate()
    this.#server.close()
    await this.#listener?.[Symbol.asyncDispose]()
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy())
    const address = peerAddress(request)
    let proven: ProvenRequest | undefined
    try {
      proven = this.#prove(request)
      this.#admit(request, proven)
      const proof = answerProof(proven.key, { nonce: proven.nonce, status: 101, body: '' })
      this.#proofs.set(request, `${PROOF_HEADER}: ${proof}`)
      const seal = new EventSeal(proven.key, proven.nonce)
      this.#server.handleUpgrade(request, socket, head, agent => this.#connected(agent, address, seal))
    } catch (error) {
      const { code, message } = asBackupError(error)
      if (code !== 'TOKEN_MISMATCH' || this.#failures.failed(address)) {
        this.log.warn({ peer: address, code, reason: message }, 'agent refused')
      }
      // destroyed once it is said: a stranger who keeps its own side open must not keep the socket
      socket.end(refusal({ code, message }, proven), () => socket.destroy())
    }
  }

  #prove(request: IncomingMessage): ProvenRequest {
    if (request.url !== EVENTS_PATH)
      throw new BackupError('BAD_REQUEST', `there is no ${String(request.url).slice(0, 80)}`)
    const header = request.headers[AUTH_HEADER]
    return this.#guard.prove({ method: 'GET', path: EVENTS_PATH, body: '', header })
  }

  #admit(request: IncomingMessage, proven: ProvenRequest): void {
    this.#guard.admit(proven)
    const theirs = request.headers[VERSION_HEADER]
    if (theirs !== String(PROTOCOL_VERSION)) {
      throw new BackupError(
        'PROTOCOL_VERSION',
        `the agent speaks protocol ${String(theirs).slice(0, 10)}, this backup ${PROTOCOL_VERSION}; install the same version on both hosts`,
      )
    }
    if (this.refusesAll) throw this.refusesAll
    if (this.#agents.size >= AGENTS_MAX) throw new BackupError('BAD_REQUEST', `more than ${AGENTS_MAX} agents`)
  }

  #connected(socket: WebSocket, address: string, seal: EventSeal): void {
    const now = performance.now()
    const agent: Agent = { address, connectedAt: now, heardAt: now, heartbeat: undefined, heartbeatAt: now }
    this.#heardAt = now
    this.#agents.set(socket, agent)
    this.log.info({ peer: address }, 'agent connected')
    let silence: NodeJS.Timeout
    const listenOn = () => {
      clearTimeout(silence)
      silence = setTimeout(() => socket.terminate(), SILENCE_MS_MAX)
    }
    listenOn()
    const inOrder = new Sequence()
    socket.on('ping', listenOn)
    socket.on('error', error => {
      const fields = { peer: address, code: 'PRIMARY_UNREACHABLE', reason: error.message }
      this.log.warn(fields, 'agent connection failed')
    })
    socket.on('close', () => {
      clearTimeout(silence)
      this.#agents.delete(socket)
      this.log.info({ peer: address }, 'agent disconnected')
      this.hints.sweep('an agent disconnected') // is the primary away, or only its events?
    })
    socket.on('message', (data: Buffer) => {
      listenOn()
      this.#receive(socket, agent, inOrder, () => seal.open(data))
    })
    this.hints.sweep('an agent connected')
  }

  #receive(socket: WebSocket, agent: Agent, inOrder: Sequence, open: () => Buffer): void {
    let event: EventMessage
    try {
      event = decodeEvent(open())
    } catch (error) {
      const { code, message } = asBackupError(error)
      this.log.warn({ peer: agent.address, code, reason: message }, 'event not understood')
      return socket.terminate()
    }
    this.#heardAt = agent.heardAt = performance.now()
    if (!inOrder.follows(event)) this.hints.sweep('events were lost')
    switch (event.type) {
      case 'event':
        return this.hints.changed(event.repo, event.head, event.agoMs, event.enclosed)
      case 'everything':
        return this.hints.sweep('the agent may have missed changes')
      case 'heartbeat':
        agent.heartbeat = event
        agent.heartbeatAt = agent.heardAt
        if (event.positionAgoMs !== null)
          this.#heardUntil = Math.max(this.#heardUntil ?? -Infinity, agent.heardAt - event.positionAgoMs)
    }
  }
}

const REFUSALS: Partial<Record<ErrorCode, number>> = {
  PROTOCOL_VERSION: 426,
  BAD_REQUEST: 404,
  PROTOCOL_BROKEN: 400,
  PROMOTED: 409,
}

/** As the sync API refuses: in JSON, proved to whoever proved itself. */
function refusal({ code, message }: Pick<BackupError, 'code' | 'message'>, proven: ProvenRequest | undefined): string {
  const status = REFUSALS[code] ?? 401
  const body = JSON.stringify({ code, message })
  const proof = proven && { [PROOF_HEADER]: answerProof(proven.key, { nonce: proven.nonce, status, body }) }
  return rawAnswer(status, body, proof)
}

/** Numbers of one connection: the first may be any, then each is one more. */
class Sequence {
  #epoch: string | undefined
  #seq = 0

  follows({ epoch, seq }: EventMessage): boolean {
    const good = this.#epoch === undefined || (epoch === this.#epoch && seq === this.#seq + 1)
    this.#epoch = epoch
    this.#seq = seq
    return good
  }
}
