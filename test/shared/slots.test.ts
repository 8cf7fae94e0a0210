import t from 'tap'
import { slotAfter, slotsProblem } from '../../src/shared/slots.js'

const at = (text: string) => Date.parse(text)
const iso = (ms: number) => new Date(ms).toISOString()

t.test('slots: what is no cron expression, has seconds or never comes is refused with why', async t => {
  for (const pattern of ['', 'hourly', '61 * * * *', '* * * *', '0 0 * * * *', '0 0 30 2 *']) {
    t.type(slotsProblem(pattern), 'string', JSON.stringify(pattern))
  }
  for (const pattern of ['0 * * * *', '*/15 * * * *', '30 2,14 * * 1-5'])
    t.equal(slotsProblem(pattern), undefined, pattern)
})

t.test('slots: the one after a moment is later than it, also at a slot', async t => {
  t.equal(iso(slotAfter('0 * * * *', 'UTC', at('2026-11-20T14:00:00Z'))), '2026-11-20T15:00:00.000Z')
  t.equal(iso(slotAfter('0 * * * *', 'UTC', at('2026-11-20T13:59:59.999Z'))), '2026-11-20T14:00:00.000Z')
})

t.test('slots: the hour of a day is that of the time zone, before and after the clocks change', async t => {
  t.equal(iso(slotAfter('0 3 * * *', 'Europe/Paris', at('2026-10-23T12:00:00Z'))), '2026-10-24T01:00:00.000Z')
  t.equal(iso(slotAfter('0 3 * * *', 'Europe/Paris', at('2026-10-25T12:00:00Z'))), '2026-10-26T02:00:00.000Z')
})

t.test('slots: an hour that occurs twice leaves no gap of more than an hour, and never stands still', async t => {
  let slot = at('2026-10-24T22:30:00Z')
  for (let i = 0; i < 6; i++) {
    const next = slotAfter('0 * * * *', 'Europe/Paris', slot)
    t.ok(next > slot && next - slot <= 3_600_000, iso(next))
    slot = next
  }
})

t.test('slots: an hour that does not occur is made up, not waited for until tomorrow', async t => {
  const slot = slotAfter('30 2 * * *', 'Europe/Paris', at('2026-03-28T12:00:00Z'))
  t.ok(slot <= at('2026-03-29T02:30:00Z'), iso(slot))
})
