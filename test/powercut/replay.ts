/** Each recorded operation done again in the model, the power cut after it in several ways, and the verifier asked. */

import { CrashState } from './crash-state.js'
import type { Random } from '../kinds/random.js'
import type { Choice } from './crash-state.js'
import type { Ignored } from './disk-model.js'
import type { Recording } from './recording.js'
import type { Operation } from './trace.js'

/** Six states of each cut: the three plain ones, and three by chance. */
export const CHOICES: readonly Choice[] = ['dropped', 'all', 'journal', 'random', 'random', 'random']

/** Calls under way at once: a few threads, and the program that syncs. */
const UNDER_WAY_MAX = 64

export interface ReplayOptions {
  readonly random: Random
  /** How many, chosen by chance; default: after every operation that changes or syncs a file. */
  readonly cuts?: number
  readonly ignored?: Ignored
  /** Ends at the first cut with a violation. */
  readonly untilFirst?: boolean
}

export interface Cut {
  /** Index of the operation after which the power went. */
  readonly index: number
  readonly operation: Operation
  readonly choice: Choice
}

export interface Violation extends Cut {
  readonly problem: string
}

export interface Replayed {
  readonly operations: number
  readonly cuts: number
  readonly states: number
  readonly violations: readonly Violation[]
}

/** `said`: what the processes had said until the cut. */
export type Judge = (state: CrashState, said: readonly string[], cut: Cut) => Iterable<string>

export function replay(recording: Recording, judge: Judge, options: ReplayOptions): Replayed {
  const { random, ignored, untilFirst = false } = options
  const { operations } = recording
  const model = recording.model(ignored)
  const chosen = chosenCuts(operations, options)
  const said: string[] = []
  const violations: Violation[] = []
  let [cuts, states] = [0, 0]
  for (const [index, operation] of operations.entries()) {
    model.apply(operation)
    if (operation.kind === 'said') said.push(operation.text)
    if (!chosen.has(index)) continue
    cuts += 1
    const underWay = operations.slice(index + 1, index + 1 + UNDER_WAY_MAX).filter(({ begun }) => begun < operation.at)
    for (const choice of CHOICES) {
      states += 1
      const cut = { index, operation, choice }
      for (const problem of judge(new CrashState(model, choice, random, underWay), said, cut))
        violations.push({ ...cut, problem })
    }
    if (untilFirst && violations.length > 0) break
  }
  return { operations: operations.length, cuts, states, violations }
}

/** Whatever was said is a promise from then on: after each of these too. */
function chosenCuts(operations: readonly Operation[], { cuts, random }: ReplayOptions): Set<number> {
  if (cuts === undefined || cuts >= operations.length) return new Set(operations.keys())
  const chosen = new Set([...operations.keys()].filter(index => operations[index]?.kind === 'said'))
  for (let n = 0; n < cuts; n++) chosen.add(random.below(operations.length))
  return chosen
}

/** One line for each kind of problem, with the first cut that showed it. */
export function summary(violations: readonly Violation[]): string[] {
  const kinds = new Map<string, { first: Violation; count: number }>()
  for (const violation of violations) {
    const kind = violation.problem.replaceAll(/[0-9a-f]{8,}(-[0-9a-f-]+)?/g, '…').replaceAll(/\/[0-9a-f]{2}\//g, '/xx/')
    const known = kinds.get(kind)
    if (known) known.count += 1
    else kinds.set(kind, { first: violation, count: 1 })
  }
  return [...kinds.values()].map(({ first: { problem, index, operation, choice }, count }) => {
    const path = 'path' in operation ? operation.path.split('/').slice(-5).join('/') : ''
    return `${count} x ${problem} (first: ${choice}, after operation ${index}, ${operation.kind} ${path})`
  })
}
