/** An events line on which one side speaks more slowly than anything that works: given up by a deadline, and missed by nobody. */

import t from 'tap'
import { runCommand } from '../support/command.js'
import { Pair } from '../support/pair.js'
import { slowAfter } from '../support/rough-line.js'

/** More than the headers of an upgrade and less than two messages after it. */
const UPGRADE_BYTES = 600

t.jobs = 2 // most of the time is waiting

const secondsSince = (from: number): string => ((performance.now() - from) / 1_000).toFixed(2)

/** Which direction of the events line trickles, and from which byte on. */
const TRICKLES = [
  { who: 'a backup that answers one byte a second', direction: 'fromTarget', free: 0 },
  { who: 'an agent that speaks one byte a second', direction: 'toTarget', free: UPGRADE_BYTES },
] as const

for (const { who, direction, free } of TRICKLES) {
  t.test(`network: ${who} is given up by a deadline; changes are found without it, and it is taken back`, async t => {
    await using pair = await Pair.start({ backup: { conf: ['rpo = 0.2'] } })
    await pair.until('connected', async () => (await pair.status()).primary.agentsConnected === 1)
    const { relay } = pair.backup
    const agent = pair.primary.process
    const lines = () => agent?.log.filter(line => line['code'] === 'BACKUP_UNREACHABLE') ?? []
    const connections = () => agent?.log.filter(({ msg }) => msg === 'connected to the backup').length ?? 0
    relay.roughness = way => (way === direction ? slowAfter(free, 1) : undefined)
    const connected = connections()
    relay.resetAll()
    if (direction === 'toTarget') await pair.until('connected again', async () => connections() > connected)
    const before = lines().length
    const from = performance.now()
    const reason = direction === 'fromTarget' ? /handshake/ : /silent|closed/
    await pair.until('given up', async () =>
      lines()
        .slice(before)
        .some(line => reason.test(String(line['reason']))),
    )
    t.comment(`${who}: given up after ${secondsSince(from)} s`)

    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Meanwhile', owner: 'jo@example.com' })
    const head = await writer.commit(repo, [{ op: 'put', path: '/a', content: Buffer.from('a') }])
    await pair.until('found', async () => (await pair.heads('backup')).get(repo) === head)
    relay.roughness = () => undefined
    await pair.until('heard again', async () =>
      Number.isInteger((await pair.status()).primary.agents.find(({ source }) => source !== null)?.positionAgoMs),
    )
    await pair.until('well', async () => (await pair.status()).overdue.length === 0)
    t.equal((await runCommand(pair, 'status')).code, 0)
  })
}
