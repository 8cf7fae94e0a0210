/** A dump beside a primary that works on: what can be judged is, and what only moved is no fault. */

import t from 'tap'
import { besidePrimary } from '../../../src/backup/drill/beside-primary.js'
import { decodeCounts, encodeCounts } from '../../../src/shared/wire/count-messages.js'
import type { Dump } from '../../../src/backup/dumps/dump-manifest.js'
import type { CountedTable } from '../../../src/shared/wire/count-messages.js'

const NOW = Date.UTC(2026, 10, 21, 14)
const HOUR = 3_600_000
const dump: Dump = {
  id: '20261121T130000Z',
  engine: 'mysql',
  server: '10.11',
  tool: 'mariadb-dump',
  databases: ['seafile_db', 'ccnet_db'],
  absent: [],
  askedAt: NOW - HOUR,
  endedAt: NOW - HOUR + 1000,
  cause: 'schedule',
  parts: [],
  position: null,
  tables: [
    { database: 'ccnet_db', table: 'EmailUser', rows: 10 },
    { database: 'seafile_db', table: 'RepoOwner', rows: 5 },
  ],
}
const now = (table: string, rows: number | null, unchangedForMs: number | null): CountedTable => ({
  database: 'ccnet_db',
  table,
  rows,
  unchangedForMs,
})

t.test('drill: a table that has not changed since the dump must have the same rows, and be in it', async t => {
  const equal = besidePrimary(dump, [now('EmailUser', 10, 2 * HOUR)], NOW)
  t.match(equal, { judged: 1, moving: 0, apart: [], problems: [] })
  const short = besidePrimary(dump, [now('EmailUser', 11, 2 * HOUR)], NOW)
  t.match(short.problems, [/ccnet_db.EmailUser has 10 rows in the dump, and 11 on the primary, unchanged since/])
  const absent = besidePrimary(dump, [now('Groups', 3, 2 * HOUR)], NOW)
  t.match(absent.problems, [/ccnet_db.Groups of the primary, 3 rows, is not in the dump/])
})

t.test(
  'drill: one that may have changed is said, not judged; nor one around the dump itself, or not counted',
  async t => {
    const counted = [
      now('EmailUser', 12, HOUR / 2),
      now('New', 4, null),
      now('Around', 4, HOUR + 1000),
      now('Large', null, 2 * HOUR),
      { ...now('RepoOwner', 50, 2 * HOUR), database: 'seafile_db' },
      { ...now('Branch', 50, 2 * HOUR), database: 'seafile_db' },
    ]
    t.strictSame(besidePrimary(dump, counted, NOW), {
      judged: 0,
      moving: 3,
      apart: [
        { table: 'ccnet_db.EmailUser', dumped: 10, now: 12 },
        { table: 'ccnet_db.New', dumped: 0, now: 4 },
        { table: 'ccnet_db.Around', dumped: 0, now: 4 },
      ],
      notCounted: 1,
      problems: [],
    })
  },
)

t.test('drill: counts that are none are refused, and names in them cannot write on a terminal', async t => {
  const [read] = decodeCounts(encodeCounts([now('a\u001b[31m', 1, null)]))
  t.equal(read?.table, 'a?[31m')
  for (const bad of [
    '',
    '{}',
    '{"tables":{}}',
    '{"tables":[{"database":"a","table":"b","rows":-1,"unchangedForMs":null}]}',
  ])
    t.throws(() => decodeCounts(Buffer.from(bad)), { code: 'PROTOCOL_BROKEN' })
})
