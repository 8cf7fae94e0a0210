import t from 'tap'
import { parseInstant } from '../../../src/backup/restore/instant.js'

const NOW = Date.parse('2026-11-21T12:00:00Z')
const iso = (text: string, zone = 'Europe/Paris') => {
  const at = parseInstant(text, zone, NOW)
  return at === null ? null : new Date(at).toISOString()
}

t.test('instant: with a zone, an offset, or in the time of the host; a second is all of it', async t => {
  t.equal(iso('2026-11-20 14:03:10 Europe/Paris'), '2026-11-20T13:03:10.999Z')
  t.equal(iso('2026-07-20 14:03:10 Europe/Paris'), '2026-07-20T12:03:10.999Z')
  t.equal(iso('2026-11-20 14:03 America/St_Johns'), '2026-11-20T17:33:00.999Z')
  t.equal(iso('2026-11-20T14:03:10Z'), '2026-11-20T14:03:10.999Z')
  t.equal(iso('2026-11-20T14:03:10.250+05:30'), '2026-11-20T08:33:10.250Z')
  t.equal(iso('2026-11-20 14:03:10', 'UTC'), '2026-11-20T14:03:10.999Z')
  t.equal(iso('2026-11-20T14:03:10.000Z'), '2026-11-20T14:03:10.000Z', 'unless its parts are named')
  t.equal(iso('latest'), null)
})

t.test('instant: an hour that occurred twice is not guessed; both ways to write it are given, and taken', async t => {
  t.throws(() => iso('2026-10-25 02:30:00 Europe/Paris'), {
    code: 'BAD_REQUEST',
    message: /2026-10-25T02:30:00\+02:00 or 2026-10-25T02:30:00\+01:00/,
  })
  t.equal(iso('2026-10-25T02:30:00+02:00'), '2026-10-25T00:30:00.999Z')
  t.equal(iso('2026-10-25T02:30:00+01:00'), '2026-10-25T01:30:00.999Z')
  t.equal(iso('2026-10-25 03:30 Europe/Paris'), '2026-10-25T02:30:00.999Z', 'an hour later all is clear')
  t.equal(iso('2026-10-25 01:30 Europe/Paris'), '2026-10-24T23:30:00.999Z')
})

t.test('instant: an hour that did not occur is said to be none', async t => {
  t.throws(() => iso('2026-03-29 02:30:00 Europe/Paris'), { code: 'BAD_REQUEST', message: /set forward/ })
  t.equal(iso('2026-03-29 03:00 Europe/Paris'), '2026-03-29T01:00:00.999Z')
})

t.test('instant: a day alone, a day that is none, another zone, the future: each with what is wrong', async t => {
  t.throws(() => iso('2026-11-20'), { code: 'BAD_REQUEST', message: /write it as/ })
  t.throws(() => iso('yesterday'), { code: 'BAD_REQUEST', message: /write it as/ })
  t.throws(() => iso('2026-02-31 10:00 Mars/Base'), { code: 'BAD_REQUEST', message: /Mars\/Base/ })
  t.throws(() => iso('2026-13-01 10:00 UTC'), { code: 'BAD_REQUEST', message: /no such day/ })
  t.throws(() => iso('2026-02-30 10:00 UTC'), { code: 'BAD_REQUEST', message: /no such day/ })
  t.throws(() => iso('2026-11-20 25:00 UTC'), { code: 'BAD_REQUEST' })
  t.throws(() => iso('2026-11-20 10:00 +99:99'), { code: 'BAD_REQUEST', message: /no such offset/ })
  t.equal(iso('2026-11-20 10:00 Zulu'), '2026-11-20T10:00:00.999Z', 'a zone whose name begins with Z is no offset')
  t.throws(() => iso('2026-11-22 10:00 UTC'), { code: 'BAD_REQUEST', message: /not come yet/ })
})
