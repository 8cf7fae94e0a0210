/** Ctrl-C in a promotion: what is said is what is so. */

import { existsSync } from 'node:fs'
import { mkdir, readFile, rmdir } from 'node:fs/promises'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import t from 'tap'
import { runCommand, runCommandWith } from '../support/command.js'
import { Pair } from '../support/pair.js'
import { CONFIRM, promotionFile, stateDir } from '../support/promote.js'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import type { Ran } from '../support/command.js'

const ACCEPT = ['--accept-loss', 'primary,tables,libraries']

/** Interrupted where it asks the primary, who does not answer. */
async function interruptedWhenItAsks(t: Test, pair: Pair): Promise<Ran> {
  let interrupt = () => {}
  const mute = createServer(() => interrupt()).listen(0, '127.0.0.1')
  await once(mute, 'listening')
  t.teardown(() => mute.close())
  pair.primary.relay.target = (mute.address() as AddressInfo).port
  return runCommandWith(pair, { started: typed => (interrupt = typed) }, ['promote', ...CONFIRM, ...ACCEPT])
}

t.test(
  'promote: interrupted before the fence, it says that nothing was changed; after it, that it is fenced',
  async t => {
    await using pair = await Pair.start()
    await pair.settle()
    await pair.backup.process?.stop()
    await pair.primary.process?.stop()

    const before = await interruptedWhenItAsks(t, pair)

    t.equal(before.code, 130)
    t.match(before.stderr, /^interrupted; nothing was fenced, and nothing was changed$/m)
    t.notOk(existsSync(promotionFile(pair)))
    const inTheWay = join(stateDir(pair), 'promotion-rows.jsonl')
    await mkdir(inTheWay)
    pair.primary.relay.cut()
    t.equal((await runCommand(pair, 'promote', ...CONFIRM, ...ACCEPT)).code, 1)
    await rmdir(inTheWay)
    pair.primary.relay.mend()
    const { epoch } = JSON.parse(await readFile(promotionFile(pair), 'utf8')) as { epoch: string }

    const after = await interruptedWhenItAsks(t, pair)

    t.equal(after.code, 130)
    t.match(after.stderr, `interrupted; this backup is fenced (epoch ${epoch}, at the step "fenced")`)
    t.match(after.stderr, 'run the same command again')
    t.notMatch(after.stderr, /daemon goes on/)
  },
)
