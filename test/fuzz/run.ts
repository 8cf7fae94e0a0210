/**
 * `npm run fuzz`: every decoder of the product under many thousand cases each.
 *
 *   npm run fuzz -- [--cases 100000] [--seed S] [--decoder NAME]
 *
 * A failure is printed as the file of test/fuzz/corpus that keeps it; the exit code is then 1.
 */

import { parseArgs } from 'node:util'
import { SLOW_MS } from './decoder.js'
import { DECODERS, decoderNamed } from './decoders.js'
import { play } from './play.js'
import type { Found } from './play.js'

const say = (text: string): void => void process.stdout.write(`${text}\n`)

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      cases: { type: 'string', default: '100000' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 1e9)) },
      decoder: { type: 'string' },
    },
  })
  const [cases, seed] = [Number(values.cases), Number(values.seed)]
  const decoders = values.decoder === undefined ? DECODERS : [decoderNamed(values.decoder)]
  say(`fuzz: ${decoders.length} decoders, ${cases} cases each, --seed ${seed}`)
  let failures = 0
  for (const decoder of decoders) {
    const { cases: run, refused, seconds, slow, found } = await play(decoder, { cases, seed })
    const outcome = found ? 'FAILED' : 'no failure'
    say(
      `${decoder.name.padEnd(18)} ${String(run).padStart(7)} cases, ${refused} refused, ${outcome}, ${seconds.toFixed(1)} s`,
    )
    for (const one of slow.slice(0, 3)) say(`  slower than ${SLOW_MS} ms: ${one}`)
    if (found) tell(found)
    failures += found ? 1 : 0
  }
  say(`${decoders.length} decoders, ${failures} failed`)
  process.exitCode = failures === 0 ? 0 : 1
}

function tell({ problem, seed, path, entry }: Found): void {
  say(`  ${problem}`)
  say(`  seed ${seed}, path ${path}`)
  say(`  keep it as test/fuzz/corpus/${entry.decoder}--what-it-did.json:`)
  say(JSON.stringify(entry).slice(0, 4_000))
}

await main()
