/** A promotion that did not come to its end, taken up later: what changed meanwhile is looked at again. */

import { readFile, writeFile } from 'node:fs/promises'
import t from 'tap'
import { runCommand } from '../support/command.js'
import { Pair } from '../support/pair.js'
import { CONFIRM, giveToken, promotionFile, select } from '../support/promote.js'

t.test(
  'promote: run again after clients have sent more to a primary that still serves, their libraries have no token any more',
  async t => {
    await using pair = await Pair.start()
    const writer = await pair.writer()
    const moved = await writer.createLibrary({ name: 'Moved', owner: 'jo@example.com' })
    const same = await writer.createLibrary({ name: 'Same', owner: 'jo@example.com' })
    giveToken(pair, moved, 'a'.repeat(40))
    giveToken(pair, same, 'b'.repeat(40))
    await pair.settle()
    await pair.until('all here', async () => (await pair.status()).counts.synchronized === 2)
    t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)
    await pair.backup.process?.stop()
    const accept = ['--accept-loss', 'primary,tables']
    t.equal((await runCommand(pair, 'promote', ...CONFIRM, ...accept)).code, 0)
    const promotion = JSON.parse(await readFile(promotionFile(pair), 'utf8')) as { ahead: string[] }
    t.strictSame(promotion.ahead, [])
    let late = 0

    for (const step of ['fenced', 'rows-saved', 'tables', 'rows']) {
      await writeFile(promotionFile(pair), JSON.stringify({ ...promotion, step })) // as after a kill
      await writer.commit(moved, [{ op: 'put', path: `/late ${late++}`, content: Buffer.from('not here') }])
      const ran = await runCommand(pair, 'promote', ...CONFIRM)

      t.equal(ran.code, 0, `${step}: ${ran.stderr}`)
      t.match(ran.stdout, new RegExp(`must sign in again: ${moved}$`, 'm'), step)
      t.strictSame(select(pair, 'backup', 'SELECT repo_id FROM RepoUserToken'), [same], step)
    }
  },
)

t.test(
  'promote: what the first run has found to be ahead stays so, when the primary is gone at the next one',
  async t => {
    await using pair = await Pair.start()
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Papers', owner: 'jo@example.com' })
    giveToken(pair, repo, 'a'.repeat(40))
    await pair.settle()
    t.equal((await runCommand(pair, 'dumps', 'now')).code, 0)
    await pair.backup.process?.stop()
    await writer.commit(repo, [{ op: 'put', path: '/late', content: Buffer.from('not here') }])
    const accept = ['--accept-loss', 'primary,tables,libraries']
    t.equal((await runCommand(pair, 'promote', ...CONFIRM, ...accept)).code, 0)
    const promotion = JSON.parse(await readFile(promotionFile(pair), 'utf8')) as { ahead: string[] }
    await writeFile(promotionFile(pair), JSON.stringify({ ...promotion, step: 'rows-saved' }))
    await pair.primary.process?.kill()

    const ran = await runCommand(pair, 'promote', ...CONFIRM)

    t.equal(ran.code, 0, ran.stderr)
    t.strictSame(select(pair, 'backup', 'SELECT repo_id FROM RepoUserToken'), [])
  },
)
