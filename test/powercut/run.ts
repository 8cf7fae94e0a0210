/**
 * `npm run powercut`: the power cut after every operation on files that a backup makes, and the copy verified each time.
 *
 *   npm run powercut -- [--seed N] [--cuts N] [--starts 20] [--small] [--proof]
 *
 * At the level of file operations, as strace records them, not of blocks of a
 * disk: what a file system may forget is modelled (disk-model.ts,
 * crash-state.ts). Rows are in SQLite here; MariaDB's own durability is not
 * looked at. `--starts`: so many crash states are laid on the disk and given to
 * a real daemon. `--proof`: also with the syncs of one class of files left
 * out; then there must be violations.
 */

import { parseArgs } from 'node:util'
import { Random } from '../kinds/random.js'
import { replay, summary } from './replay.js'
import { WITHOUT, judgeOf, scratchDirectory } from './story.js'
import { startOnCrashStates } from './starts.js'
import { cannotTrace } from './traced-process.js'
import { FULL, SMALL, record } from './workload.js'
import type { Recorded } from './workload.js'

/** Enough for a proof. */
const PROOF_CUTS = 400

const say = (text: string): void => void process.stdout.write(`${text}\n`)

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string' },
      cuts: { type: 'string' },
      starts: { type: 'string', default: '20' },
      small: { type: 'boolean', default: false },
      proof: { type: 'boolean', default: false },
    },
  })
  const reason = cannotTrace()
  if (reason !== false) return say(`skipped: ${reason}`)
  const seed = Number(values.seed ?? Math.floor(Math.random() * 1e9))
  const random = new Random(seed)
  const clock = stopwatch()
  say(`seed ${seed}`)
  await using scratch = await scratchDirectory()
  await using recorded = await record(values.small ? SMALL : FULL, random)
  const { operations } = recorded.recording
  say(`${operations.length} file operations recorded in ${clock()} s: ${counted(operations.map(({ kind }) => kind))}`)

  const problems = recorded.recording.differences().map(difference => `the trace is not whole: ${difference}`)
  const cuts = values.cuts === undefined ? {} : { cuts: Number(values.cuts) }
  const judge = await judgeOf(recorded, scratch.path)
  const { violations, ...figures } = replay(recorded.recording, judge, { random, ...cuts })
  problems.push(...summary(violations))
  say(`${figures.cuts} cuts, ${figures.states} crash states, ${violations.length} violations, ${clock()} s`)
  if (values.proof) problems.push(...(await prove(recorded, random, scratch.path)))
  const starts = await startOnCrashStates(recorded, Number(values.starts), random)
  say(`${starts.started} daemons started on crash states, ${starts.problems.length} violations, ${clock()} s`)
  problems.push(...starts.problems)
  for (const problem of problems) say(`  VIOLATION ${problem}`)
  process.exitCode = problems.length === 0 ? 0 : 1
}

/** Each class of syncs that nobody would miss: none. */
async function prove(recorded: Recorded, random: Random, scratch: string): Promise<string[]> {
  const missed: string[] = []
  for (const [name, ignored] of Object.entries(WITHOUT)) {
    const judge = await judgeOf(recorded, scratch)
    const { states, violations } = replay(recorded.recording, judge, { random, ignored, cuts: PROOF_CUTS })
    say(`without the syncs of ${name}: ${violations.length} violations in ${states} crash states`)
    for (const line of summary(violations).slice(0, 2)) say(`    ${line}`)
    if (violations.length === 0) missed.push(`nobody sees that the syncs of ${name} are left out`)
  }
  return missed
}

function stopwatch(): () => number {
  const startedAt = performance.now()
  return () => Math.round((performance.now() - startedAt) / 1000)
}

function counted(kinds: readonly string[]): string {
  const counts = new Map<string, number>()
  for (const kind of kinds) counts.set(kind, (counts.get(kind) ?? 0) + 1)
  return [...counts].map(([kind, count]) => `${count} ${kind}`).join(', ')
}

await main()
