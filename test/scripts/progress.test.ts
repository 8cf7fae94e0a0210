import t from 'tap'
import { openCounter } from '../../scripts/cmd/progress.js'

class Screen {
  written = ''
  constructor(
    readonly isTTY: boolean,
    readonly columns: number,
  ) {}

  write(text: string): boolean {
    this.written += text
    return true
  }
}

t.test('progress: a counter on a terminal keeps to one line, and leaves none behind', async t => {
  const screen = new Screen(true, 12)
  {
    using counter = openCounter(screen as never, 0)
    counter.show(() => 'one of three libraries')
    t.equal(screen.written, 'one of thre', 'narrower than the terminal')
    counter.show(() => 'two')
    counter.clear()
    t.match(screen.written, /\r\x1b\[Ktwo\r\x1b\[K$/)
    counter.clear()
    t.notMatch(screen.written, /\x1b\[K\r\x1b\[K$/, 'nothing is taken away twice')
    counter.show(() => 'three')
  }
  t.match(screen.written, /three\r\x1b\[K$/)
})

t.test('progress: in a log a counter writes whole lines, and not each of them', async t => {
  const all = new Screen(false, 12)
  using often = openCounter(all as never, 0)
  often.show(() => 'one of three libraries')
  often.clear()
  t.equal(all.written, 'one of three libraries\n')

  const few = new Screen(false, 12)
  using seldom = openCounter(few as never, 60_000)
  seldom.show(() => t.fail('nobody asked for it yet') as never)
  t.equal(few.written, '')
})
