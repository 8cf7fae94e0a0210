/** How the backup reads an answer: frames in whatever the socket brings, in memory that is given back; and when it hangs up. */

import { createServer } from 'node:http'
import { once } from 'node:events'
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import { Agent } from 'undici'
import { Answer, Pace, frameReader } from '../../../src/backup/sync/answer.js'
import { ID_BYTES } from '../../../src/shared/ids.js'
import { packed } from '../../../src/shared/wire/chunks.js'
import { FRAME, frameHeader } from '../../../src/shared/wire/frames.js'
import { plainChunk } from '../../shared/wire/support.js'
import type { ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import type { Frame, FrameType } from '../../../src/shared/wire/frames.js'

const encoded = (type: FrameType, payload: Buffer) => Buffer.concat([frameHeader(type, payload.byteLength), payload])

/** As a socket gives it: each part in memory of its own, which nobody else uses. */
function received(bytes: Buffer, size: number): Buffer[] {
  const parts: Buffer[] = []
  for (let at = 0; at < bytes.byteLength; at += size) {
    const part = Buffer.allocUnsafeSlow(Math.min(size, bytes.byteLength - at))
    bytes.copy(part, 0, at)
    parts.push(part)
  }
  return parts
}

/** Payloads as they were given, those in parts joined again. */
function readAll(parts: readonly Buffer[]): { type: number; payload: Buffer }[] {
  const frames: { type: number; payload: Buffer; left: number }[] = []
  const framesIn = frameReader()
  for (const part of parts) {
    for (const { type, payload, partOf } of framesIn(part)) {
      const last = frames.at(-1)
      if (partOf !== undefined && last && last.left > 0) {
        last.payload = Buffer.concat([last.payload, payload])
        last.left -= payload.byteLength
      } else {
        const left = partOf === undefined ? 0 : partOf - payload.byteLength
        frames.push({ type, payload: Buffer.from(payload), left })
      }
    }
  }
  return frames.map(({ type, payload }) => ({ type, payload }))
}

const kinds = fc.constantFrom(FRAME.block, FRAME.fs, FRAME.commit)
const payload = fc.oneof(
  fc.nat(60),
  fc.integer({ min: 8_000, max: 9_000 }),
  fc.integer({ min: 524_288 + ID_BYTES, max: 1_500_000 }),
)

t.test('answer: plain and packed chunks, small frames and large, cut anywhere: nothing is lost', async t => {
  const piece = fc.tuple(kinds, payload, fc.boolean())
  const sizes = fc.constantFrom(65_536, 20_000, 9_001, 1_000_000)
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 6 }), sizes, (pieces, size) => {
      const sent = pieces.map(([type, bytes]) => ({ type, payload: randomBytes(bytes) }))
      const stream = sent.flatMap((frame, i) => chunked(encoded(frame.type, frame.payload), pieces[i]?.[2] ?? false))
      const got = readAll(received(Buffer.concat(stream), size))
      return got.length === sent.length && got.every((frame, i) => frame.payload.equals(sent[i]?.payload as Buffer))
    }),
    { numRuns: 120 },
  )
  t.pass()
})

/** In chunks as the agent makes them. */
function chunked(bytes: Buffer, isPacked: boolean): Buffer[] {
  const chunks: Buffer[] = []
  for (let at = 0; at < bytes.byteLength; at += 200_000) {
    const plain = plainChunk(bytes.subarray(at, at + 200_000))
    chunks.push(isPacked ? packed(plain) : plain)
  }
  return chunks
}

t.test('answer: a large block comes as its id and then its bytes, and its memory is given back', async t => {
  const sent = Buffer.concat([
    encoded(FRAME.trees, Buffer.alloc(0)),
    encoded(FRAME.block, Buffer.alloc(1_000_000, 7)),
    encoded(FRAME.trees, Buffer.alloc(0)),
  ])
  const parts = received(plainChunk(sent), 65_536)
  const memory = parts.map(part => part.buffer)
  const framesIn = frameReader()
  const seen: Frame[] = parts.flatMap(part =>
    [...framesIn(part)].map(frame => ({ ...frame, payload: Buffer.from(frame.payload) })),
  )
  const [begin, id] = seen
  t.equal(begin?.type, FRAME.trees)
  t.match(id, { type: FRAME.block, partOf: 1_000_000 })
  t.equal(id?.payload.byteLength, ID_BYTES)
  t.equal(seen.at(-1)?.type, FRAME.trees)
  const bytes = seen.slice(1, -1).reduce((sum, frame) => sum + frame.payload.byteLength, 0)
  t.equal(bytes, 1_000_000)
  t.equal(memory.filter(one => one.byteLength > 0).length, 1, 'all but what came last')
})

interface Served {
  readonly response: ServerResponse
  readonly closed: Promise<unknown>
}

async function asked(t: Test, serve: (served: Served) => void, signal = new AbortController().signal) {
  const server = createServer((_request, response) => {
    serve({ response, closed: once(response, 'close') })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const agent = new Agent({ connections: 1 })
  t.teardown(async () => {
    await agent.destroy()
    server.closeAllConnections()
    server.close()
  })
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const node = { origin, prefix: '' }
  const answer = new Answer(node, signal)
  agent.dispatch({ origin, path: '/', method: 'GET' }, answer)
  return { answer, pace: new Pace(node) }
}

t.test('answer: one that breaks in the middle is the primary not being reachable', async t => {
  const { answer, pace } = await asked(t, ({ response }) => {
    response.writeHead(200)
    response.write('half')
    setTimeout(() => response.destroy(), 50)
  })
  t.equal((await answer.head()).status, 200)
  const got: string[] = []
  const reading = (async () => {
    for await (const part of answer.parts(pace)) got.push(part.toString())
  })()
  await t.rejects(reading, { code: 'PRIMARY_UNREACHABLE' })
  t.equal(got.join(''), 'half')
})

t.test('answer: a primary that never answers is let go when the reader is called off', async t => {
  const called = new AbortController()
  const served = Promise.withResolvers<Served>()
  const { answer } = await asked(t, one => served.resolve(one), called.signal)
  const { closed } = await served.promise
  called.abort(new Error('the daemon is stopping'))
  await t.rejects(answer.head(), { message: 'the daemon is stopping' })
  await closed
})

t.test('answer: a question that has no connection yet is let go at once when its asker is called off', async t => {
  const node = { origin: 'http://127.0.0.1:1', prefix: '' }
  const neverConnects = new Agent({ connections: 1, connect: () => {} })
  t.teardown(() => neverConnects.destroy())
  for (const when of ['connecting', 'queued', 'before it is asked'] as const) {
    const called = new AbortController()
    if (when === 'before it is asked') called.abort(new Error('the daemon is stopping'))
    const answer = new Answer(node, called.signal)
    neverConnects.dispatch({ origin: node.origin, path: '/', method: 'GET' }, answer)
    called.abort(new Error('the daemon is stopping'))
    await t.rejects(answer.head(), { message: 'the daemon is stopping' }, when)
    await t.rejects(answer.parts(new Pace(node)).next(), { message: 'the daemon is stopping' }, when)
  }
})

t.test('answer: whoever stops early hangs up, read from or not', async t => {
  for (const stop of ['reading', 'before reading'] as const) {
    const served = Promise.withResolvers<Served>()
    const { answer, pace } = await asked(t, one => {
      one.response.writeHead(200)
      one.response.write('some')
      served.resolve(one)
    })
    await answer.head()
    if (stop === 'before reading') answer.hangUp()
    else for await (const _ of answer.parts(pace)) break
    await (
      await served.promise
    ).closed
    t.pass(stop)
  }
})

t.test('answer: of a primary that sends more than is read, little waits here', async t => {
  let written = 0
  const { answer, pace } = await asked(t, ({ response }) => {
    response.writeHead(200)
    const fill = () => {
      while (response.writable && written < 200e6) {
        written += 65_536
        if (!response.write(Buffer.alloc(65_536))) return void response.once('drain', fill)
      }
      response.end()
    }
    fill()
  })
  await answer.head()
  const before = process.memoryUsage().arrayBuffers
  let read = 0
  for await (const part of answer.parts(pace)) {
    if (read === 0) await delay(300)
    read += part.byteLength
    if (process.memoryUsage().arrayBuffers - before > 100e6) t.fail('it all waits here')
    if (read > 100e6) break
  }
  t.ok(read > 100e6)
})
