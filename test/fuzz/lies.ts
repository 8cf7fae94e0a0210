/** Between a real agent and a real backup: a line that spoils bytes, and a primary with the token that spoils frames. */

import { createServer } from 'node:http'
import { once } from 'node:events'
import { Transform } from 'node:stream'
import { PrimaryClient } from '../../src/backup/sync/primary-client.js'
import { PROOF_HEADER, RequestGuard, answerProof, authKey } from '../../src/shared/wire/auth.js'
import { FRAME, encodeAbsent, frameId } from '../../src/shared/wire/frames.js'
import { decodeDeltaRequest, decodeObjectsRequest, encodeListing } from '../../src/shared/wire/sync-messages.js'
import { Answer } from '../support/fake-primary.js'
import { TOKEN, never } from '../support/pair.js'
import { changed } from './talk.js'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Frame, FrameType } from '../../src/shared/wire/frames.js'
import type { Random } from '../kinds/random.js'
import type { Tally } from './answers.js'

/** Of chunks, the share that is spoilt. */
const SPOILT_CHUNKS = 0.15

/** For `Relay.roughness`: of whatever passes while `on`, some is flipped, cut, doubled or put in. */
export class SpoilingLine {
  on = false

  constructor(
    private readonly what: string,
    private readonly random: Random,
    private readonly tally: Tally,
  ) {}

  through(): Transform {
    const spoil = (chunk: Buffer) => this.#spoil(chunk)
    return new Transform({
      transform(chunk: Buffer, _encoding, done) {
        done(null, spoil(chunk))
      },
    })
  }

  #spoil(chunk: Buffer): Buffer {
    if (!this.on || !this.random.chance(SPOILT_CHUNKS)) return chunk
    this.tally.count(`line: chunks of ${this.what} spoilt`)
    return changed(changed(chunk, this.random, 0.5), this.random, 0.9)
  }
}

const LIES = { honest: 8, drop: 2, twice: 2, swap: 2, payload: 5, type: 2, absent: 2, stranger: 1, cut: 1 } as const

/** Asks the real agent, and says something else under a right proof. Commits are left: a backup takes them at their word. */
export class LyingPrimary implements AsyncDisposable {
  readonly #guard = new RequestGuard(authKey(TOKEN))
  readonly #server: Server
  readonly #client: PrimaryClient
  #last: Frame | undefined

  private constructor(
    agentPort: number,
    private readonly random: Random,
    private readonly tally: Tally,
  ) {
    this.#client = new PrimaryClient({ urls: [`http://127.0.0.1:${agentPort}`], syncTokens: [TOKEN], ca: null })
    this.#server = createServer((request, response) => {
      response.on('error', () => {})
      this.#answer(request, response).catch(() => response.destroy())
    })
  }

  static async start(agentPort: number, random: Random, tally: Tally): Promise<LyingPrimary> {
    const liar = new LyingPrimary(agentPort, random, tally)
    liar.#server.listen(0, '127.0.0.1')
    await once(liar.#server, 'listening')
    return liar
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]()
    this.#server.closeAllConnections()
    await new Promise(resolve => this.#server.close(resolve))
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    const body = Buffer.concat(chunks)
    const { method = '', url: path = '', headers } = request
    const proven = this.#guard.prove({ method, path, body, header: headers.authorization })
    if (path === '/v1/listing') {
      const listing = encodeListing([...(await this.#client.listing(never))])
      const proof = answerProof(proven.key, { nonce: proven.nonce, status: 200, body: listing })
      response.writeHead(200, { [PROOF_HEADER]: proof })
      return void response.end(listing)
    }
    const frames = await this.#framesOf(path, body)
    const answer = new Answer(response, proven)
    const lie = this.random.weighted(LIES)
    this.tally.count(`lying primary: ${lie}`)
    for (const { type, payload } of this.#spoilt(frames, lie)) await answer.frame(type, payload)
    if (lie === 'cut') response.destroy()
    else await answer.end()
  }

  async #framesOf(path: string, body: Buffer): Promise<Frame[]> {
    const frames: Frame[] = []
    const keep = ({ type, payload }: Frame) => void frames.push({ type, payload: Buffer.from(payload) })
    if (path === '/v1/delta') await this.#client.source().delta(decodeDeltaRequest(body), keep, never)
    else await this.#client.source().objects(decodeObjectsRequest(body), keep, never)
    return frames
  }

  #spoilt(frames: readonly Frame[], lie: keyof typeof LIES): Frame[] {
    const [other, at] = [this.#last, this.#place(frames, lie)]
    const chosen = frames[at]
    if (!chosen) return [...frames]
    if (chosen.type === FRAME.fs || chosen.type === FRAME.block) this.#last = chosen
    const inPlace = (...some: readonly Frame[]) => frames.toSpliced(at, 1, ...some)
    switch (lie) {
      case 'honest':
        return [...frames]
      case 'drop':
        return inPlace()
      case 'twice':
        return inPlace(chosen, chosen)
      case 'swap':
        return [...frames.slice(at), ...frames.slice(0, at)]
      case 'payload':
        if (chosen.type === FRAME.commit) return [...frames]
        return inPlace({ ...chosen, payload: changed(changed(chosen.payload, this.random, 0.5), this.random, 0.9) })
      case 'type':
        return inPlace({ ...chosen, type: this.#anyType() })
      case 'absent':
        return inPlace(this.#absent(chosen) ?? chosen)
      case 'stranger':
        return other ? inPlace(other, chosen) : [...frames]
      case 'cut':
        return frames.slice(0, at)
    }
  }

  /** Of contents, those that have a name to be held against most often. */
  #place(frames: readonly Frame[], lie: keyof typeof LIES): number {
    const wanted = this.random.chance(0.5) ? FRAME.fs : FRAME.block
    const named = frames.flatMap(({ type }, at) => (type === wanted ? [at] : []))
    const chosen = lie === 'payload' && this.random.chance(0.8) ? this.random.pick(named) : undefined
    return chosen ?? this.random.below(Math.max(1, frames.length))
  }

  #anyType(): FrameType {
    const types = Object.values(FRAME).filter(type => type !== FRAME.commit && type !== FRAME.end)
    return this.random.pick(types) ?? FRAME.alive
  }

  #absent({ type, payload }: Frame): Frame | undefined {
    const kind = { [FRAME.commit]: 'commits', [FRAME.fs]: 'fs', [FRAME.block]: 'blocks' } as const
    const named = type === FRAME.commit || type === FRAME.fs || type === FRAME.block ? kind[type] : undefined
    if (!named) return undefined
    const problem = this.random.pick(['missing', 'corrupt', 'unreadable'] as const) ?? 'missing'
    return {
      type: FRAME.absent,
      payload: encodeAbsent({ kind: named, id: frameId(payload), problem, reason: 'a lie' }),
    }
  }
}
