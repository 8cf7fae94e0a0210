/**
 * The primary, as the backup asks it: each request signed, each answer proved before it is believed.
 *
 * Used by the sweep in the main thread and by each puller thread for itself, so
 * that bodies are read where they are needed. Deadlines: connecting, waiting
 * for headers, and silence within a body; a primary that works says so
 * (ALIVE), a dead one is noticed within a minute. Where the primary is a
 * cluster, any node can be asked: the one that answered last is asked first,
 * and when it cannot answer the others are, before anything is given up.
 */

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { BackupError, systemCode } from '../../shared/errors.js'
import { limit } from '../../shared/limit.js'
import { PROOF_HEADER, VERSION_HEADER, authKeys, provingKey, signRequest } from '../../shared/wire/auth.js'
import { COUNTS_BYTES_MAX, decodeCounts } from '../../shared/wire/count-messages.js'
import { FRAME, broken, provesItself } from '../../shared/wire/frames.js'
import {
  LISTING_BYTES_MAX,
  PACKING_HEADER,
  PROTOCOL_VERSION,
  decodeEndFrame,
  decodeListing,
  decodeRemoteError,
  encodeObjectsRequest,
} from '../../shared/wire/sync-messages.js'
import { StreamSeal } from '../../shared/wire/stream-seal.js'
import { Answer, Pace, SILENCE_MS_MAX, frameReader } from './answer.js'
import { URGENT_BLOCK_ANSWERS, threadBounds } from './concurrency.js'
import { HeldFrames } from './held-frames.js'
import { ThreadLoad } from './thread-load.js'
import type { Agent } from 'undici'
import type { ErrorCode } from '../../shared/errors.js'
import type { AuthKey, AuthKeys } from '../../shared/wire/auth.js'
import type { CountedTable } from '../../shared/wire/count-messages.js'
import type { Frame } from '../../shared/wire/frames.js'
import type { BinlogRequest } from '../../shared/wire/binlog-messages.js'
import type { DeltaRequest, EncodedListing, EndFrame, ObjectsRequest } from '../../shared/wire/sync-messages.js'
import type { AnswerHead, Node } from './answer.js'
import type { LineWait } from './line-wait.js'

export interface PrimaryAddress {
  /** Of the nodes, at least one. */
  readonly urls: readonly string[]
  readonly syncTokens: readonly string[]
  /** PEM text of a private CA. */
  readonly ca: string | null
}

/** Alone: with all of undici comes much that nobody asks for here, Node's own undici too, 70 ms of it in every thread. */
const AgentAlone = createRequire(import.meta.url)('undici/lib/dispatcher/agent.js') as typeof Agent

const CONNECT_MS_MAX = 10_000
/** The primary reads its rows before it answers; a listing of 100,000 libraries takes a second or two. */
const HEADERS_MS_MAX = 60_000
const ERROR_BYTES_MAX = 64 * 1024

/** These may be true of one node alone; what a library has, or the key that all share, is not. */
const OF_ONE_NODE: ReadonlySet<ErrorCode> = new Set([
  'PRIMARY_UNREACHABLE',
  'PRIMARY_FAILED',
  'STOPPING',
  'CLOCK_SKEW',
  'TOKEN_MISMATCH',
  'PROTOCOL_VERSION',
])

interface Question {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly body: string | Buffer
  /** On a connection of its own. */
  readonly reset?: boolean
  /** Where it is counted how long the beginning of the answer is waited for. */
  readonly wait?: LineWait | undefined
}

/** May answer with a promise when it needs time; only then is anything awaited. */
export type OnFrame = (frame: Frame) => void | Promise<void>

/** How long an answer took: until its first bytes came, and from there to its end with all that was done with it. */
export interface AnswerTimes {
  readonly firstMs: number
  readonly restMs: number
}

/** What a pull asks. */
export interface PullSource {
  delta(asked: DeltaRequest, onFrame: OnFrame, signal: AbortSignal): Promise<EndFrame>
  /** Of requests for blocks so many run at once as the thread has room for; the times are those without waiting for a turn. */
  objects(asked: ObjectsRequest, onFrame: OnFrame, signal: AbortSignal): Promise<EndFrame & AnswerTimes>
}

export class PrimaryClient implements AsyncDisposable {
  #agent: Agent
  readonly #newAgent: () => Agent
  readonly #keys: AuthKeys
  readonly #nodes: readonly Node[]
  readonly #load = new ThreadLoad()
  /** Index of the node that is asked first. */
  #preferred = 0
  readonly #blockTurn: ReturnType<typeof limit>
  /** A change that somebody waits for does not queue up behind first copies. */
  readonly #urgentTurn = limit(URGENT_BLOCK_ANSWERS)

  /** `bounds`: what the thread that it is made for may have open. */
  constructor(address: PrimaryAddress, { connections, blockAnswers } = threadBounds(1)) {
    this.#blockTurn = limit(blockAnswers)
    this.#nodes = address.urls.map(text => {
      const url = new URL(text)
      return { origin: url.origin, prefix: url.pathname.replace(/\/+$/, '') }
    })
    this.#keys = authKeys(address.syncTokens)
    this.#newAgent = () =>
      new AgentAlone({
        connections,
        allowH2: false, // its answers come in memory that others share: ours is given back
        headersTimeout: HEADERS_MS_MAX,
        bodyTimeout: SILENCE_MS_MAX,
        keepAliveTimeout: 60_000,
        connect: { timeout: CONNECT_MS_MAX, ...(address.ca !== null && { ca: address.ca }) },
      })
    this.#agent = this.#newAgent()
  }

  async listing(signal: AbortSignal): Promise<EncodedListing> {
    return decodeListing(await this.#proved('/v1/listing', LISTING_BYTES_MAX, signal))
  }

  /** For one pull, which waits where `wait` counts it. `isUrgent`: it is no first copy. */
  source(wait?: LineWait, isUrgent = false): PullSource {
    return {
      delta: (asked, onFrame, signal) => {
        const question = post('/v1/delta', Buffer.from(JSON.stringify(asked)), wait)
        return this.#stream(question, onFrame, signal)
      },
      objects: (asked, onFrame, signal) => {
        const ask = () => this.#stream(post('/v1/objects', encodeObjectsRequest(asked), wait), onFrame, signal)
        const inTurn = isUrgent ? this.#urgentTurn : this.#blockTurn
        return asked.objects.some(({ kind }) => kind === 'blocks') ? inTurn(ask, signal) : ask()
      },
    }
  }

  /** One dump of the databases, as frames (wire/dump-messages.ts). */
  async dump(onFrame: OnFrame, signal: AbortSignal): Promise<void> {
    const question = post('/v1/dump', Buffer.alloc(0), undefined)
    await ofNewAgents('a dump', this.#stream(question, onFrame, signal))
  }

  /** The next of the binlog, as frames (wire/binlog-messages.ts). */
  async binlog(asked: BinlogRequest, onFrame: OnFrame, signal: AbortSignal): Promise<void> {
    const question = post('/v1/binlog', Buffer.from(JSON.stringify(asked)), undefined)
    await ofNewAgents('the binlog', this.#stream(question, onFrame, signal))
  }

  /** How many rows its tables have now. */
  async counts(signal: AbortSignal): Promise<CountedTable[]> {
    return decodeCounts(await ofNewAgents('counts', this.#proved('/v1/counts', COUNTS_BYTES_MAX, signal)))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy()
  }

  /** Tries the others while nothing was answered; which one answered is remembered. */
  async #onAnyNode<T>(signal: AbortSignal, ask: (node: Node) => Promise<T>): Promise<T> {
    const first = this.#preferred
    let failure: unknown
    for (let n = 0; n < this.#nodes.length; n++) {
      const index = (first + n) % this.#nodes.length
      const agent = this.#agent
      try {
        const result = await ask(this.#nodes[index] as Node)
        this.#preferred = index
        return result
      } catch (error) {
        if (signal.aborted || !(error instanceof BackupError) || !OF_ONE_NODE.has(error.code)) throw error
        if (error.code === 'PRIMARY_UNREACHABLE') this.#renew(agent)
        failure ??= error
      }
    }
    throw failure
  }

  /** One answer that is proved as a whole. */
  #proved(path: string, bytesMax: number, signal: AbortSignal): Promise<Buffer> {
    return this.#onAnyNode(signal, async node => {
      // asked seldom: a connection kept since the last time may be dead, and would cost a deadline to find out
      const { head, answer, nonce } = await this.#ask(node, { method: 'GET', path, body: '', reset: true }, signal)
      const body = await this.#readBody(node, answer, bytesMax)
      this.#expectProof(node, head, nonce, body)
      return body
    })
  }

  #after(node: Node): number {
    return (this.#nodes.indexOf(node) + 1) % this.#nodes.length
  }

  /** A connection that idled may have been closed meanwhile, by the primary or by what is between: that is asked again. */
  async #ask(node: Node, question: Question, signal: AbortSignal) {
    const agent = this.#agent
    try {
      return await this.#askOnce(node, question, signal)
    } catch (error) {
      if (signal.aborted || !(error instanceof BackupError && wasCutOff(error.cause))) throw error
      this.#renew(agent)
      return this.#askOnce(node, question, signal)
    }
  }

  async #askOnce(node: Node, { method, path, body, wait, reset = false }: Question, signal: AbortSignal) {
    using _waiting = wait?.begin()
    const { nonce, headers } = signRequest(this.#keys, { method, path, body })
    const answer = new Answer(node, signal)
    this.#agent.dispatch(
      {
        origin: node.origin,
        path: node.prefix + path,
        method,
        headers: {
          ...headers,
          [VERSION_HEADER]: String(PROTOCOL_VERSION),
          // where we are what is slow, packed chunks would make us slower
          ...(this.#load.isBusy() && { [PACKING_HEADER]: 'none' }),
        },
        ...(method === 'POST' && { body }),
        reset,
      },
      answer,
    )
    const head = await answer.head()
    if (head.status !== 200) throw await this.#refusal(node, { head, answer }, nonce)
    return { head, answer, nonce }
  }

  /** What broke one connection may have broken all: of those that idle, each would cost a deadline of its own. */
  #renew(broken: Agent): void {
    if (broken !== this.#agent) return
    this.#agent = this.#newAgent()
    void broken.close().catch(() => {})
  }

  async #stream(question: Question, onFrame: OnFrame, signal: AbortSignal): Promise<EndFrame & AnswerTimes> {
    const { path, wait } = question
    const askedAt = performance.now()
    const { node, answer, held } = await this.#onAnyNode(signal, async node => {
      const { head, answer, nonce } = await this.#ask(node, question, signal)
      try {
        const key = this.#expectProof(node, head, nonce, 'stream')
        return { node, answer, held: new HeldFrames(new StreamSeal(key, nonce)) }
      } catch (error) {
        answer.hangUp()
        throw error
      }
    })
    const agent = this.#agent
    const pace = new Pace(node, wait)
    try {
      const end = await this.#readStream(answer.parts(pace), { path, held, node, pace }, onFrame)
      const { firstAt } = pace
      return { ...end, firstMs: firstAt - askedAt, restMs: performance.now() - firstAt }
    } catch (error) {
      // it broke in the middle: whoever asks next begins with another node
      if (error instanceof BackupError && error.code === 'PRIMARY_UNREACHABLE') {
        this.#preferred = this.#after(node)
        this.#renew(agent)
      }
      throw error
    }
  }

  async #readStream(
    chunks: AsyncIterable<Buffer>,
    { path, held, node, pace }: { path: string; held: HeldFrames; node: Node; pace: Pace },
    onFrame: OnFrame,
  ): Promise<EndFrame> {
    const framesIn = frameReader()
    let end: EndFrame | undefined
    for await (const received of chunks) {
      for (const frame of framesIn(received)) {
        if (end) throw broken('frames after the end')
        if (frame.partOf === undefined) pace.progressed() // of a part, its bytes count
        if (frame.type === FRAME.end) {
          end = decodeEndFrame(frame.payload)
          held.expectEnd(end)
        } else if (!provesItself(frame.type)) held.hold(frame)
        else {
          for (const good of frame.type === FRAME.proof ? held.proved(frame.payload) : [frame]) {
            const pending = onFrame(good)
            if (pending) await pending
          }
        }
      }
    }
    if (!end) throw new BackupError('PRIMARY_UNREACHABLE', `read ${path} from ${node.origin}: the answer was cut off`)
    return end
  }

  async #readBody(node: Node, answer: Answer, bytesMax: number): Promise<Buffer> {
    const chunks: Buffer[] = []
    let bytes = 0
    for await (const chunk of answer.parts(new Pace(node))) {
      bytes += chunk.byteLength
      if (bytes > bytesMax) throw broken(`a body of more than ${bytesMax} bytes`)
      chunks.push(chunk)
    }
    return Buffer.concat(chunks)
  }

  #expectProof(node: Node, { status, headers }: AnswerHead, nonce: string, body: Buffer | 'stream'): AuthKey {
    const key = provingKey(this.#keys, { nonce, status, body }, headers[PROOF_HEADER])
    if (key) return key
    throw new BackupError(
      'TOKEN_MISMATCH',
      `ask ${node.origin} (primary_url): it did not prove that it has our sync_token; is it the agent, and the same key?`,
    )
  }

  async #refusal(
    node: Node,
    { head: { status, headers }, answer }: { readonly head: AnswerHead; readonly answer: Answer },
    nonce: string,
  ): Promise<BackupError> {
    const body = await this.#readBody(node, answer, ERROR_BYTES_MAX)
    if (String(headers['content-type']).startsWith('application/json')) {
      const error = decodeRemoteError(body)
      // whoever refuses our token cannot prove it; anything else is believed only of somebody who can
      if (error.code === 'TOKEN_MISMATCH' || provingKey(this.#keys, { nonce, status, body }, headers[PROOF_HEADER]))
        return error
    }
    return new BackupError(
      'PRIMARY_UNREACHABLE',
      `ask ${node.origin} (primary_url): it answered ${status}; is this the address of seaf-backup-primary?`,
    )
  }
}

/** An agent of before there was such a question says that it does not know it. @throws BackupError PROTOCOL_VERSION */
async function ofNewAgents<T>(what: string, answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (error) {
    if (!(error instanceof BackupError) || error.details['code'] !== 'BAD_REQUEST') throw error
    const message = `ask for ${what}: the agent on the primary is older than this daemon and gives none`
    throw new BackupError('PROTOCOL_VERSION', message, {}, { cause: error })
  }
}

/** While a question was on its way or its answer not begun; not: nobody there, or nobody who answers in time. */
const CUT_OFF: ReadonlySet<string | undefined> = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'])
const wasCutOff = (cause: unknown): boolean => CUT_OFF.has(systemCode(cause))

const post = (path: string, body: Buffer, wait: LineWait | undefined): Question => ({
  method: 'POST',
  path,
  body,
  wait,
})

export const readCa = (file: string | null): string | null => (file === null ? null : readFileSync(file, 'utf8'))
