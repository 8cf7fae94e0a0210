/** Either daemon killed at random instants. The seed is printed; SEED=n runs one again. */

import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { fixturesMissing } from '../support/fixtures.js'
import { Pair } from '../support/pair.js'
import { equalsFixture, sameBytes } from '../support/replica.js'
import { filesBelow, layFixture, testDatabase } from '../support/sides.js'

const KILLS = 50

/** Small and good enough to choose instants: mulberry32. */
function randomFrom(seed: number): () => number {
  let a = seed >>> 0
  return () => {
    a = (a + 0x6d2b79f5) >>> 0
    let x = Math.imul(a ^ (a >>> 15), a | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
}

t.test(
  `crash: either daemon killed ${KILLS} times while the fixtures are replicated, the end is the same`,
  { skip: fixturesMissing() },
  async t => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 1e9)
    t.comment(`SEED=${seed}`)
    const random = randomFrom(seed)
    await using db = await testDatabase('sqlite')
    await using pair = await Pair.start({ prepare: async dir => void (await layFixture('sqlite', dir, db.server)) })

    let began = 0
    for (let i = 0; i < KILLS; i++) {
      await delay(random() * 150)
      if (random() < 0.5) {
        await pair.primary.process?.kill()
        await pair.startPrimary()
      } else {
        await pair.backup.process?.kill()
        await pair.startBackup()
        began += 1
      }
    }
    await pair.settle()

    t.ok(began > 0, 'the backup was among the killed')
    await equalsFixture(t, pair, 'sqlite-small')
    await sameBytes(t, pair)
    t.strictSame(await filesBelow(`${pair.backup.dataDir}/tmpfiles`), [], 'no temp file is left')
  },
)
