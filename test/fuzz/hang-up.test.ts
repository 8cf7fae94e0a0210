/** Clients with the token that hang up while they are answered: each leaves its place among the agent's streams to others. */

import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { encodeObjectsRequest } from '../../src/shared/wire/sync-messages.js'
import { Random } from '../kinds/random.js'
import { HostileSocket, signedHeaders } from '../support/hostile-sockets.js'
import { Pair } from '../support/pair.js'
import { RawObjects } from '../support/raw-objects.js'
import { portOf } from './protocol-run.js'
import { signedRequest } from './talk.js'
import type { Test } from 'tap'

/** More than the agent has streams. */
const CLIENTS = 150
const ANSWER_MS_MAX = 60_000

async function stage() {
  const pair = await Pair.start()
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'Large', owner: 'jo@example.com' })
  for (let n = 0; n < 4; n++)
    await writer.commit(repo, [{ op: 'put', path: `/${n}.bin`, content: randomBytes(1024 * 1024) }])
  await pair.settle()
  const objects = new RawObjects(pair.primary.dataDir).list('blocks', repo).map(id => ({ kind: 'blocks' as const, id }))
  const body = encodeObjectsRequest({ repo, objects: [...objects, ...objects, ...objects] })
  return { pair, body, port: await portOf(pair, 'primary') }
}

async function expectAnswered(t: Test, port: number, body: Buffer): Promise<void> {
  const headers = signedHeaders('POST', '/v1/objects', body)
  const signal = AbortSignal.timeout(ANSWER_MS_MAX)
  const bytes = await fetch(`http://127.0.0.1:${port}/v1/objects`, {
    method: 'POST',
    headers,
    body: new Uint8Array(body),
    signal,
  })
    .then(response => response.arrayBuffer())
    .then(answer => answer.byteLength, String)
  t.ok(Number(bytes) > 1024 * 1024, `the next one is answered: ${bytes} bytes`)
}

t.test('hang-up: clients that go at any moment of an answer leave the agent able to answer', async t => {
  const { pair, body, port } = await stage()
  await using _ = pair
  const random = new Random(1)
  for (let n = 0; n < CLIENTS; n++) {
    using socket = new HostileSocket(port, { reads: random.chance(0.5) })
    socket.say(signedRequest('POST', '/v1/objects', body, random))
    await delay(random.below(25))
  }
  await expectAnswered(t, port, body)
})

t.test('hang-up: requests that wait behind another on a connection that ends are given up with it', async t => {
  const { pair, body, port } = await stage()
  await using _ = pair
  const random = new Random(2)
  for (let n = 0; n < CLIENTS / 2; n++) {
    using socket = new HostileSocket(port, { reads: false })
    for (let queued = 0; queued < 3; queued++) socket.say(signedRequest('POST', '/v1/objects', body, random))
    await delay(5 + random.below(25))
  }
  await expectAnswered(t, port, body)
})
