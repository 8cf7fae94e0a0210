/** Long and slow lines: all is only late. Times are printed, not judged. */

import { randomBytes } from 'node:crypto'
import t from 'tap'
import { Pair } from '../support/pair.js'
import { sameBytes } from '../support/replica.js'
import { longLine } from '../support/rough-line.js'
import type { Roughness } from '../support/relay.js'

const MB = 1024 * 1024
const MBIT = 1_000_000 / 8
const secondsSince = (from: number): string => ((performance.now() - from) / 1_000).toFixed(2)

const LINES: Readonly<Record<string, Roughness>> = {
  'loopback as it is': () => undefined,
  '200 ms round trip': longLine(200),
  '50 Mbit/s': longLine(0, 50 * MBIT),
  '200 ms round trip and 50 Mbit/s': longLine(200, 50 * MBIT),
}

for (const [name, line] of Object.entries(LINES)) {
  t.test(`network: ${name}: a first copy and twenty single commits end equal`, async t => {
    await using pair = await Pair.lay()
    for (const { relay } of [pair.primary, pair.backup]) relay.roughness = line
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Far away', owner: 'jo@example.com' })
    const small = Array.from({ length: 200 }, (_, n) => ({
      op: 'put' as const,
      path: `/${n % 10}/${n}`,
      content: randomBytes(2_000),
    }))
    await writer.commit(repo, small)
    await writer.commit(repo, [{ op: 'put', path: '/film', content: randomBytes(24 * MB) }])
    await pair.startPrimary()
    const from = performance.now()
    await pair.startBackup()
    await pair.settle()
    t.comment(`${name}: start of the backup and a first copy of 24.4 MB: ${secondsSince(from)} s`)
    await pair.until('connected', async () => (await pair.status()).primary.agentsConnected === 1)
    await pair.sync(null)

    const took: number[] = []
    for (let n = 0; n < 20; n++) {
      const head = await writer.commit(repo, [{ op: 'put', path: `/one/${n}`, content: randomBytes(5_000) }])
      const at = performance.now()
      await pair.until(`commit ${n}`, async () => (await pair.library(repo))?.head === head)
      took.push(performance.now() - at)
    }
    took.sort((a, b) => a - b)
    t.comment(
      `${name}: a commit is there after ${took[10]?.toFixed(0)} ms (median), ${took[19]?.toFixed(0)} ms (worst of 20)`,
    )
    t.match(await pair.library(repo), { state: 'synchronized', failure: null })
    await sameBytes(t, pair)
  })
}
