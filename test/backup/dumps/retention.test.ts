import t from 'tap'
import { sortOut } from '../../../src/backup/dumps/retention.js'
import type { KeptDump } from '../../../src/backup/dumps/dump-store.js'

const NONE = { hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 }

const dump = (at: string, damage: string | null = null): KeptDump => ({
  dump: { id: at, askedAt: Date.parse(at) } as KeptDump['dump'],
  verdict: damage === null ? null : { at: 0, damage },
})
const newestFirst = (...at: string[]) =>
  at
    .toSorted()
    .toReversed()
    .map(text => dump(text))
const ids = (dumps: readonly KeptDump[], keep: Partial<typeof NONE>, zone = 'UTC') =>
  sortOut(dumps, { ...NONE, ...keep }, zone).kept.map(({ dump }) => dump.dump.id)

t.test('retention: with every rule at nothing, the newest stays', async t => {
  t.strictSame(ids(newestFirst('2026-11-20T10:00:00Z', '2026-11-20T11:00:00Z'), {}), ['2026-11-20T11:00:00Z'])
  t.strictSame(ids([], { hourly: 5 }), [])
})

t.test(
  'retention: the newest one that is whole stays, a damaged one fills no place and goes once a newer is whole',
  async t => {
    const dumps = [
      dump('2026-11-20T12:00:00Z', 'its checksum'),
      dump('2026-11-20T11:00:00Z'),
      dump('2026-11-20T10:30:00Z', 'cut'),
      dump('2026-11-20T10:00:00Z'),
    ]
    t.strictSame(ids(dumps, {}), ['2026-11-20T12:00:00Z', '2026-11-20T11:00:00Z'])
    t.strictSame(ids(dumps, { hourly: 2 }), ['2026-11-20T12:00:00Z', '2026-11-20T11:00:00Z', '2026-11-20T10:00:00Z'])
    const all = [dump('2026-11-20T12:00:00Z', 'a'), dump('2026-11-20T11:00:00Z', 'b')]
    t.strictSame(ids(all, {}), ['2026-11-20T12:00:00Z', '2026-11-20T11:00:00Z'], 'none is whole: nothing goes')
  },
)

t.test('retention: of each period the newest, and periods without a dump are not counted', async t => {
  const dumps = newestFirst(
    '2026-11-20T10:10:00Z',
    '2026-11-20T10:50:00Z',
    '2026-11-20T08:00:00Z',
    '2026-11-18T23:00:00Z',
    '2026-11-18T01:00:00Z',
    '2026-11-01T00:00:00Z',
    '2026-10-31T23:59:00Z',
    '2025-12-31T12:00:00Z',
  )
  t.strictSame(ids(dumps, { hourly: 2 }), ['2026-11-20T10:50:00Z', '2026-11-20T08:00:00Z'])
  t.strictSame(ids(dumps, { daily: 2 }), ['2026-11-20T10:50:00Z', '2026-11-18T23:00:00Z'])
  t.strictSame(ids(dumps, { weekly: 2 }), ['2026-11-20T10:50:00Z', '2026-11-01T00:00:00Z'], 'weeks begin on Monday')
  t.strictSame(ids(dumps, { monthly: 2 }), ['2026-11-20T10:50:00Z', '2026-10-31T23:59:00Z'])
  t.strictSame(ids(dumps, { yearly: 2 }), ['2026-11-20T10:50:00Z', '2025-12-31T12:00:00Z'])
})

t.test('retention: days are those of the time zone, and an hour that occurs twice is two', async t => {
  const evening = newestFirst('2026-11-19T22:30:00Z', '2026-11-19T23:30:00Z')
  t.equal(ids(evening, { daily: 5 }, 'Europe/Paris').length, 2, 'midnight is between them there')
  t.equal(ids(evening, { daily: 5 }, 'UTC').length, 1)
  const twice = newestFirst('2026-10-25T00:30:00Z', '2026-10-25T01:30:00Z')
  t.equal(ids(twice, { hourly: 5 }, 'Europe/Paris').length, 2, 'both are at 02:30')
})

t.test('retention: what stays says which rules hold it', async t => {
  const { kept, removed } = sortOut(
    newestFirst('2026-11-20T10:00:00Z', '2026-11-20T09:00:00Z', '2026-11-20T08:00:00Z'),
    { ...NONE, hourly: 2, daily: 1 },
    'UTC',
  )
  t.strictSame(
    kept.map(({ why }) => why),
    [['newest', 'hourly', 'daily'], ['hourly']],
  )
  t.equal(removed.length, 1)
})
