/** How the primary is asked: what is asked again, and what is not. */

import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createSecureServer } from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { PrimaryClient } from '../../../src/backup/sync/primary-client.js'
import { FakePrimary, rowsOf } from '../../support/fake-primary.js'
import { idOf } from '../../support/objects.js'
import { TOKEN } from '../../support/pair.js'
import { newRepo } from '../../support/taken-over.js'
import type { SecureServerOptions } from 'node:http2'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import type { RepoId } from '../../../src/shared/ids.js'

const run = promisify(execFile)

async function asking(t: Test) {
  const fake = await FakePrimary.start()
  const client = new PrimaryClient({ urls: [`http://127.0.0.1:${fake.port}`], syncTokens: [TOKEN], ca: null })
  t.teardown(async () => {
    await client[Symbol.asyncDispose]()
    await fake[Symbol.asyncDispose]()
  })
  const repo: RepoId = newRepo()
  const head = idOf('head')
  fake.lies.set(repo, {
    head,
    async delta(answer) {
      await answer.library(rowsOf(repo, head))
      await answer.end()
    },
  })
  const signal = new AbortController().signal
  const ask = () => client.source().delta({ repo, have: null, haveSince: -1, commitsAlone: false }, () => {}, signal)
  return { fake, client, signal, ask }
}

t.test('primary client: on a connection that was closed while it idled, the question is asked again', async t => {
  const { fake, ask } = await asking(t)
  for (let n = 0; n < 3; n++) await ask() // until no new connection is made
  fake.cuts = 'used'
  t.match(await ask(), { changed: false })
  t.equal(fake.asked.get('cut'), 1, 'a connection was reused, and had ended')
  t.equal(fake.asked.get('/v1/delta'), 4)
})

t.test('primary client: a primary that ends every connection is asked twice, and is then unreachable', async t => {
  const { fake, ask } = await asking(t)
  fake.cuts = 'all'
  await t.rejects(ask(), { code: 'PRIMARY_UNREACHABLE' })
  t.equal(fake.asked.get('cut'), 2)
})

t.test('primary client: an agent that is too old for a question is said to be', async t => {
  const { client, signal } = await asking(t)
  for (const asked of [
    client.dump(() => {}, signal),
    client.binlog({ from: null, bytes: 1 }, () => {}, signal),
    client.counts(signal).then(() => {}),
  ])
    await t.rejects(asked, { code: 'PROTOCOL_VERSION', message: /older than this daemon/ })
})

t.test(
  'primary client: a proxy that would speak HTTP/2, whose answers share their memory, is asked by HTTP/1.1',
  async t => {
    const dir = await mkdtemp(join(tmpdir(), 'sbc-'))
    const openssl = 'req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost'
    await run('openssl', [...openssl.split(' '), '-addext', 'subjectAltName=DNS:localhost'], { cwd: dir })
    const [key, cert] = await Promise.all(['key.pem', 'cert.pem'].map(name => readFile(join(dir, name), 'utf8')))
    const versions: string[] = []
    const server = createSecureServer({ key, cert, allowHTTP1: true } as SecureServerOptions, (request, response) => {
      versions.push(request.httpVersion)
      response.writeHead(503)
      response.end()
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const url = `https://localhost:${(server.address() as AddressInfo).port}`
    const client = new PrimaryClient({ urls: [url], syncTokens: [TOKEN], ca: cert ?? null })
    t.teardown(async () => {
      await client[Symbol.asyncDispose]()
      server.close()
      await rm(dir, { recursive: true })
    })
    await t.rejects(client.listing(new AbortController().signal), { message: /it answered 503/ })
    t.strictSame(versions, ['1.1'])
  },
)
