/** A small drawing of curves over logarithmic axes: a straight line of slope one is a cost that follows the count. */

export interface Curve {
  readonly name: string
  readonly points: ReadonlyArray<readonly [x: number, y: number]>
}

export interface Plot {
  readonly title: string
  readonly x: string
  readonly y: string
  readonly curves: readonly Curve[]
}

const WIDTH = 720
const HEIGHT = 420
const FRAME = { left: 70, right: 190, top: 40, bottom: 50 } as const
const COLOURS = ['#1b6ca8', '#c0392b', '#27863b', '#8e44ad', '#b9770e', '#555555']
const ROW = 18

export function plot({ title, x, y, curves }: Plot): string {
  const points = curves.flatMap(curve => curve.points)
  const across = decades(points.map(([value]) => value))
  const up = decades(points.map(([, value]) => value))
  const toX = (value: number) => scaled(across, value, FRAME.left, WIDTH - FRAME.right)
  const toY = (value: number) => scaled(up, value, HEIGHT - FRAME.bottom, FRAME.top)
  const vertical = powers(across).flatMap(value => [
    line(toX(value), FRAME.top, toX(value), HEIGHT - FRAME.bottom),
    text(toX(value), HEIGHT - FRAME.bottom + ROW, shown(value), 'middle'),
  ])
  const horizontal = powers(up).flatMap(value => [
    line(FRAME.left, toY(value), WIDTH - FRAME.right, toY(value)),
    text(FRAME.left - 8, toY(value) + 4, shown(value), 'end'),
  ])
  const drawn = curves.flatMap(({ name, points: own }, n) => {
    const colour = COLOURS[n % COLOURS.length] ?? 'black'
    const path = own.map(([a, b]) => `${toX(a).toFixed(1)},${toY(b).toFixed(1)}`).join(' ')
    const label = text(WIDTH - FRAME.right + 12, FRAME.top + 12 + n * ROW, name, 'start', colour)
    return [`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`, label]
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    text(FRAME.left, FRAME.top - 18, `${title}; ${y}`, 'start'),
    text((FRAME.left + WIDTH - FRAME.right) / 2, HEIGHT - 10, x, 'middle'),
    ...vertical,
    ...horizontal,
    ...drawn,
    '</svg>\n',
  ].join('\n')
}

interface Decades {
  readonly from: number
  readonly to: number
}

/** Exponents of ten that hold all of the values; at least one decade. */
function decades(values: readonly number[]): Decades {
  const logs = values.filter(value => value > 0).map(Math.log10)
  const from = Math.floor(Math.min(...logs))
  return { from, to: Math.max(from + 1, Math.ceil(Math.max(...logs))) }
}

const powers = ({ from, to }: Decades): number[] => Array.from({ length: to - from + 1 }, (_, n) => 10 ** (from + n))

/** What is not above 0 lies on the lower edge. */
function scaled({ from, to }: Decades, value: number, low: number, high: number): number {
  const share = value > 0 ? (Math.log10(value) - from) / (to - from) : 0
  return low + share * (high - low)
}

const shown = (value: number): string =>
  value >= 1 ? value.toLocaleString('en') : String(Number(value.toPrecision(1)))

const line = (x1: number, y1: number, x2: number, y2: number): string =>
  `<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}" stroke="#dddddd"/>`

const text = (x: number, y: number, words: string, anchor: string, colour = 'black'): string =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" fill="${colour}">${escaped(words)}</text>`

const escaped = (words: string): string => words.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
