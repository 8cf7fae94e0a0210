import t from 'tap'
import { growth } from './gauge.js'
import type { Row } from './gauge.js'

const FLAT = {
  'agent RSS MiB': 210,
  'backup RSS MiB': 220,
  'agent files': 57,
  'backup files': 76,
  'state MiB': 4,
  'temp files': 20,
  'p99 ms': 1000,
}
const rows = (differs: (at: number) => Partial<typeof FLAT>): Row[] =>
  Array.from({ length: 11 }, (_, at) => ({ figures: { ...FLAT, ...differs(at) }, cells: [] }))

t.test('soak: memory, files or a state that rise through the second half are named', async t => {
  t.match(growth(rows(at => ({ 'backup RSS MiB': 220 + at * 30 }))), [/^backup RSS MiB grew/])
  t.match(growth(rows(at => ({ 'agent files': 57 + at * 10 }))), [/^agent files grew/])
  t.match(growth(rows(at => ({ 'state MiB': 4 + at }))), [/^state MiB grew/])
})

t.test('soak: a p99 that rises with time is named', async t => {
  t.match(growth(rows(at => ({ 'p99 ms': 700 + at * 80 }))), [/^p99 ms grew/])
  t.match(growth(rows(at => ({ 'p99 ms': at < 6 ? 900 : 1_200 }))), [/^p99 ms grew/])
})

t.test('soak: rows that only scatter are no growth, and two of them are too few to tell', async t => {
  const scattered = [1401, 876, 1901, 1390, 1185, 690, 1123, 752, 1869, 976, 1278]
  t.strictSame(growth(rows(at => ({ 'p99 ms': scattered[at] ?? NaN }))), [])
  t.strictSame(growth(rows(() => ({}))), [])
  t.match(growth(rows(() => ({})).slice(0, 2)), [/too short/])
})
