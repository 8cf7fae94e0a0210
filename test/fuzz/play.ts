/** One decoder under many cases: what was found, small enough to be kept. */

import fc from 'fast-check'
import { SLOW_MS, judge } from './decoder.js'
import type { Case, Decoder } from './decoder.js'

export interface Found {
  readonly problem: string
  readonly seed: number
  /** For fast-check: leads to the smallest failing case again. */
  readonly path: string
  /** As a file of test/fuzz/corpus. */
  readonly entry: CorpusEntry
}

export interface Played {
  readonly cases: number
  /** Refused, and decoded. */
  readonly refused: number
  readonly seconds: number
  /** Cases that took longer than SLOW_MS: how long, and how they begin. */
  readonly slow: readonly string[]
  readonly found: Found | undefined
}

export interface CorpusEntry {
  readonly decoder: string
  /** What it did, or could do, in a sentence. */
  readonly did: string
  readonly utf8?: string
  readonly hex?: string
  /** Texts and how often each is repeated: for what is too long to be written out. */
  readonly parts?: readonly (readonly [text: string, times: number])[]
  /** What must be done with it; absent: anything that the decoder's contract allows. */
  readonly must?: 'refuse' | 'decode'
}

/** As text where that is the same bytes: a corpus is read by people too. */
export const asEntry = (decoder: string, did: string, input: Buffer): CorpusEntry =>
  Buffer.from(input.toString('utf8')).equals(input)
    ? { decoder, did, utf8: input.toString('utf8') }
    : { decoder, did, hex: input.toString('hex') }

export function inputOf({ utf8, hex, parts }: CorpusEntry): Buffer {
  if (parts) return Buffer.from(parts.map(([text, times]) => text.repeat(times)).join(''))
  return hex === undefined ? Buffer.from(utf8 ?? '') : Buffer.from(hex, 'hex')
}

export async function play(decoder: Decoder, options: { cases: number; seed: number }): Promise<Played> {
  const from = performance.now()
  const slow: string[] = []
  let cases = 0
  let refused = 0
  const counted: Decoder = {
    ...decoder,
    refuses: error => {
      refused += 1
      return decoder.refuses(error)
    },
  }
  const holds = async (one: Case): Promise<boolean> => {
    cases += 1
    const { problem, ms } = await judge(counted, one)
    if (ms > SLOW_MS)
      slow.push(`${Math.round(ms)} ms for ${one.input.byteLength} bytes: ${one.input.toString('utf8', 0, 80)}`)
    return problem === null
  }
  const outcome = await fc.check(fc.asyncProperty(decoder.cases, holds), { seed: options.seed, numRuns: options.cases })
  const found = outcome.failed ? await foundIn(decoder, outcome) : undefined
  return { cases, refused, seconds: (performance.now() - from) / 1000, slow, found }
}

async function foundIn(decoder: Decoder, outcome: fc.RunDetails<[Case]>): Promise<Found> {
  const [one] = outcome.counterexample as [Case]
  const { problem } = await judge(decoder, one)
  const said = problem ?? 'failed once, and not again'
  return {
    problem: said,
    seed: outcome.seed,
    path: outcome.counterexamplePath ?? '',
    entry: asEntry(decoder.name, said.split('\n', 1)[0]?.slice(0, 200) ?? '', one.input),
  }
}
