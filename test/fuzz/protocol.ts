/**
 * `npm run fuzz:protocol`: minutes of nonsense for both daemons, from everybody who can reach them.
 *
 *   npm run fuzz:protocol -- [--minutes 10] [--seed S]
 *
 * Strangers, signed askers, agents that lie, the command, a line that spoils bytes and a primary with the token that
 * spoils frames, while real commits are made. After each minute all is quiet for a moment: both processes are those
 * that were started, memory and open files are bounded, every failure has a code, and the copy is whole and equal.
 */

import { parseArgs } from 'node:util'
import { fuzzProtocol } from './protocol-run.js'

const say = (line: string): void => void process.stdout.write(`${line}\n`)

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1e9)) },
  },
})
const seed = Number(values.seed)
say(`fuzz:protocol: ${values.minutes} minutes, --seed ${seed}`)
const problems = await fuzzProtocol({ stretches: Number(values.minutes), stretchSeconds: 60, seed, say })
for (const problem of problems) say(`VIOLATION ${problem}`)
say(`${problems.length} violations`)
process.exitCode = problems.length === 0 ? 0 : 1
