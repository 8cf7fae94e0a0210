import fc from 'fast-check'
import t from 'tap'
import { asText, lineChanges } from '../../../src/backup/files/diff.js'

const shown = (before: string, after: string) => lineChanges(before, after)?.map(({ sign, line }) => sign + line)

t.test('diff: lines that changed, whole, among those that did not', async t => {
  t.strictSame(shown('a\nb\nc\n', 'a\nB\nc\nd\n'), [' a', '-b', '+B', ' c', '+d'])
  t.strictSame(shown('', 'a\n'), ['+a'])
  t.strictSame(shown('a', ''), ['-a'])
  t.strictSame(shown('same\n', 'same\n'), [' same'])
  t.strictSame(shown('a\r\nb\r\n', 'a\nb\n'), [' a', ' b'], 'line ends of another system are no change')
})

t.test('diff: more different lines than can be told apart are not guessed', async t => {
  const many = Array.from({ length: 60_000 }, (_, i) => String(i)).join('\n')
  t.equal(lineChanges(many, ''), null)
})

t.test('diff: what is left of each side gives that side again', async () => {
  const text = fc
    .array(fc.constantFrom('a', 'b', 'c', '', 'ünï'), { maxLength: 30 })
    .map(lines => lines.map(l => `${l}\n`).join(''))
  fc.assert(
    fc.property(text, text, (before, after) => {
      const changes = lineChanges(before, after) ?? []
      const side = (other: string) =>
        changes
          .filter(({ sign }) => sign !== other)
          .map(({ line }) => `${line}\n`)
          .join('')
      return side('+') === before && side('-') === after
    }),
  )
})

t.test('diff: a NUL byte, or what is no UTF-8, is no text', async t => {
  t.equal(asText(Buffer.from('ünï')), 'ünï')
  t.equal(asText(Buffer.from([0x61, 0, 0x62])), null)
  t.equal(asText(Buffer.from([0xff, 0xfe, 0x62])), null)
})
