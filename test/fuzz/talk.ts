/** Conversations that no honest peer has: with the agent's sync API, the backup's listener and its control socket. */

import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import { decodeSyncRequest } from '../../src/shared/wire/control-codec.js'
import { encodeObjectsRequest } from '../../src/shared/wire/sync-messages.js'
import { signedHeaders } from '../support/hostile-sockets.js'
import { syncRequest } from './control-decoders.js'
import { jsonCases } from './decoder.js'
import { byteActs, edited } from './mutate.js'
import { deltaRequest, event, objectsRequest } from './wire-decoders.js'
import type { Random } from '../kinds/random.js'
import type { RepoId } from '../../src/shared/ids.js'
import type { Tally } from './answers.js'

/** Where a daemon is to be spoken to. */
export type Address = { readonly port: number; readonly host: '127.0.0.1' } | { readonly path: string }

/** An answer may be a stream of everything: what comes after so much is not kept. */
const HEARD_BYTES_MAX = 256 * 1024
const PATIENCE_MS = 1_500
const POOL = 1_500

/** Sent piece by piece; whoever listens hangs up, or we do. */
export async function converse(address: Address, pieces: readonly Buffer[], random: Random): Promise<Buffer> {
  const heard: Buffer[] = []
  let bytes = 0
  const socket = connect(address)
  socket.on('error', () => {})
  const closed = new Promise<void>(resolve => socket.once('close', () => resolve()))
  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.byteLength
    if (bytes > HEARD_BYTES_MAX) return void socket.destroy()
    heard.push(chunk)
  })
  for (const piece of pieces) {
    if (socket.destroyed) break
    socket.write(piece)
    if (random.chance(0.1)) await delay(random.below(20))
  }
  if (random.chance(0.15)) socket.destroy()
  else if (random.chance(0.5)) socket.end()
  const patience = setTimeout(() => socket.destroy(), PATIENCE_MS)
  await closed
  clearTimeout(patience)
  return Buffer.concat(heard)
}

/** Inputs of the decoders, about libraries that are there. */
export interface Inputs {
  readonly event: readonly Buffer[]
  readonly delta: readonly Buffer[]
  readonly objects: readonly Buffer[]
  readonly sync: readonly Buffer[]
}

export function inputsFor(repos: readonly RepoId[], seed: number): Inputs {
  const one = fc.constantFrom(...repos)
  const about = <T extends object>(some: fc.Arbitrary<T>, key: string) =>
    fc
      .tuple(some, one, fc.boolean())
      .map(([value, repo, known]) => (known && key in value ? { ...value, [key]: repo } : value))
  const pool = (some: fc.Arbitrary<{ input: Buffer }>) =>
    fc.sample(some, { seed, numRuns: POOL }).map(({ input }) => input)
  const objects = fc
    .tuple(objectsRequest, one)
    .map(([value, repo]) => ({ input: encodeObjectsRequest({ ...value, repo }) }))
  return {
    event: pool(jsonCases(about(event, 'repo'))),
    delta: pool(jsonCases(about(deltaRequest, 'repo'))),
    objects: pool(objects),
    // a person who forces accepts what is lost: with a primary that lies, that is no check of anything
    sync: pool(jsonCases(about(syncRequest, 'library'))).filter(input => !isForced(input)),
  }
}

function isForced(input: Buffer): boolean {
  try {
    return decodeSyncRequest(input).force
  } catch {
    return false
  }
}

const METHODS = ['GET', 'POST', 'PUT', 'HEAD', 'OPTIONS', 'DELETE', 'PATCH', 'CONNECT', 'TRACE', 'BREW', 'get', '']
const PATHS = [
  '/v1/listing',
  '/v1/delta',
  '/v1/objects',
  '/v1/dump',
  '/v1/binlog',
  '/v1/events',
  '/v1/status',
  '/v1/sync',
  '/v1/log?limit=',
  '/',
  '*',
  '//',
  '/../x',
  '/%',
  'http://[',
  '/v1/log?library=%ff&limit=9e9',
]
const HEADERS = [
  'connection: close',
  'connection: upgrade\r\nupgrade: websocket',
  'connection: upgrade\r\nupgrade: h2c',
  'transfer-encoding: chunked',
  'transfer-encoding: gzip, chunked',
  'content-length: -1',
  'content-length: 5\r\ncontent-length: 6',
  'content-length: 99999999999999999999',
  'content-length: 300000',
  'expect: 100-continue',
  'expect: the unexpected',
  'authorization: SEAF-BACKUP-HMAC time=1,nonce=,mac=',
  'authorization: Basic eDp5',
  'x-seaf-backup-protocol: 1',
  'x-seaf-backup-packing: none',
  'sec-websocket-version: 99',
  'sec-websocket-key: x',
  'host: y',
  'x-odd: \u0001\u0002',
  ' folded: x',
  'no-colon',
]

function anyHeader(random: Random): string {
  if (random.chance(0.03)) return `x-long: ${'a'.repeat(random.below(40_000))}`
  return random.pick(HEADERS) ?? ''
}

/** A request as text, with what is odd about it chosen by chance. */
export function anyRequest(random: Random, body = random.bytes(random.below(200))): Buffer {
  const lines = [`${random.pick(METHODS)} ${random.pick(PATHS)} HTTP/${random.chance(0.95) ? '1.1' : '1.9'}`]
  if (random.chance(0.9)) lines.push('host: x')
  for (let n = random.below(4); n > 0; n--) lines.push(anyHeader(random))
  if (random.chance(0.4)) lines.push(`content-length: ${body.byteLength}`)
  const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`)
  return changed(Buffer.concat([head, body]), random, 0.3)
}

/** Signed as who has the token signs it. */
export function signedRequest(method: string, path: string, body: Buffer, random: Random): Buffer {
  const headers = { host: 'x', ...signedHeaders(method, path, body), 'content-length': String(body.byteLength) }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  if (random.chance(0.5)) lines.push('connection: close')
  return Buffer.concat([Buffer.from([`${method} ${path} HTTP/1.1`, ...lines, '', ''].join('\r\n')), body])
}

export function changed(bytes: Buffer, random: Random, chance: number): Buffer {
  let result = bytes
  while (random.chance(chance))
    result = edited(result, {
      act: random.pick(byteActs) ?? 'flip',
      at: random.below(Math.max(1, result.byteLength)),
      size: 1 + random.below(40),
      byte: random.below(256),
    })
  return result
}

export interface Speaker {
  readonly name: string
  /** One case. */
  speak(random: Random, tally: Tally): Promise<void>
}

const picked = (from: readonly Buffer[], random: Random): Buffer => random.pick(from) ?? Buffer.alloc(0)

/** As pieces: one, or cut in some places. */
function pieces(bytes: Buffer, random: Random): Buffer[] {
  if (random.chance(0.7)) return [bytes]
  const at = random.below(bytes.byteLength + 1)
  return [bytes.subarray(0, at), bytes.subarray(at)]
}

/** HTTP to any of the three: nonsense, and requests in a row. */
export const stranger = (who: string, address: Address): Speaker => ({
  name: `${who}: strange HTTP`,
  async speak(random, tally) {
    const requests = Array.from({ length: 1 + (random.chance(0.2) ? random.below(5) : 0) }, () => anyRequest(random))
    const asked = Buffer.concat(requests)
    tally.heard(who, await converse(address, pieces(asked, random), random), asked)
  },
})

/** Requests to the agent that prove the token, and ask for anything. */
export const signedAsker = (address: Address, inputs: Inputs): Speaker => ({
  name: 'agent: signed requests',
  async speak(random, tally) {
    const request = () => {
      const path = random.pick(['/v1/listing', '/v1/delta', '/v1/objects', '/v1/nothing']) ?? ''
      const method = path === '/v1/listing' ? 'GET' : 'POST'
      const from = path === '/v1/delta' ? inputs.delta : inputs.objects
      const body = method === 'GET' ? Buffer.alloc(0) : picked(from, random)
      const odd = path === '/v1/objects' && random.chance(0.5) ? changed(body, random, 0.6) : body
      return changed(signedRequest(method, path, odd, random), random, 0.05)
    }
    const asked = Buffer.concat(Array.from({ length: 1 + (random.chance(0.2) ? random.below(4) : 0) }, request))
    tally.heard('agent', await converse(address, pieces(asked, random), random), asked)
  },
})

/** The command's requests, whole and spoilt. */
export const commander = (address: Address, inputs: Inputs): Speaker => ({
  name: 'control: requests',
  async speak(random, tally) {
    const body = picked(inputs.sync, random)
    const path = random.pick([
      '/v1/sync',
      '/v1/sync',
      '/v1/status',
      '/v1/status?libraries=1',
      '/v1/log?library=0',
      '/v1/x',
    ])
    const head = `${path === '/v1/sync' ? 'POST' : 'GET'} ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.byteLength}\r\n\r\n`
    const asked = changed(Buffer.concat([Buffer.from(head), body]), random, 0.1)
    tally.heard('control', await converse(address, pieces(asked, random), random), asked)
  },
})
