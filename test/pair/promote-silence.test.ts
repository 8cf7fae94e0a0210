/** A primary that nobody has heard of for longer than `rpo`: what is here is what it had then, and no more is claimed. */

import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import t from 'tap'
import { runCommand } from '../support/command.js'
import { Pair } from '../support/pair.js'
import { CONFIRM, giveToken, promotionFile, select, stateDir } from '../support/promote.js'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

const THREE_HOURS_MS = 3 * 3_600_000

function contact(pair: Pair, sql: string): unknown {
  const db = new Database(join(stateDir(pair), 'state.db'))
  try {
    const statement = db.prepare(sql)
    return statement.reader ? statement.pluck().get() : statement.run()
  } finally {
    db.close()
  }
}

/** As if so much time had gone by since the primary was heard; `rpo` is two hours. */
const goBy = (pair: Pair, ms: number): unknown => contact(pair, `UPDATE contact SET at = at - ${ms}`)

/** A library with a token and a dump; the line is cut, the library moves on, and the primary dies. */
async function goneUnseen(t: Test): Promise<{ readonly pair: Pair; readonly repo: string }> {
  const pair = await Pair.start()
  t.teardown(() => pair[Symbol.asyncDispose]())
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'Papers', owner: 'jo@example.com' })
  giveToken(pair, repo, 'a'.repeat(40))
  await pair.settle()
  t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)
  pair.cutOff()
  await writer.commit(repo, [{ op: 'put', path: '/unseen', content: randomBytes(1000) }])
  await pair.primary.process?.kill()
  return { pair, repo }
}

t.test('promote: not heard of for longer than rpo: a loss with the age, and no client stays signed in', async t => {
  const { pair } = await goneUnseen(t)
  await pair.backup.process?.stop()
  const fresh = await runCommand(pair, 'promote', '--check')
  t.match(fresh.stdout, /^good {2}libraries: all 1 are here/m, 'a moment ago is no silence')
  t.notMatch(fresh.stdout, /since then/)
  t.match(
    fresh.stdout,
    /^LOSS \(tables\) .*since .* is lost/m,
    'a young dump is good only where a younger one can be had',
  )
  goBy(pair, THREE_HOURS_MS)
  const accepted = ['--accept-loss', 'primary,tables']

  const check = await runCommand(pair, 'promote', '--check', ...accepted)

  t.equal(check.code, 1)
  t.match(check.stdout, /^LOSS \(libraries\) {2}libraries since then: .* until 20.*, 3 h.* ago \(rpo 2 h.*\)/m)
  t.match(check.stdout, /--keep-tokens/)
  const refused = await runCommand(pair, 'promote', ...CONFIRM, ...accepted)
  t.equal(refused.code, 2)
  t.notOk(existsSync(promotionFile(pair)))
  const ran = await runCommand(pair, 'promote', ...CONFIRM, '--accept-loss', 'primary,tables,libraries')
  t.equal(ran.code, 0, ran.stderr)
  t.strictSame(select(pair, 'backup', 'SELECT repo_id FROM RepoUserToken'), [])
})

t.test('promote: with --keep-tokens they stay signed in, also when it is run again without', async t => {
  const { pair, repo } = await goneUnseen(t)
  await pair.backup.process?.stop()
  goBy(pair, THREE_HOURS_MS)
  const accepted = ['--accept-loss', 'primary,tables,libraries']
  t.equal((await runCommand(pair, 'promote', ...CONFIRM, ...accepted, '--keep-tokens')).code, 0)
  const promotion = JSON.parse(await readFile(promotionFile(pair), 'utf8')) as object
  await writeFile(promotionFile(pair), JSON.stringify({ ...promotion, step: 'fenced' }))

  const again = await runCommand(pair, 'promote', ...CONFIRM)

  t.equal(again.code, 0, again.stderr)
  t.strictSame(select(pair, 'backup', 'SELECT repo_id FROM RepoUserToken'), [repo])
})

t.test('promote: run again when it has become a silence meanwhile, it asks before clients must sign in', async t => {
  const { pair, repo } = await goneUnseen(t)
  await pair.backup.process?.stop()
  t.equal((await runCommand(pair, 'promote', ...CONFIRM, '--accept-loss', 'primary,tables')).code, 0)
  t.strictSame(select(pair, 'backup', 'SELECT repo_id FROM RepoUserToken'), [repo])
  const promotion = JSON.parse(await readFile(promotionFile(pair), 'utf8')) as object
  await writeFile(promotionFile(pair), JSON.stringify({ ...promotion, step: 'rows' }))
  goBy(pair, THREE_HOURS_MS)

  const asked = await runCommand(pair, 'promote', ...CONFIRM)
  const agreed = await runCommand(pair, 'promote', ...CONFIRM, '--accept-loss', 'libraries')

  t.equal(asked.code, 2)
  t.match(asked.stderr, /PROMOTION_STOPPED[\s\S]*--accept-loss libraries/)
  t.equal(agreed.code, 0, agreed.stderr)
  t.strictSame(select(pair, 'backup', 'SELECT repo_id FROM RepoUserToken'), [])
})

t.test('promote: a primary that answered when it began, and not at its end, is no silence', async t => {
  await using pair = await Pair.start()
  const repo = await (await pair.writer()).createLibrary({ name: 'Papers', owner: 'jo@example.com' })
  giveToken(pair, repo, 'a'.repeat(40))
  await pair.settle()
  t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)
  await pair.backup.process?.stop()
  goBy(pair, THREE_HOURS_MS) // it was stopped so long ago
  const ready = await pair.primary.process?.logged('primary agent ready')
  const agent = Number(new URL(String(ready?.['api'])).port)
  let asked = 0
  const once = createServer(socket => {
    if (asked++ > 0) return void socket.destroy()
    const on = connect(agent, '127.0.0.1')
    for (const [from, to] of [
      [socket, on],
      [on, socket],
    ] as const)
      from.on('error', () => to.destroy()).pipe(to)
  }).listen(0, '127.0.0.1')
  t.teardown(() => once.close())
  await new Promise(resolve => once.once('listening', resolve))
  pair.primary.relay.target = (once.address() as AddressInfo).port

  const ran = await runCommand(pair, 'promote', ...CONFIRM, '--accept-loss', 'primary,tables')

  t.equal(ran.code, 0, ran.stderr)
  t.ok(asked > 1, 'it was asked again')
  t.strictSame(select(pair, 'backup', 'SELECT repo_id FROM RepoUserToken'), [repo])
})

t.test('status: quotes it: after a silence no library is known to be here as the primary had it', async t => {
  const { pair } = await goneUnseen(t)
  await pair.backup.process?.stop()
  const before = Number(contact(pair, 'SELECT at FROM contact'))
  t.ok(Math.abs(Date.now() - before) < 60_000, 'noted when the daemon ended')
  goBy(pair, THREE_HOURS_MS)

  await pair.startBackup()

  await pair.until('said', async () => (await pair.status()).promotion?.librariesLacking === 1)
  await pair.backup.process?.stop()
  t.equal(contact(pair, 'SELECT at FROM contact'), before - THREE_HOURS_MS, 'attempts that failed are no contact')
})
