import { once } from 'node:events'
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { spawn } from 'node:child_process'
import t from 'tap'
import { startControlApi } from '../../../src/backup/control/control-api.js'
import { silentLog } from '../../../src/shared/log.js'
import {
  NOTES,
  PHOTOS,
  controlTarget,
  failure,
  library,
  progress,
  report,
  startControl,
} from '../../support/control.js'
import type { IncomingMessage } from 'node:http'
import type { SyncEvent } from '../../../src/shared/wire/control-messages.js'

const TWO = report([library(PHOTOS), library(NOTES, { state: 'failed', failure: failure() })])

interface Answer {
  readonly status: number | undefined
  readonly json: unknown
  readonly events: SyncEvent[]
}

async function ask(socketPath: string, method: string, path: string, body?: string | Buffer): Promise<Answer> {
  const request = httpRequest({ socketPath, method, path, agent: false })
  const answered = once(request, 'response') as Promise<[IncomingMessage]>
  request.end(body)
  const [response] = await answered
  const text = Buffer.concat(await response.toArray()).toString()
  const lines = text.split('\n').filter(line => line !== '')
  const json = lines.map(line => JSON.parse(line) as unknown)
  return { status: response.statusCode, json: json[0], events: json as SyncEvent[] }
}

const syncBody = (library: string | null, force = false) => JSON.stringify({ library, force })

t.test('control API: requests that are wrong are refused with a code, and the next one is answered', async t => {
  await using host = await startControl(controlTarget(TWO))
  const refused = async (method: string, path: string, body?: string | Buffer) => {
    const { status, json } = await ask(host.socketPath, method, path, body)
    return [status, (json as { code: string }).code]
  }

  t.strictSame(await refused('GET', '/v1/nothing'), [404, 'BAD_REQUEST'])
  t.strictSame(await refused('DELETE', '/v1/status'), [404, 'BAD_REQUEST'])
  t.strictSame(await refused('GET', '//'), [404, 'BAD_REQUEST'])
  t.strictSame(await refused('OPTIONS', '*'), [404, 'BAD_REQUEST'])
  t.strictSame(await refused('POST', '/v1/sync', 'not JSON'), [400, 'BAD_REQUEST'])
  t.strictSame(await refused('POST', '/v1/sync', syncBody('../..')), [400, 'BAD_REQUEST'])
  t.strictSame(await refused('POST', '/v1/sync', Buffer.alloc(64 * 1024 + 1, 0x20)), [413, 'BAD_REQUEST'])
  t.strictSame(await refused('POST', '/v1/sync', syncBody('ffff')), [404, 'LIBRARY_UNKNOWN'])
  t.equal((await ask(host.socketPath, 'GET', '/v1/status')).status, 200)
})

t.test('control API: an ambiguous prefix is refused with the libraries that it could be', async t => {
  await using host = await startControl(controlTarget(TWO))
  const { status, json } = await ask(host.socketPath, 'POST', '/v1/sync', syncBody('3f1c'))
  t.equal(status, 409)
  t.match(json, { code: 'LIBRARY_AMBIGUOUS', candidates: [PHOTOS, NOTES] })
})

t.test('control API: a defect of the daemon is answered as one, without its stack', async t => {
  const target = controlTarget(TWO, {
    status() {
      throw new Error('defect')
    },
  })
  await using host = await startControl(target)
  const { status, json } = await ask(host.socketPath, 'GET', '/v1/status')
  t.equal(status, 500)
  t.match(json, { code: 'INTERNAL', message: 'defect' })
  t.notMatch(JSON.stringify(json), 'control.test')
})

t.test('control API: status has each library only when asked for it', async t => {
  await using host = await startControl(controlTarget(TWO))
  t.notOk('libraries' in ((await ask(host.socketPath, 'GET', '/v1/status')).json as object))
  t.strictSame((await ask(host.socketPath, 'GET', '/v1/status?libraries=1')).json, JSON.parse(JSON.stringify(TWO)))
})

t.test('control API: a sync tells what it is about, how far it is, how it ended, and ends', async t => {
  const target = controlTarget(TWO, {
    async sync(id, { force }, onProgress) {
      for (let objects = 0; objects < 1_000; objects++) onProgress(progress({ objects }))
      return library(id, { holes: force ? 1 : 0 })
    },
  })
  await using host = await startControl(target)
  const { events } = await ask(host.socketPath, 'POST', '/v1/sync', syncBody(PHOTOS.slice(0, 9), true))

  t.match(events[0], { type: 'started', library: PHOTOS, libraries: 1 })
  const seen = events.filter(e => e.type === 'progress')
  t.ok(seen.length >= 1 && seen.length < 100, 'some progress, not all of it')
  t.match(events.at(-2), { type: 'library', library: { id: PHOTOS, holes: 1 } })
  t.match(events.at(-1), { type: 'end', synchronized: 1, failed: 0 })
})

t.test('control API: a sync of all libraries ends with those that failed', async t => {
  await using host = await startControl(controlTarget(TWO))
  const { events } = await ask(host.socketPath, 'POST', '/v1/sync', syncBody(null))
  t.match(events, [
    { type: 'started', library: null, libraries: 2 },
    { type: 'library', library: { id: NOTES, failure: { code: 'OBJECT_CORRUPT' } } },
    { type: 'end', synchronized: 1, failed: 1 },
  ])
})

t.test('control API: a sync that breaks after it began says so as its last event', async t => {
  const target = controlTarget(TWO, {
    async sync() {
      throw new Error('defect')
    },
  })
  await using host = await startControl(target)
  const { events } = await ask(host.socketPath, 'POST', '/v1/sync', syncBody(PHOTOS))
  t.match(events.at(-1), { type: 'error', error: { code: 'INTERNAL' } })
})

t.test('control API: a command that hangs up aborts its wait', async t => {
  const waiting = Promise.withResolvers<AbortSignal>()
  const target = controlTarget(TWO, {
    sync: (_id, _options, _onProgress, signal) => {
      waiting.resolve(signal)
      return untilAborted(signal)
    },
  })
  await using host = await startControl(target)
  const request = httpRequest({ socketPath: host.socketPath, method: 'POST', path: '/v1/sync', agent: false })
  request.on('error', () => {}) // it is we who break it off
  request.end(syncBody(PHOTOS))
  const signal = await waiting.promise
  request.destroy()

  if (!signal.aborted) await once(signal, 'abort')
  t.ok(signal.aborted)
})

t.test('control API: stopping ends a wait with STOPPING, and a body that never comes', async t => {
  const waiting = Promise.withResolvers<void>()
  const target = controlTarget(TWO, {
    sync: (_id, _options, _onProgress, signal) => {
      waiting.resolve()
      return untilAborted(signal)
    },
  })
  await using host = await startControl(target)
  const halfSaid = connect(host.socketPath)
  halfSaid.write('POST /v1/sync HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{')
  const halfSaidClosed = once(halfSaid.on('error', () => {}).resume(), 'close')
  const answer = ask(host.socketPath, 'POST', '/v1/sync', syncBody(PHOTOS))
  await waiting.promise
  await host.stop()

  t.match((await answer).events.at(-1), { type: 'error', error: { code: 'STOPPING' } })
  await halfSaidClosed
  t.strictSame(await readdir(host.stateDir), [], 'no socket is left')
})

t.test('control API: its socket is for its owner alone, and nothing else is left in the directory', async t => {
  await using host = await startControl(controlTarget(TWO))
  t.equal((await stat(host.socketPath)).mode & 0o777, 0o600)
  t.strictSame(await readdir(host.stateDir), ['control.sock'])
})

t.test('control API: the socket of a killed daemon is replaced, that of a running one is not', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'seaf-backup-socket-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const socketPath = join(dir, 'control.sock')
  const start = () => startControlApi({ socketPath, target: controlTarget(TWO), log: silentLog })

  const listen = `require('node:net').createServer().listen(${JSON.stringify(socketPath)}, () => process.kill(process.pid, 9))`
  await once(spawn(process.execPath, ['-e', listen]), 'exit')
  t.ok((await stat(socketPath)).isSocket())
  await using _first = await start()
  t.equal((await ask(socketPath, 'GET', '/v1/status')).status, 200)

  await t.rejects(start(), { code: 'ALREADY_RUNNING' })
  t.equal((await ask(socketPath, 'GET', '/v1/status')).status, 200, 'the first one goes on')
})

t.test('control API: a daemon that listens and does not answer is a running one', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'seaf-backup-socket-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const socketPath = join(dir, 'control.sock')
  const mute = createServer().listen(socketPath)
  await once(mute, 'listening')
  await t.rejects(startControlApi({ socketPath, target: controlTarget(TWO), log: silentLog }), {
    code: 'ALREADY_RUNNING',
  })
  mute.close()
})

t.test('control API: a path too long for a socket, and a directory that is none, are told apart', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'seaf-backup-socket-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const start = (socketPath: string) => startControlApi({ socketPath, target: controlTarget(TWO), log: silentLog })

  await t.rejects(start(join(dir, 'x'.repeat(100), 'control.sock')), { code: 'DIRECTORY_UNUSABLE', message: /--state/ })
  await t.rejects(start(join(dir, 'missing', 'control.sock')), { code: 'DIRECTORY_UNUSABLE', message: /ENOENT/ })
  await writeFile(join(dir, 'file'), '')
  await t.rejects(start(join(dir, 'file', 'control.sock')), { code: 'DIRECTORY_UNUSABLE' })
})

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
}
