/** A primary that has the token and lies: it signs as the real one does, and sends whatever a test makes up. */

import { createServer } from 'node:http'
import { once } from 'node:events'
import { PROOF_HEADER, RequestGuard, answerProof, authKey } from '../../src/shared/wire/auth.js'
import { FRAME, encodeAbsent, frameHeader, provesItself } from '../../src/shared/wire/frames.js'
import { StreamSeal } from '../../src/shared/wire/stream-seal.js'
import { decodeObjectsRequest, encodeListing } from '../../src/shared/wire/sync-messages.js'
import { plainChunk } from '../shared/wire/support.js'
import { TOKEN } from './pair.js'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { CommitId, RepoId } from '../../src/shared/ids.js'
import type { LibraryListing, LibraryRows } from '../../src/shared/catalog/catalog.js'
import type { ProvenRequest } from '../../src/shared/wire/auth.js'
import type { FrameType } from '../../src/shared/wire/frames.js'
import type { WantedObject } from '../../src/shared/wire/sync-messages.js'

export const DIGEST = 'ab'.repeat(8)

/** A stream of frames, as large as is wished: it waits for its reader. */
export class Answer {
  readonly #seal: StreamSeal

  constructor(
    private readonly response: ServerResponse,
    { key, nonce }: ProvenRequest,
  ) {
    this.#seal = new StreamSeal(key, nonce)
    response.writeHead(200, { [PROOF_HEADER]: answerProof(key, { nonce, status: 200, body: 'stream' }) })
  }

  get open(): boolean {
    return !this.response.destroyed
  }

  async frame(type: FrameType, payload: Buffer = Buffer.alloc(0)): Promise<void> {
    await this.raw(this.said(type, payload))
    if (!provesItself(type)) await this.raw(this.proof())
  }

  /** A frame that is not sent yet; what does not prove itself waits for `proof`. */
  said(type: FrameType, payload: Buffer = Buffer.alloc(0)): Buffer {
    const header = frameHeader(type, payload.byteLength)
    if (!provesItself(type)) this.#seal.add(header, payload)
    return Buffer.concat([header, payload])
  }

  /** The PROOF of what was said since the last one. */
  proof(): Buffer {
    return this.#seal.proof()
  }

  /** Bytes of the stream, in a chunk of their own. */
  raw(bytes: Buffer): Promise<void> {
    return this.chunk(plainChunk(bytes))
  }

  async chunk(bytes: Buffer): Promise<void> {
    if (this.response.write(bytes) || !this.open) return
    const closed = new AbortController()
    const close = () => closed.abort()
    this.response.once('close', close)
    await once(this.response, 'drain', { signal: closed.signal }).catch(() => {})
    this.response.off('close', close)
  }

  object(type: FrameType, id: string, bytes: Buffer): Promise<void> {
    return this.frame(type, Buffer.concat([Buffer.from(id, 'hex'), bytes]))
  }

  absent(wanted: WantedObject): Promise<void> {
    return this.frame(FRAME.absent, encodeAbsent({ ...wanted, problem: 'missing', reason: 'made up' }))
  }

  library(rows: object, more: object = {}): Promise<void> {
    const frame = { rows, digest: DIGEST, truncateTime: -1, gcId: null, base: null, ...more }
    return this.frame(FRAME.library, Buffer.from(JSON.stringify(frame)))
  }

  /** The line breaks. */
  cut(): void {
    this.response.destroy()
  }

  async end(): Promise<void> {
    await this.frame(FRAME.end, Buffer.from(JSON.stringify({ mac: this.#seal.end(false), changed: false })))
    this.response.end()
  }
}

export interface Lie {
  readonly head: string
  delta(answer: Answer): Promise<void>
  /** Asked by name; default: nothing is to be had. */
  objects?(answer: Answer, wanted: readonly WantedObject[]): Promise<void>
}

export const rowsOf = (repo: RepoId, head: string): LibraryRows => ({
  repo,
  head: head as CommitId,
  branchName: 'master',
  virtual: null,
  owner: 'jo@example.com',
  info: {
    name: 'Made up',
    updateTime: 1,
    version: 1,
    isEncrypted: 0,
    lastModifier: 'jo@example.com',
    status: 0,
    type: null,
  },
  size: null,
  fileCount: null,
  historyLimitDays: null,
  validSince: null,
})

/** What an agent of before there was such a question says. */
const UNKNOWN_QUESTION = Buffer.from(JSON.stringify({ code: 'BAD_REQUEST', message: 'there is no such path' }))

export class FakePrimary implements AsyncDisposable {
  readonly #guard = new RequestGuard(authKey(TOKEN))
  readonly #server: Server
  readonly lies = new Map<RepoId, Lie>()
  /** Listed besides the libraries that are lied about. */
  more: readonly LibraryListing[] = []
  /** Of each path, how often it was asked for. */
  readonly asked = new Map<string, number>()
  /** Answers to deltas that prove nothing. */
  unproved: { status: number; body: object } | undefined
  /** Connections that end when a question comes: those that had one before, as if they had idled for too long, or all. */
  cuts: 'none' | 'used' | 'all' = 'none'
  readonly #used = new WeakSet<object>()

  private constructor() {
    this.#server = createServer((request, response) => {
      response.on('error', () => {})
      this.#answer(request, response).catch(() => response.destroy())
    })
  }

  static async start(): Promise<FakePrimary> {
    const fake = new FakePrimary()
    fake.#server.listen(0, '127.0.0.1')
    await once(fake.#server, 'listening')
    return fake
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise(resolve => this.#server.close(resolve))
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    const body = Buffer.concat(chunks)
    const { method = '', url: path = '', headers, socket } = request
    const isCut = this.cuts === 'all' || (this.cuts === 'used' && this.#used.has(socket))
    this.#used.add(socket)
    if (isCut) {
      this.asked.set('cut', (this.asked.get('cut') ?? 0) + 1)
      return void response.destroy()
    }
    const proven = this.#guard.prove({ method, path, body, header: headers.authorization })
    this.asked.set(path, (this.asked.get(path) ?? 0) + 1)
    switch (path) {
      case '/v1/listing':
        return this.#whole(response, proven, 200, this.#listing())
      case '/v1/delta':
        return this.#delta(response, proven, JSON.parse(body.toString()) as { repo: RepoId })
      case '/v1/dump':
      case '/v1/binlog':
      case '/v1/counts':
        return this.#whole(response, proven, 404, UNKNOWN_QUESTION)
      default: {
        const { repo, objects } = decodeObjectsRequest(body)
        const answer = new Answer(response, proven)
        const lie = this.lies.get(repo)?.objects
        if (lie) await lie(answer, objects)
        else for (const wanted of objects) await answer.absent(wanted)
        return answer.end()
      }
    }
  }

  async #delta(response: ServerResponse, proven: ProvenRequest, { repo }: { repo: RepoId }): Promise<void> {
    if (this.unproved) {
      response.writeHead(this.unproved.status, { 'content-type': 'application/json' })
      return void response.end(JSON.stringify(this.unproved.body))
    }
    const lie = this.lies.get(repo)
    if (lie) return lie.delta(new Answer(response, proven))
    const gone = Buffer.from(JSON.stringify({ code: 'LIBRARY_GONE', message: 'made up' }))
    return this.#whole(response, proven, 404, gone)
  }

  #listing(): Buffer {
    const lies = [...this.lies].map(([repo, { head }]) => ({ repo, head: head as CommitId, digest: DIGEST }))
    return encodeListing([...lies, ...this.more])
  }

  #whole(response: ServerResponse, { key, nonce }: ProvenRequest, status: number, body: Buffer): void {
    response.writeHead(status, {
      'content-type': status === 200 ? 'application/octet-stream' : 'application/json',
      [PROOF_HEADER]: answerProof(key, { nonce, status, body }),
    })
    response.end(body)
  }
}
