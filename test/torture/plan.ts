/** Who dies next, and how: by chance, and more often where nobody died yet. */

import { LEAVES_TEMP_FILE, LEAVES_UNRECORDED_HEAD, failpointsOf, nameOf } from './aims.js'
import type { Random } from '../kinds/random.js'
import type { Engine } from '../support/sides.js'
import type { Failpoint, Need } from './aims.js'
import type { Aim } from './scene.js'

const WEIGHTS = { aimed: 66, 'backup, at random': 18, 'agent, at random': 8, 'the command': 8 } as const
const OF_SERVERS = { 'database of the primary': 5, 'database of the backup': 6 } as const
export type Blow = 'backup, aimed' | 'agent, aimed' | Exclude<keyof typeof WEIGHTS, 'aimed'> | keyof typeof OF_SERVERS

const ALL = { ...WEIGHTS, ...OF_SERVERS }

export interface Plan {
  readonly blow: Blow
  readonly aim?: Aim
  readonly need?: Need
}

/** These happen often: not always at the first time in the life of a process. */
const OFTEN: ReadonlySet<Need> = new Set(['commit'])
const NTH_MAX = 10

export class Planner {
  /** Deaths there, by name. */
  readonly hits: Map<string, number>
  readonly #failpoints: readonly Failpoint[]
  /** Aimed at already, hit or not: what is never reached must not take all rounds. */
  readonly #tries = new Map<string, number>()
  #next: Plan[] = []

  constructor(
    private readonly engine: Engine,
    private readonly random: Random,
    firstStarts: boolean,
  ) {
    this.#failpoints = failpointsOf(engine)
    this.hits = new Map(this.#failpoints.map(failpoint => [nameOf(failpoint), 0]))
    if (!firstStarts) return
    // each of these is passed once in the life of a backup
    this.#next = this.#failpoints.filter(({ need }) => need === 'first start').map(failpoint => aimedAt(failpoint, 1))
    this.#next.sort((a, b) => rank(a) - rank(b))
  }

  next(): Plan {
    const due = this.#next.shift()
    if (due) return due
    const weights = this.engine === 'mysql' ? ALL : WEIGHTS
    const blow = this.random.weighted<Exclude<Blow, `${string}, aimed`> | 'aimed'>(weights as typeof ALL)
    return blow === 'aimed' ? this.#aim() : { blow }
  }

  died(victim: 'backup' | 'primary', point: string): void {
    const name = `${victim}: ${point}`
    this.hits.set(name, (this.hits.get(name) ?? 0) + 1)
  }

  neverHit(): string[] {
    return [...this.hits].filter(([, times]) => times === 0).map(([name]) => name)
  }

  /** Where nobody died yet, else anywhere. */
  #aim(): Plan {
    const passed = this.#failpoints.filter(({ need }) => need !== 'first start')
    const unhit = passed.filter(failpoint => this.hits.get(nameOf(failpoint)) === 0)
    const candidates = unhit.length > 0 ? unhit : passed
    const fewest = Math.min(...candidates.map(failpoint => this.#triesAt(failpoint)))
    const failpoint = this.random.pick(candidates.filter(each => this.#triesAt(each) === fewest)) as Failpoint
    this.#tries.set(nameOf(failpoint), this.#triesAt(failpoint) + 1)
    // at first the first time: an aim that is missed covers nothing
    const often = OFTEN.has(failpoint.need) && !unhit.includes(failpoint)
    const plan = aimedAt(failpoint, often ? 1 + this.random.below(1 + this.random.below(NTH_MAX)) : 1)
    const prelude = PRELUDES[failpoint.need]
    if (prelude === undefined) return plan
    this.#next.push(plan)
    return { blow: 'backup, aimed', aim: { point: prelude, nth: 1 }, need: 'commit' }
  }

  #triesAt(failpoint: Failpoint): number {
    return this.#tries.get(nameOf(failpoint)) ?? 0
  }
}

/** What the round before must leave behind. */
const PRELUDES: Partial<Record<Need, string>> = {
  'unrecorded head': LEAVES_UNRECORDED_HEAD,
  'left temp file': LEAVES_TEMP_FILE,
}

const aimedAt = ({ victim, point, need }: Failpoint, nth: number): Plan => ({
  blow: victim === 'backup' ? 'backup, aimed' : 'agent, aimed',
  aim: { point, nth },
  need,
})

/** The state is opened before the rows, and what is committed is not passed again. */
const rank = ({ aim }: Plan): number => {
  const point = aim?.point ?? ''
  return (point.includes('schema') ? 10 : 0) + (point.startsWith('after') ? 1 : 0) + (point.includes('COMMIT') ? 2 : 0)
}
