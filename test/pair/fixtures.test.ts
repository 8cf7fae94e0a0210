/** What a real Seafile server wrote, replicated by the two real processes, over all four pairings of databases. */

import t from 'tap'
import { fixturesMissing } from '../support/fixtures.js'
import { mariadbInstalled } from '../support/mariadb.js'
import { Pair } from '../support/pair.js'
import { equalsFixture, sameBytes } from '../support/replica.js'
import { filesBelow, layFixture, testDatabase } from '../support/sides.js'
import type { Engine } from '../support/sides.js'

const PAIRINGS: readonly (readonly [Engine, Engine])[] = [
  ['sqlite', 'sqlite'],
  ['mysql', 'mysql'],
  ['sqlite', 'mysql'],
  ['mysql', 'sqlite'],
]

for (const [primary, backup] of PAIRINGS) {
  const mysql = primary === 'mysql' || backup === 'mysql'
  const skip = fixturesMissing() || (mysql && !mariadbInstalled() && 'mariadbd is not installed')
  const title = `pair: a real server's libraries, ${primary} to ${backup}: each whole one is equal, each damaged one fails with its paths and holds up no other`

  t.test(title, { skip }, async t => {
    await using theirs = await testDatabase(primary)
    await using ours = await testDatabase(backup)
    let name: 'sqlite-small' | 'mysql-small' | 'timeline-sqlite' = 'sqlite-small'
    await using pair = await Pair.start({
      primary: theirs.database ? { database: theirs.database } : {},
      backup: ours.database ? { database: ours.database } : {},
      prepare: async dir => {
        name = await layFixture(primary, dir, theirs.server)
      },
    })

    await pair.settle()

    await equalsFixture(t, pair, name)
    await sameBytes(t, pair)
    t.strictSame(await filesBelow(`${pair.backup.dataDir}/tmpfiles`), [], 'no temp file is left')
  })
}
