/** What somebody who can only connect can do: nothing that others would notice. And what is said of a certificate that is not right. */

import { execFile, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import t from 'tap'
import { WebSocket } from 'ws'
import { parseRepoId } from '../../src/shared/ids.js'
import { SEAL_BYTES } from '../../src/shared/wire/auth.js'
import { EVENT_BYTES_MAX, encodeObjectsRequest } from '../../src/shared/wire/sync-messages.js'
import { HostileSocket, residentMb, signedHeaders } from '../support/hostile-sockets.js'
import { Pair } from '../support/pair.js'
import { RawObjects } from '../support/raw-objects.js'
import type { Test } from 'tap'

const run = promisify(execFile)
const noOpenssl = spawnSync('openssl', ['version']).status !== 0 && 'openssl is not installed'
const GROWTH_MB_MAX = 100
/** Of each of the twenty the block that is being sent and the next, 8 MB each, and what was collected of others. */
const UNREAD_MB_MAX = 450
/** The listener's own deadlines (headers 10 s, request 30 s), and what a loaded machine adds. */
const HEADERS_S_MAX = 20
const REQUEST_S_MAX = 45
const AT_ONCE_S_MAX = 8

async function certificates(t: Test) {
  const dir = await mkdtemp(join(tmpdir(), 'sbp-tls-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const openssl = (args: string) => run('openssl', args.split(' '), { cwd: dir })
  const path = (name: string) => join(dir, name)
  for (const ca of ['ca', 'other-ca'])
    await openssl(`req -x509 -newkey rsa:2048 -nodes -keyout ${ca}.key -out ${ca}.pem -days 9 -subj /CN=${ca}`)
  /** Signed by `ca`; valid from two days ago. */
  const issue = async (name: string, host: string, days: number) => {
    await openssl(`req -newkey rsa:2048 -nodes -keyout ${name}.key -out ${name}.csr -subj /CN=${host}`)
    await writeFile(path(`${name}.ext`), `subjectAltName=DNS:${host}\n`)
    await openssl(
      `x509 -req -in ${name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days ${days} -extfile ${name}.ext -out ${name}.pem`,
    )
    return { cert: path(`${name}.pem`), key: path(`${name}.key`) }
  }
  return { issue, ca: path('ca.pem'), otherCa: path('other-ca.pem') }
}

t.test(
  'transport: a certificate that expired, is of another host or of a CA that is not known is refused with its reason',
  { skip: noOpenssl },
  async t => {
    const { issue, ca, otherCa } = await certificates(t)
    const cases = [
      { what: 'expired', tls: { ...(await issue('expired', 'localhost', -1)), ca }, says: /certificate has expired/i },
      { what: 'host', tls: { ...(await issue('host', 'elsewhere.example', 9)), ca }, says: /altnames|localhost/i },
      { what: 'CA', tls: { ...(await issue('good', 'localhost', 9)), ca: otherCa }, says: /unable to|self.signed/i },
    ]
    for (const { what, tls, says } of cases) {
      await using pair = await Pair.start({ tls })
      await pair.until(`refused: ${what}`, async () => (await pair.status()).primary.problem !== null)
      const { problem, reachable } = (await pair.status()).primary
      t.match(problem, { code: 'PRIMARY_UNREACHABLE', message: says }, what)
      t.match(problem?.message, /primary_url/)
      t.equal(reachable, false)
      const said = () =>
        pair.primary.process?.log.filter(
          line => line['code'] === 'BACKUP_UNREACHABLE' && says.test(String(line['reason'])),
        ) ?? []
      await pair.until('said by the agent', async () => said().length > 0)
      t.match(said()[0]?.['reason'], /backup_url/, 'the agent says the same')
      t.equal((await pair.status()).primary.agentsConnected, 0)
      t.notMatch(pair.backup.process?.text(), /\n\s+at .+:\d+/, 'no stack trace')
    }
  },
)

/** The daemon's own, not that of the relay before it. */
async function portOf(pair: Pair, role: 'primary' | 'backup'): Promise<number> {
  const [msg, key] = role === 'primary' ? ['primary agent ready', 'api'] : ['backup ready', 'events']
  return Number(new URL(String((await pair[role].process?.logged(msg))?.[key])).port)
}

const HEAD = (line: string) => `${line} HTTP/1.1\r\nhost: x\r\n`
const UPGRADE = `${HEAD('GET /v1/events')}connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: ${'A'.repeat(22)}==\r\n`

/** Each of them once a daemon; the seconds within which it must be hung up on. */
const STRANGERS: ReadonlyArray<{ what: string; seconds: number; act: (port: number) => HostileSocket }> = [
  {
    what: 'one byte of a header a second',
    seconds: HEADERS_S_MAX,
    act: port => new HostileSocket(port).say(`${HEAD('GET /')}x-slow: `).trickle('a'),
  },
  {
    what: 'ever more short headers',
    seconds: HEADERS_S_MAX,
    act: port => new HostileSocket(port).say(HEAD('GET /')).trickle('x-more: 1\r\n', 500),
  },
  {
    what: 'a header without end',
    seconds: AT_ONCE_S_MAX,
    act: port => new HostileSocket(port).say(`${HEAD('GET /')}x-large: `).flood('a'.repeat(65_536)),
  },
  {
    what: 'a body that trickles',
    seconds: REQUEST_S_MAX,
    act: port => new HostileSocket(port).say(`${HEAD('POST /v1/delta')}content-length: 1000\r\n\r\n`).trickle('a'),
  },
  {
    what: 'a body beyond the bound',
    seconds: AT_ONCE_S_MAX,
    act: port =>
      new HostileSocket(port)
        .say(`${HEAD('POST /v1/delta')}content-length: 9999999999\r\n\r\n`)
        .flood('a'.repeat(65_536)),
  },
  {
    what: 'chunks without end',
    seconds: AT_ONCE_S_MAX,
    act: port =>
      new HostileSocket(port)
        .say(`${HEAD('POST /v1/delta')}transfer-encoding: chunked\r\n\r\n`)
        .flood(`10000\r\n${'a'.repeat(65_536)}\r\n`),
  },
  {
    what: 'an upgrade without proof, its own side kept open',
    seconds: AT_ONCE_S_MAX,
    act: port => new HostileSocket(port, { halfOpen: true }).say(`${UPGRADE}\r\n`).trickle('a', 200),
  },
  {
    what: 'a request without proof, and then silence',
    seconds: AT_ONCE_S_MAX,
    act: port => new HostileSocket(port).say(`${HEAD('GET /v1/listing')}\r\n`),
  },
]

t.test(
  'transport: 200 idle sockets and every kind of slow or endless request are hung up on in time, and cost others nothing',
  async t => {
    await using pair = await Pair.start()
    await pair.settle()
    await pair.until('connected', async () => (await pair.status()).primary.agentsConnected === 1)
    const ends: Promise<void>[] = []
    using sockets = new DisposableStack()
    for (const role of ['primary', 'backup'] as const) {
      const { pid = -1 } = pair[role].process ?? {}
      const port = await portOf(pair, role)
      const before = residentMb(pid)
      const idle = Array.from({ length: 200 }, () => sockets.use(new HostileSocket(port)))
      const expectClosed = async (what: string, seconds: number, socket: HostileSocket) => {
        const took = await Promise.race([socket.closed, delay(seconds * 1_000, Infinity, { ref: false })])
        t.ok(took < seconds, `${role}: ${what} ended after ${took.toFixed(1)} s`)
      }
      for (const { what, seconds, act } of STRANGERS) ends.push(expectClosed(what, seconds, sockets.use(act(port))))
      ends.push(
        Promise.all(idle.map(socket => socket.closed)).then(
          all =>
            void t.ok(
              Math.max(...all) < HEADERS_S_MAX,
              `${role}: idle ones ended after ${Math.max(...all).toFixed(1)} s`,
            ),
        ),
      )
      ends.push(
        delay(5_000).then(() => {
          const grown = residentMb(pid) - before
          t.ok(grown < GROWTH_MB_MAX, `${role}: ${grown.toFixed(0)} MB more with all of them connected`)
        }),
      )
    }
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Meanwhile', owner: 'jo@example.com' })
    await pair.until('synchronized', async () => (await pair.library(repo))?.state === 'synchronized')
    t.equal((await pair.status()).primary.agentsConnected, 1, 'the agent stays connected')
    await Promise.all(ends)
  },
)

t.test('transport: a wrong token tried from its own address again and again does not shut the backup out', async t => {
  await using pair = await Pair.start()
  await pair.settle()
  for (const role of ['primary', 'backup'] as const) {
    for (let n = 0; n < 30; n++) {
      using socket = new HostileSocket(await portOf(pair, role))
      socket.say(role === 'primary' ? `${HEAD('GET /v1/listing')}\r\n` : `${UPGRADE}\r\n`)
      await socket.closed
      t.match(socket.heard, /^HTTP\/1.1 401/)
    }
  }
  t.match((await pair.sync(null)).at(-1), { type: 'end' })
  pair.backup.relay.cut()
  await pair.until('disconnected', async () => (await pair.status()).primary.agentsConnected === 0)
  pair.backup.relay.mend()
  await pair.until('connected', async () => (await pair.status()).primary.agentsConnected === 1)
})

t.test(
  'transport: a WebSocket message beyond the bound, whole or in parts, and silence end that one connection',
  async t => {
    await using pair = await Pair.start()
    await pair.until('connected', async () => (await pair.status()).primary.agentsConnected === 1)
    const port = await portOf(pair, 'backup')
    const open = async () => {
      const headers = signedHeaders('GET', '/v1/events')
      const socket = new WebSocket(`ws://127.0.0.1:${port}/v1/events`, { headers })
      const from = performance.now()
      const closed = new Promise<{ code: number; seconds: number }>(resolve => {
        socket.on('error', () => {})
        socket.on('close', code => resolve({ code, seconds: (performance.now() - from) / 1000 }))
      })
      await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
      return { socket, closed }
    }
    const silent = await open()
    const whole = await open()
    whole.socket.send('a'.repeat(SEAL_BYTES + EVENT_BYTES_MAX + 1))
    t.match(await whole.closed, { code: 1009 })
    const parts = await open()
    for (let n = 0; n < 5; n++) parts.socket.send('a'.repeat(EVENT_BYTES_MAX / 4), { fin: false })
    t.match(await parts.closed, { code: 1009 })
    const odd = await open()
    odd.socket.send('{"type":"event"}')
    t.match(await odd.closed, { code: 1006 }, 'what is not understood ends it too')
    const { seconds } = await silent.closed
    t.ok(seconds > 10 && seconds < 30, `silence ended after ${seconds.toFixed(1)} s`)
    t.ok(pair.backup.process?.running)
    await pair.until('alone again', async () => (await pair.status()).primary.agentsConnected === 1)
  },
)

t.test(
  'transport: twenty clients that ask for much and never read cost the agent no memory, and others no answer',
  async t => {
    await using pair = await Pair.start()
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Large', owner: 'jo@example.com' })
    for (let n = 0; n < 6; n++)
      await writer.commit(repo, [{ op: 'put', path: `/${n}.bin`, content: randomBytes(8 * 1024 * 1024) }])
    await pair.settle()
    const { pid = -1 } = pair.primary.process ?? {}
    const port = await portOf(pair, 'primary')
    const ids = new RawObjects(pair.primary.dataDir).list('blocks', repo)
    const objects = ids.map(id => ({ kind: 'blocks' as const, id }))
    const body = encodeObjectsRequest({ repo: parseRepoId(repo), objects: [...objects, ...objects, ...objects] })
    const before = residentMb(pid)
    using sockets = new DisposableStack()
    for (let n = 0; n < 20; n++) {
      const headers = Object.entries({
        ...signedHeaders('POST', '/v1/objects', body),
        'content-length': body.byteLength,
      })
      const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')
      const socket = sockets.use(new HostileSocket(port, { reads: false }))
      socket.say(`${HEAD('POST /v1/objects')}${lines}\r\n`).say(body)
    }
    let most = 0
    for (let n = 0; n < 50; n++) {
      await delay(100)
      most = Math.max(most, residentMb(pid) - before)
    }
    t.ok(most < UNREAD_MB_MAX, `${most.toFixed(0)} MB more while they wait`)
    const late = await writer.createLibrary({ name: 'Late', owner: 'jo@example.com' })
    await pair.until('synchronized', async () => (await pair.library(late))?.state === 'synchronized')
  },
)
