/** The protocol fuzzer for some seconds, and the checks that it relies on. The seed is printed; SEED=n runs one again. */

import t from 'tap'
import { Tally, answersIn } from './answers.js'
import { fuzzProtocol } from './protocol-run.js'
import { growthIn, isCoded } from './watch.js'

t.test(
  'protocol: nonsense from everybody who can reach them ends no daemon, and no failure is without a code',
  async t => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 1e9)
    t.comment(`SEED=${seed}`)
    const problems = await fuzzProtocol({ stretches: 2, stretchSeconds: 6, seed, say: line => void t.comment(line) })
    t.strictSame(problems, [], `SEED=${seed}`)
  },
)

t.test('protocol: a refusal without a code in its body is found among others', async t => {
  const coded = 'HTTP/1.1 400 Bad Request\r\ncontent-length: 22\r\n\r\n{"code":"BAD_REQUEST"}'
  const chunked = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'
  const uncoded = 'HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\nnothing here'
  t.strictSame(
    answersIn(Buffer.from(chunked + coded + uncoded)).map(({ status, body }) => [status, body.toString()]),
    [
      [200, 'abc'],
      [400, '{"code":"BAD_REQUEST"}'],
      [404, 'nothing here'],
    ],
  )
  const tally = new Tally()
  tally.heard('agent', Buffer.from(chunked + coded), Buffer.alloc(0))
  t.strictSame(tally.uncoded, [])
  for (const body of ['', 'nothing here', '{"code":"OF_NOBODY"}', '{}']) {
    const one = new Tally()
    one.heard(
      'agent',
      Buffer.from(`HTTP/1.1 400 Bad\r\ncontent-length: ${body.length}\r\n\r\n${body}`),
      Buffer.alloc(0),
    )
    t.equal(one.uncoded.length, 1, JSON.stringify(body))
  }
})

t.test('protocol: an error without a code, and INTERNAL at any level, is found in a log', async t => {
  t.equal(isCoded({ msg: 'x', level: 50 }), false)
  t.equal(isCoded({ msg: 'x', level: 50, code: 'OF_NOBODY' }), false)
  t.equal(isCoded({ msg: 'x', level: 40, code: 'INTERNAL' }), false)
  t.equal(isCoded({ msg: 'x', level: 40, err: { code: 'INTERNAL' } }), false)
  t.equal(isCoded({ msg: 'x', level: 50, code: 'STORE_FULL' }), true)
  t.equal(isCoded({ msg: 'x', level: 40 }), true)
})

t.test('protocol: memory that grows in the second half, and files that stay open, are found', async t => {
  const row = (rss: number, files: number) => ({
    rss: { primary: rss, backup: 200 },
    files: { primary: files, backup: 50 },
  })
  t.strictSame(growthIn([150, 240, 260, 250, 270].map(rss => row(rss, 45))), [], 'growing to its size is none')
  t.match(growthIn([150, 200, 250, 300, 350].map(rss => row(rss, 45))), [/^primary grew by 100 MB/])
  t.match(growthIn([40, 50, 60, 70].map(files => row(200, files))), [/^primary has 30 more open files/])
})
