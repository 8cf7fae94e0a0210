/** MySQL's own replica of the primary, as `status` tells of it. */

import t from 'tap'
import { runCommand } from '../support/command.js'
import { Pair } from '../support/pair.js'

t.test(
  'replica: one that does not answer is said on the first line, is no health, and its password is said nowhere',
  async t => {
    const url = 'replica_url = unix://watcher:hunter2@localhost/nonexistent/replica.sock'
    await using pair = await Pair.start({ backup: { conf: [url] } })
    await pair.until('asked', async () => (await pair.status()).replica?.asked === true)

    const status = await runCommand(pair, 'status', '--verbose')

    t.equal(status.code, 3)
    t.match(
      status.stdout,
      /^Overdue: the replica unix:\/\/watcher@localhost\/nonexistent\/replica\.sock is not well: it cannot be asked/,
    )
    t.match(status.stdout, /^Replica unix:\/\/watcher@localhost/m)
    t.match((await pair.status()).replica, { behindSeconds: null, problem: /ENOENT/ })
    t.notMatch(status.stdout + JSON.stringify(await pair.status()) + String(pair.backup.process?.text()), /hunter2/)
  },
)
