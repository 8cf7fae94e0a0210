/** A sync_token is replaced on one side, then on the other, while commits flow: nothing waits, and at the end the old one opens nothing. */

import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { WebSocket } from 'ws'
import { VERSION_HEADER, authKeys, signRequest } from '../../src/shared/wire/auth.js'
import { PROTOCOL_VERSION } from '../../src/shared/wire/sync-messages.js'
import { Pair, TOKEN } from '../support/pair.js'
import type { RepoId } from '../../src/shared/ids.js'

const NEW = 'fedcba98'.repeat(5)
const BOTH = `${NEW}, ${TOKEN}`

async function restart(pair: Pair, role: 'primary' | 'backup', token: string): Promise<void> {
  const conf = join(pair[role].dir, 'conf', 'seafile.conf')
  await writeFile(conf, (await readFile(conf, 'utf8')).replace(/^sync_token = .*$/m, `sync_token = ${token}`))
  await pair[role].process?.stop()
  await (role === 'primary' ? pair.startPrimary() : pair.startBackup())
}

function signed(tokens: readonly string[], path: string): Record<string, string> {
  return {
    ...signRequest(authKeys(tokens), { method: 'GET', path, body: '' }).headers,
    [VERSION_HEADER]: String(PROTOCOL_VERSION),
  }
}

async function statusOf(pair: Pair, tokens: readonly string[]): Promise<number> {
  const path = '/v1/listing'
  const answer = await fetch(`http://127.0.0.1:${pair.primary.relay.port}${path}`, { headers: signed(tokens, path) })
  await answer.arrayBuffer()
  return answer.status
}

/** Status of the answer to an upgrade; 101 when it was accepted. */
function upgradeStatus(pair: Pair, tokens: readonly string[]): Promise<number | undefined> {
  const path = '/v1/events'
  const socket = new WebSocket(`ws://127.0.0.1:${pair.backup.relay.port}${path}`, { headers: signed(tokens, path) })
  return new Promise((resolve, reject) => {
    socket.on('open', () => (socket.terminate(), resolve(101)))
    socket.on('unexpected-response', (_request, response) => (socket.terminate(), resolve(response.statusCode)))
    socket.on('error', reject)
  })
}

/** Writes until disposed. */
async function commitsFlow(pair: Pair, repo: RepoId): Promise<AsyncDisposable & { count: number }> {
  const writer = await pair.writer()
  const stop = new AbortController()
  const flow = { count: 0, [Symbol.asyncDispose]: async () => (stop.abort(), writing) }
  const writing = (async () => {
    while (!stop.signal.aborted) {
      flow.count += 1
      const content = Buffer.from(`commit ${flow.count}`)
      await writer.commit(repo, [{ op: 'put', path: `/${flow.count % 10}.txt`, content }])
      await delay(50)
    }
  })()
  return flow
}

t.test(
  'rotation: the token is replaced on one side, then the other, while commits flow; then the old is refused',
  async t => {
    await using pair = await Pair.start()
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Flowing', owner: 'jo@example.com' })
    await pair.settle()
    {
      await using flow = await commitsFlow(pair, repo)
      for (const [role, token] of [
        ['primary', BOTH],
        ['backup', BOTH],
        ['backup', NEW],
        ['primary', NEW],
      ] as const) {
        await restart(pair, role, token)
        const before = (await pair.heads('backup')).get(repo)
        const counted = flow.count
        await pair.until('connected', async () => (await pair.status()).primary.agentsConnected === 1)
        await pair.until('moving on', async () => (await pair.heads('backup')).get(repo) !== before)
        t.ok(flow.count > counted, `commits arrive when ${role} has ${token.length} characters`)
        for (const side of ['primary', 'backup'] as const) {
          const text = pair[side].process?.text() ?? ''
          t.notMatch(text, /TOKEN_MISMATCH/, `${side}: nothing was refused`)
          t.notMatch(text, new RegExp(`${NEW}|${TOKEN}`), `${side}: no token is printed`)
        }
        if (token === BOTH) t.equal(await statusOf(pair, [TOKEN]), 200, 'the old one is still good')
      }
    }
    await pair.settle()
    t.strictSame(await pair.heads('backup'), await pair.heads('primary'))
    t.equal(await statusOf(pair, [TOKEN]), 401)
    t.equal(await upgradeStatus(pair, [TOKEN]), 401)
    t.equal(await statusOf(pair, [NEW]), 200)
    t.equal(await upgradeStatus(pair, [NEW]), 101)
  },
)
