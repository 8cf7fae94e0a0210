/** Which deletions on the primary look like a table that was lost. */

import t from 'tap'
import { LATELY_MS, wentTogether } from '../../../src/backup/restore/went-together.js'
import type { RepoId } from '../../../src/shared/ids.js'
import type { Gone } from '../../../src/backup/restore/went-together.js'

const NOW = Date.UTC(2026, 10, 22)
const HOUR = 3_600_000

const gone = (count: number, since: number | null, from = 0): Gone[] =>
  Array.from({ length: count }, (_, i) => ({
    repo: `00000000-0000-4000-8000-${String(from + i).padStart(12, '0')}` as RepoId,
    since,
  }))

t.test('went together: all that there were, be they few, and whenever it was', async t => {
  t.equal(wentTogether(gone(3, NOW - HOUR), 0, NOW).size, 3)
  t.equal(wentTogether(gone(1, null), 0, NOW).size, 1)
  t.equal(wentTogether(gone(2, NOW - 2 * LATELY_MS), 0, NOW).size, 2)
  t.equal(wentTogether([], 0, NOW).size, 0, 'nothing was there')
})

t.test('went together: more than half within an hour, also when single ones went before and after', async t => {
  const before = gone(3, NOW - 48 * HOUR, 100)
  const wave = [...gone(6, NOW - 10 * HOUR), ...gone(6, NOW - 9.5 * HOUR, 50)]
  const after = gone(1, NOW - HOUR, 200)

  const found = wentTogether([...after, ...wave, ...before], 10, NOW)

  t.strictSame([...found].sort(), wave.map(({ repo }) => repo).sort())
})

t.test('went together: not half of them, not one after the other, not a few, and not of long ago', async t => {
  t.equal(wentTogether(gone(12, NOW - HOUR), 12, NOW).size, 0, 'half')
  t.equal(wentTogether(gone(9, NOW - HOUR), 1, NOW).size, 0, 'a few')
  t.equal(wentTogether(gone(500, NOW - LATELY_MS - HOUR), 5, NOW).size, 0, 'long ago')
  t.equal(wentTogether(gone(500, null), 5, NOW).size, 0, 'nobody noted when')
  const each = Array.from({ length: 20 }, (_, i) => gone(1, NOW - 2 * i * HOUR, i)).flat()
  t.equal(wentTogether(each, 5, NOW).size, 0, 'one after the other')
})
