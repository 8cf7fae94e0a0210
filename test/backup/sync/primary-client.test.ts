/** How the primary is asked: what is asked again, and what is not. */

import t from 'tap'
import { PrimaryClient } from '../../../src/backup/sync/primary-client.js'
import { FakePrimary, rowsOf } from '../../support/fake-primary.js'
import { idOf } from '../../support/objects.js'
import { TOKEN } from '../../support/pair.js'
import { newRepo } from '../../support/taken-over.js'
import type { Test } from 'tap'
import type { RepoId } from '../../../src/shared/ids.js'

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
