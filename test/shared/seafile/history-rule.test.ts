import t from 'tap'
import { followsParents, historyRule } from '../../../src/shared/seafile/history-rule.js'

const NOW = 1_800_000_000
const DAY = 86_400

t.test('history rule: which row counts, and what it makes of now', async t => {
  const none = { limitDays: null, defaultDays: null, confKeepDays: null, validSince: null }
  const cases: Array<[string, Partial<Parameters<typeof historyRule>[0]>, number]> = [
    ['nothing set: all history', {}, -1],
    ['the library has a limit', { limitDays: 30 }, NOW - 30 * DAY],
    ['the limit is before the default', { limitDays: 30, defaultDays: 5, confKeepDays: 7 }, NOW - 30 * DAY],
    ['the default is before seafile.conf', { defaultDays: 5, confKeepDays: 7 }, NOW - 5 * DAY],
    ['seafile.conf comes last', { confKeepDays: 7 }, NOW - 7 * DAY],
    ['any negative number of days is all history', { limitDays: -7, defaultDays: 5 }, -1],
    ['no days: only the head', { limitDays: 0 }, 0],
    ['no days win over valid-since', { limitDays: 0, validSince: NOW - DAY }, 0],
    ['valid-since later than the limit', { limitDays: 30, validSince: NOW - DAY }, NOW - DAY],
    ['valid-since earlier than the limit', { limitDays: 30, validSince: NOW - 90 * DAY }, NOW - 30 * DAY],
    ['valid-since without a limit', { validSince: NOW - 90 * DAY }, NOW - 90 * DAY],
    ['valid-since with all history', { limitDays: -1, validSince: NOW - DAY }, NOW - DAY],
    ['a negative valid-since is none', { validSince: -5 }, -1],
    ['a limit from before 1970 is all history', { limitDays: 100_000 }, -1],
  ]
  for (const [title, rule, expected] of cases) t.equal(historyRule({ ...none, ...rule }, NOW), expected, title)
})

t.test('history rule: a kept commit older than the limit is the last on its branch, but the head never is', async t => {
  t.equal(followsParents(-1, 0, false), true, 'all history')
  t.equal(followsParents(0, NOW, true), false, 'only the head')
  t.equal(followsParents(NOW, NOW, false), true, 'as old as the limit')
  t.equal(followsParents(NOW, NOW - 1, false), false, 'older')
  t.equal(followsParents(NOW, NOW - 1, true), true, 'an old head')
})
