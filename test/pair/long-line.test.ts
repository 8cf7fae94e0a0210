import t from 'tap'
import { BACKFILL_MAX } from '../../src/backup/sync/concurrency.js'
import { Pair } from '../support/pair.js'
import { longLine } from '../support/rough-line.js'

const LIBRARIES = 60
const ROUND_TRIP_MS = 400
/** Of two threads: first copies at once where the primary is near. */
const NEAR_BACKFILL = 4

t.test(
  'first copy: where the primary is far, more libraries are pulled at once, and no more than the bound',
  async t => {
    await using pair = await Pair.lay()
    const writer = await pair.writer()
    for (let n = 0; n < LIBRARIES; n++) {
      const repo = await writer.createLibrary({ name: `Library ${n}`, owner: 'ada@example.com' })
      await writer.commit(repo, [{ op: 'put', path: '/file.txt', content: Buffer.from(`of library ${n}`) }])
    }
    await pair.startPrimary()
    pair.primary.relay.roughness = longLine(ROUND_TRIP_MS)
    let most = 0
    pair.primary.relay.onBytes = () => (most = Math.max(most, pair.primary.relay.connections))
    await pair.startBackup()
    await pair.settle()
    t.strictSame(await pair.heads('backup'), await pair.heads('primary'))
    t.ok(most > 2 * NEAR_BACKFILL, `${most} connections at once`)
    t.ok(most <= BACKFILL_MAX + 1, 'one for each pull, and the sweep')
  },
)
