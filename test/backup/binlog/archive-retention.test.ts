/** Which files of the archive stay. */

import fc from 'fast-check'
import t from 'tap'
import { oldestKept } from '../../../src/backup/binlog/archive-retention.js'
import type { DatedRun, HeldFrom } from '../../../src/backup/binlog/archive-retention.js'

const DAY = 24 * 3_600_000
const NOW = 100 * DAY

/** A file a day, the last one of today. `n` counts from 1, the server's names from `name`. */
function run(number: number, first: number, last: number, name = 1): DatedRun {
  const days = Array.from({ length: last - first + 1 }, (_, i) => first + i)
  return {
    run: number,
    began: first * DAY,
    isDamaged: false,
    files: days.map((day, i) => ({ n: i + 1, name: `bin.${name + i}`, changedAt: (day + 1) * DAY - 1 })),
  }
}
const dump = (day: number, file: string | null): HeldFrom => ({
  position: file === null ? null : { file, offset: 400 },
  endedAt: day * DAY + 5,
})
const kept = (runs: readonly DatedRun[], dumps: readonly HeldFrom[]) => oldestKept(runs, dumps, 14 * DAY, NOW)

t.test('binlog retention: from the file of the newest dump on, however old it is', async t => {
  const runs = [run(1, 10, 60), run(2, 60, 99)]
  t.strictSame(kept(runs, [dump(20, 'bin.11')]), { run: 1, n: 11 })
  t.strictSame(kept(runs, [dump(20, 'bin.11'), dump(15, 'bin.6')]), { run: 1, n: 11 })
  t.strictSame(kept(runs, [dump(98, 'bin.39')]), { run: 2, n: 39 })
})

t.test('binlog retention: of dumps that are kept for years only those of the last days hold it', async t => {
  const runs = [run(1, 10, 60), run(2, 60, 99)]
  const dumps = [dump(98, 'bin.39'), dump(90, 'bin.31'), dump(85, 'bin.26'), dump(20, 'bin.11')]
  t.strictSame(kept(runs, dumps), { run: 2, n: 31 })
  t.strictSame(kept(runs, dumps.toReversed()), { run: 2, n: 31 })
})

t.test(
  'binlog retention: a name that came again after a reset is of the run that was there when the dump was',
  async t => {
    const runs = [run(1, 10, 60), run(2, 60, 99)]
    t.strictSame(kept(runs, [dump(62, 'bin.3')]), { run: 2, n: 3 })
    t.strictSame(kept(runs, [dump(12, 'bin.3')]), { run: 1, n: 3 })
  },
)

t.test('binlog retention: where no dump can be gone on from, the last days stay', async t => {
  const runs = [run(1, 10, 60), run(2, 60, 99)]
  for (const dumps of [[], [dump(98, null)], [dump(5, 'bin.0')]])
    t.strictSame(kept(runs, dumps), { run: 2, n: 27 }, JSON.stringify(dumps))
  t.strictSame(kept([run(1, 10, 20)], []), { run: 1, n: 11 }, 'the file that is written to always stays')
  t.equal(kept([], [dump(98, 'bin.1')]), null)
})

t.test(
  'binlog retention: a damaged run stays as long as a dump of the last days may need it, and no longer',
  async t => {
    const damaged: DatedRun = { run: 1, began: 10 * DAY, files: [], isDamaged: true }
    const runs = [damaged, run(2, 60, 99)]
    const newest = dump(98, 'bin.39')
    t.strictSame(kept(runs, [newest, dump(50, 'bin.41')]), { run: 2, n: 39 })
    t.strictSame(kept([damaged, run(2, 90, 99)], [dump(98, 'bin.9'), dump(88, 'bin.79')]), { run: 1, n: 1 })
    t.strictSame(kept(runs, []), { run: 2, n: 27 })
    t.strictSame(kept([damaged], [dump(98, 'bin.1')]), { run: 1, n: 1 })
  },
)

t.test('binlog retention: nothing that a dump of the last days needs goes, whatever else there is', async t => {
  const some = fc.record({ day: fc.integer({ min: 10, max: 99 }), dumps: fc.array(fc.integer({ min: 10, max: 99 })) })
  fc.assert(
    fc.property(some, ({ day, dumps }) => {
      const runs = [run(1, 10, day), run(2, day, 99, 1_000)]
      const held = dumps.map(at => dump(at, at < day ? `bin.${at - 9}` : `bin.${1_000 + at - day}`))
      const keep = kept(runs, held)
      const needing = dumps.filter(at => at * DAY + 5 >= NOW - 14 * DAY || at === Math.max(...dumps))
      return needing.every(at => {
        const place = at < day ? { run: 1, n: at - 9 } : { run: 2, n: at - day + 1 }
        return keep !== null && (keep.run < place.run || (keep.run === place.run && keep.n <= place.n))
      })
    }),
  )
  t.pass('held')
})
