/** A dump in a thread of its own: what ends it ends the thread, and leaves nothing. */

import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { DumpStore } from '../../../src/backup/dumps/dump-store.js'
import { takeApart } from '../../../src/backup/dumps/take-apart.js'
import { never } from '../../support/pair.js'
import type { AddressInfo, Socket } from 'node:net'
import type { Test } from 'tap'

async function room(t: Test) {
  const dir = await mkdtemp(join(tmpdir(), 'seaf-backup-apart-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const store = new DumpStore(dir)
  store.prepare()
  const take = (port: number) => {
    const primary = { urls: [`http://127.0.0.1:${port}`], syncTokens: ['a'.repeat(40)], ca: null }
    return takeApart(primary, dir)
  }
  return { take, left: () => readdir(store.dir) }
}

t.test('taking apart: given up while the primary says nothing, it rejects with that and leaves nothing', async t => {
  const { take, left } = await room(t)
  const asked = Promise.withResolvers<Socket>()
  const server = createServer(socket => socket.once('data', () => asked.resolve(socket)))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const stopping = new AbortController()

  const taking = take((server.address() as AddressInfo).port)('manual', () => {}, stopping.signal)
  const socket = await asked.promise
  const hungUp = new Promise(resolve => socket.once('close', resolve))
  t.match(await left(), [/^\.incoming-/, /^\.reading-/])
  const why = new DOMException('the daemon stops', 'AbortError')
  stopping.abort(why)

  await t.rejects(taking, why)
  t.strictSame(await left(), [])
  await hungUp
})

t.test('taking apart: before it has begun nothing is begun', async t => {
  const { take, left } = await room(t)
  await t.rejects(
    take(1)('manual', () => {}, AbortSignal.abort()),
    { name: 'AbortError' },
  )
  t.strictSame(await left(), [])
})

t.test('taking apart: why the thread has none is why there is none', async t => {
  const { take, left } = await room(t)
  await t.rejects(
    take(1)('manual', () => {}, never),
    { code: 'PRIMARY_UNREACHABLE', message: /ask http:.*:1/ },
  )
  t.strictSame(await left(), [])
})
