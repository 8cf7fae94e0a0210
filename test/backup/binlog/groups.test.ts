/** Which events are a transaction as MySQL logs it, and which of them are replayed. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { EVENT, readEvents } from '../../../src/backup/binlog/events.js'
import { BinlogFilter, noneKept } from '../../../src/backup/binlog/filter.js'
import { Groups } from '../../../src/backup/binlog/groups.js'
import { fileOf, queryBody, rowsBody, tableMapBody } from '../../support/binlog-bytes.js'
import type { Test } from 'tap'

type Logged = readonly { readonly type: number; readonly body: Buffer }[]

const gtid: Logged = [{ type: EVENT.gtidMysql, body: Buffer.alloc(42) }]
const says = (text: string, database = ''): Logged => [{ type: EVENT.query, body: queryBody(database, text) }]
const rows = (database: string, type: number = EVENT.writeRows): Logged => [
  { type: EVENT.tableMap, body: tableMapBody(database, 't') },
  { type, body: rowsBody() },
]
const committed: Logged = [{ type: EVENT.xid, body: Buffer.alloc(8) }]
const prepared: Logged = [{ type: EVENT.xaPrepare, body: Buffer.alloc(14) }]
const written = (database: string, type?: number): Logged => [
  ...gtid,
  ...says('BEGIN'),
  ...rows(database, type),
  ...committed,
]
const NAME = "X'6162',X'',1"
const xa = (database: string): Logged => [
  ...gtid,
  ...says(`XA START ${NAME}`),
  ...rows(database),
  ...says(`XA END ${NAME}`),
  ...prepared,
]
const ended = (how: 'COMMIT' | 'ROLLBACK'): Logged => [...gtid, ...says(`XA ${how} ${NAME}`)]

/** How many transactions of seafile_db are replayed, and as how many events. */
async function replayed(t: Test, events: Logged): Promise<{ transactions: number; events: number }> {
  const dir = await mkdtemp(join(tmpdir(), 'sbg-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const path = join(dir, 'x')
  const bytes = fileOf(events)
  await writeFile(path, bytes)
  const kept = noneKept()
  const filter = new BinlogFilter({ databases: ['seafile_db'] }, kept)
  const groups = new Groups()
  let count = 0
  for (const event of readEvents({ path, name: 'x', from: 0, to: bytes.byteLength }))
    count += filter.push(event, groups.place(event)).length
  t.notOk(groups.isWithin)
  return { transactions: kept.transactions, events: count }
}

t.test('groups: a distributed transaction of another database is left out, committed later or rolled back', async t => {
  const events = [
    ...written('seafile_db'),
    ...xa('other'),
    ...written('seafile_db'),
    ...ended('COMMIT'),
    ...xa('other'),
    ...ended('ROLLBACK'),
    ...written('seafile_db'),
  ]
  t.strictSame(await replayed(t, events), { transactions: 3, events: 12 })
})

t.test('groups: one that writes tables which are replayed, or was begun before, is refused', async t => {
  await t.rejects(replayed(t, xa('seafile_db')), { name: 'CannotReplay', message: /\(XA\)/ })
  await t.rejects(replayed(t, ended('COMMIT')), { name: 'CannotReplay', message: /before the dump/ })
  await t.rejects(replayed(t, [...xa('other'), ...ended('COMMIT'), ...ended('COMMIT')]), { message: /before the dump/ })
  t.strictSame(await replayed(t, ended('ROLLBACK')), { transactions: 0, events: 0 })
})

t.test('groups: parts of JSON values are refused where their table is replayed', async t => {
  const events = [...written('other', EVENT.partialUpdateRows), ...written('seafile_db')]
  t.strictSame(await replayed(t, events), { transactions: 1, events: 4 })
  await t.rejects(replayed(t, written('seafile_db', EVENT.partialUpdateRows)), { message: /JSON/ })
})

t.test('groups: LOAD DATA is judged by the table that it writes, and ends no transaction', async t => {
  const load = (table: string, database: string): Logged => [
    { type: EVENT.beginLoad, body: Buffer.from([1, 0, 0, 0, 49]) },
    { type: EVENT.appendBlock, body: Buffer.from([1, 0, 0, 0, 50]) },
    {
      type: EVENT.executeLoad,
      body: queryBody(database, `LOAD DATA INFILE 'x' INTO TABLE ${table} (\`a\`)`, { load: true }),
    },
  ]
  const given: Logged = [{ type: EVENT.deleteFile, body: Buffer.from([1, 0, 0, 0]) }]
  const within = (...events: Logged): Logged => [...gtid, ...says('BEGIN'), ...events, ...committed]

  const events = [...load('`t`', 'other'), ...rows('seafile_db'), ...load('`other`.`t`', ''), ...given]
  t.strictSame(await replayed(t, within(...events)), { transactions: 1, events: 4 })
  for (const ours of [load('`t`', 'seafile_db'), load('`seafile_db`.`t`', 'other')])
    await t.rejects(replayed(t, within(...ours)), { name: 'CannotReplay', message: /LOAD DATA/ })
})
