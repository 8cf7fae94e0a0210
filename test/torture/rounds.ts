/** One round: everything runs, somebody dies, and the backup is looked at cold. */

import { setTimeout as delay } from 'node:timers/promises'
import { Planner } from './plan.js'
import { Scene, diedAt } from './scene.js'
import type { Random } from '../kinds/random.js'
import type { Engine } from '../support/sides.js'
import type { Act } from './load.js'
import type { Need } from './aims.js'
import type { Plan } from './plan.js'

/** Until an aimed shot counts as missed. Not an assertion: the round goes on, and dies by chance. */
const AIM_MS_MAX = 4_000
const RANDOM_MS_MAX = 1_200
/** Of work between the start and a death at random. */
const HEADS_MAX = 8
const MOMENT_MS_MAX = 120
/** All that was found whole is looked at again, this often. */
const FORGET_EVERY = 50
/** From the primary, until the line is cut: in the middle of a pull. */
const CUT_BYTES = 3_000
const CUT_BYTES_MORE = 60_000

const ACTS: Readonly<Record<Need, readonly Act[]>> = {
  start: [],
  'first start': [],
  commit: ['commit', 'create'],
  bulk: ['heap'],
  create: ['create', 'create'],
  share: ['share', 'share'],
  history: ['history', 'history', 'history', 'history'],
  trash: ['trash'],
  cut: ['large', 'large'],
  'left temp file': [],
  'unrecorded head': [],
  command: [],
  position: ['commit', 'commit'],
}

export interface Round {
  readonly plan: Plan
  /** Where it died by an aimed shot. */
  readonly hit: string | undefined
  readonly problems: readonly string[]
}

export class Torture implements AsyncDisposable {
  #round = 0

  private constructor(
    readonly scene: Scene,
    private readonly random: Random,
    readonly planner: Planner,
  ) {}

  /** `firstStarts`: the first rounds die while the backup makes its tables. */
  static async begin(engine: Engine, random: Random, { firstStarts = true } = {}): Promise<Torture> {
    const planner = new Planner(engine, random, firstStarts)
    const torture = new Torture(await Scene.open(engine, random), random, planner)
    torture.scene.load.start()
    return torture
  }

  async round(): Promise<Round> {
    this.#round += 1
    const plan = this.planner.next()
    const { scene } = this
    await this.#strike(plan)
    const hit = this.#hit(plan)
    scene.pair.primary.relay.onBytes = () => {}
    scene.pair.primary.relay.mend()
    await scene.startDatabases()
    if (this.#round % FORGET_EVERY === 0) scene.copy.forget()
    const { problems } = await scene.lookCold()
    return { plan, hit, problems }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.scene[Symbol.asyncDispose]()
  }

  async #strike(plan: Plan): Promise<void> {
    const { scene } = this
    const { aim, need } = plan
    scene.load.nextRound()
    if (need) scene.load.want(...ACTS[need])
    const aimsAtAgent = plan.blow === 'agent, aimed'
    if (aimsAtAgent || !scene.agent?.running) await scene.startAgent(aimsAtAgent ? aim : undefined)
    if (need === 'cut') this.#cutSoon()
    // killed while it starts, or when it is ready and at work: both
    const starting = scene.startBackup(plan.blow === 'backup, aimed' ? aim : undefined)
    switch (plan.blow) {
      case 'backup, aimed':
      case 'agent, aimed': {
        const victim = aimsAtAgent ? scene.agent : scene.backup
        await starting
        if (need) scene.load.want(...ACTS[need])
        if (need === 'command') void scene.pair.sync(null).catch(() => {}) // dies before the answer is whole
        return scene.listen(Promise.race([victim?.exited, delay(AIM_MS_MAX, null, { ref: false })]), this.random)
      }
      case 'backup, at random':
        if (this.random.chance(0.3)) await Promise.race([starting, delay(this.random.below(RANDOM_MS_MAX))])
        else await starting.then(() => this.#work())
        await scene.backup?.kill()
        return starting
      default:
        await starting
        await this.#work()
        await this.#killOther(plan)
        return this.#work(0)
    }
  }

  /** Until some heads are recorded, which is later on a busy machine, and a moment more. */
  async #work(headsMax = HEADS_MAX): Promise<void> {
    const { scene, random } = this
    const [heads, moment] = [random.below(headsMax), random.below(MOMENT_MS_MAX)]
    const at = scene.headsRecorded + heads
    const bound = performance.now() + AIM_MS_MAX
    const worked = async () => {
      while (scene.headsRecorded < at && scene.backup?.running && performance.now() < bound) await delay(10)
      await delay(moment)
    }
    await scene.listen(worked(), random)
  }

  async #killOther({ blow }: Plan): Promise<void> {
    const { scene } = this
    if (blow === 'agent, at random') await scene.agent?.kill()
    else if (blow === 'the command') await scene.command(this.random.below(RANDOM_MS_MAX / 2))
    else {
      await scene.killDatabase(blow === 'database of the primary' ? 'primary' : 'backup')
      await this.#work(0)
      if (this.random.chance(0.5)) await scene.startDatabases() // else the backup dies while it is away
    }
  }

  #cutSoon(): void {
    const { relay } = this.scene.pair.primary
    const at = relay.bytesFromTarget + CUT_BYTES + this.random.below(CUT_BYTES_MORE)
    relay.onBytes = total => total > at && relay.cut()
  }

  #hit({ blow }: Plan): string | undefined {
    const victim = blow === 'agent, aimed' ? 'primary' : 'backup'
    const point = diedAt(victim === 'primary' ? this.scene.agent : this.scene.backup)
    if (point !== undefined) this.planner.died(victim, point)
    return point
  }
}
