/** The primary moved to another address, or either side of another version than the other. */

import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { runCommand } from '../support/command.js'
import { PROTOCOL_VERSION } from '../../src/shared/wire/sync-messages.js'
import { otherProtocol } from '../support/other-version.js'
import { Pair } from '../support/pair.js'
import { Relay } from '../support/relay.js'
import { sameBytes } from '../support/replica.js'

const MB = 1024 * 1024

t.jobs = 3 // most of the time is waiting for the next attempt

const well = (pair: Pair) =>
  pair.until('well', async () => {
    const { primary, overdue } = await pair.status()
    return primary.problem === null && primary.agentsConnected === 1 && overdue.length === 0
  })

for (const [role, theirs] of [
  ['primary', PROTOCOL_VERSION + 1],
  ['backup', PROTOCOL_VERSION + 2],
] as const) {
  t.test(
    `network: the ${role} is of another protocol, both sides name both versions; upgraded, all goes on`,
    async t => {
      await using pair = await Pair.lay()
      await pair.catalog()
      await pair.startPrimary(role === 'primary' ? otherProtocol(theirs) : {})
      await pair.startBackup(role === 'backup' ? otherProtocol(theirs) : {})
      const writer = await pair.writer()
      const repo = await writer.createLibrary({ name: 'Waits for an upgrade', owner: 'jo@example.com' })
      const both = (text: unknown) =>
        new RegExp(`\\b${PROTOCOL_VERSION}\\b`).test(String(text)) && String(text).includes(` ${theirs}`)

      await pair.until('said', async () => (await pair.status()).primary.problem?.code === 'PROTOCOL_VERSION')
      const { problem } = (await pair.status()).primary
      t.ok(both(problem?.message.replace(/https?:\S+/, '')), `status: ${problem?.message}`)
      t.match(problem?.nextStep, /same version/)
      t.equal((await runCommand(pair, 'status')).code, 3)
      t.notOk((await pair.heads('backup')).has(repo))
      await pair.until('said by the agent', async () =>
        Boolean(
          pair.primary.process?.log.some(
            ({ msg, code, reason }) =>
              msg === 'events cannot be delivered; trying again' &&
              code === 'PROTOCOL_VERSION' &&
              both(String(reason).replace(/wss?:\S+/, '')),
          ),
        ),
      )

      await pair[role].process?.stop()
      await (role === 'primary' ? pair.startPrimary() : pair.startBackup())
      await pair.settle()
      await well(pair)
      t.ok((await pair.heads('backup')).has(repo))
      t.equal((await runCommand(pair, 'status')).code, 0)
    },
  )
}

t.test(
  'network: the agent moves to another address, the backup is told of it and restarted, nothing is fetched again',
  async t => {
    await using pair = await Pair.start()
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Stays', owner: 'jo@example.com' })
    await writer.commit(repo, [{ op: 'put', path: '/film', content: randomBytes(4 * MB) }])
    await pair.settle()
    await pair.primary.process?.stop()
    await using elsewhere = await Relay.start()
    const { relay } = pair.primary
    await pair.startPrimary()
    const ready = await pair.primary.process?.logged('primary agent ready')
    elsewhere.target = Number(new URL(String(ready?.['api'])).port)
    relay.cut() // nobody at the old address
    await pair.sync(null)
    t.match((await pair.status()).primary.problem, { code: 'PRIMARY_UNREACHABLE', message: /primary_url/ })

    const conf = join(pair.backup.dir, 'conf', 'seafile.conf')
    await writeFile(conf, (await readFile(conf, 'utf8')).replaceAll(`:${relay.port}`, `:${elsewhere.port}`))
    await pair.backup.process?.stop()
    await pair.startBackup()
    const head = await writer.commit(repo, [{ op: 'put', path: '/note', content: Buffer.from('moved') }])
    await pair.settle()
    await well(pair)
    t.equal((await pair.heads('backup')).get(repo), head)
    t.ok(elsewhere.bytesFromTarget < MB, `${elsewhere.bytesFromTarget} bytes came from the new address`)
    await sameBytes(t, pair)
  },
)
