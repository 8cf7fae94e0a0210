/**
 * RST in the middle of every message, on either line and in either direction, while first copies and commits flow.
 * The seed is printed; SEED=n or --seed n runs one again.
 */

import { randomBytes } from 'node:crypto'
import { parseArgs } from 'node:util'
import t from 'tap'
import { Random } from '../kinds/random.js'
import { Pair } from '../support/pair.js'
import { sameBytes } from '../support/replica.js'
import { filesBelow } from '../support/sides.js'
import type { DaemonProcess } from '../../scripts/local/daemon-process.js'
import type { RepoId } from '../../src/shared/ids.js'
import type { Direction } from '../support/relay.js'

const KB = 1024

t.jobs = 2 // most of the time is waiting for the next attempt
const CUTS_EACH = 8
/** A block of this size is only named in a delta, and asked for by itself. */
const LARGE_BYTES = 400 * KB

interface Place {
  readonly line: 'sync' | 'events'
  readonly direction: Direction
  readonly what: string
  /** Bytes into the direction, from the order on; measured, see the comment that the test prints. */
  readonly from: number
  readonly to: number
}

const PLACES: readonly Place[] = [
  { line: 'sync', direction: 'toTarget', what: 'headers of a request', from: 1, to: 330 },
  { line: 'sync', direction: 'toTarget', what: 'body of a request', from: 330, to: 700 },
  { line: 'sync', direction: 'fromTarget', what: 'headers of an answer', from: 1, to: 330 },
  { line: 'sync', direction: 'fromTarget', what: 'first frames', from: 330, to: 3_000 },
  { line: 'sync', direction: 'fromTarget', what: 'middle of a block', from: 3_000, to: 2 * LARGE_BYTES },
  { line: 'events', direction: 'toTarget', what: 'upgrade', from: 1, to: 400 },
  { line: 'events', direction: 'toTarget', what: 'messages', from: 400, to: 1_500 },
  { line: 'events', direction: 'fromTarget', what: 'answer to the upgrade', from: 1, to: 250 },
]

/** What a side says when the line to the other breaks under it; once a reason, not once a reset. */
const MET = { sync: 'PRIMARY_UNREACHABLE', events: 'BACKUP_UNREACHABLE' } as const

function seedOf(): number {
  const { values } = parseArgs({ options: { seed: { type: 'string' } }, strict: false })
  return Number(values.seed ?? process.env['SEED'] ?? Math.floor(Math.random() * 1e9))
}

/** A library's first copy, or a commit to one that is here: small objects, and a block that is asked for by itself. */
class Work {
  readonly #repos: RepoId[] = []

  constructor(
    private readonly pair: Pair,
    private readonly random: Random,
  ) {}

  async next(): Promise<void> {
    const writer = await this.pair.writer()
    const isFirst = this.#repos.length === 0 || this.random.chance(0.4)
    const repo = isFirst
      ? await writer.createLibrary({ name: `Library ${this.#repos.length}`, owner: 'jo@example.com' })
      : (this.random.pick(this.#repos) as RepoId)
    if (isFirst) this.#repos.push(repo)
    for (let n = 0; n < (isFirst ? 3 : 1); n++) {
      const size = this.random.chance(0.5) ? LARGE_BYTES : 700
      await writer.commit(repo, [{ op: 'put', path: `/d${n}/${this.random.below(4)}`, content: randomBytes(size) }])
    }
  }
}

/** What went wrong with the line must be said as such; a defect in the program looks otherwise. */
function uncoded(daemon: DaemonProcess | undefined): unknown[] {
  const WARN = 40
  return (daemon?.log ?? []).filter(
    line => Number(line['level']) >= WARN && (typeof line['code'] !== 'string' || line['code'] === 'INTERNAL'),
  )
}

for (const line of ['sync', 'events'] as const) {
  const places = PLACES.filter(place => place.line === line)
  const count = places.length * CUTS_EACH
  void t.test(
    `network: ${count} resets at any byte of the ${line} line, the copy ends equal, nothing is left`,
    async t => {
      const seed = seedOf()
      t.comment(`SEED=${seed}`)
      const random = new Random(seed)
      await using pair = await Pair.start()
      await pair.settle()
      const { relay } = line === 'sync' ? pair.primary : pair.backup
      const work = new Work(pair, random)
      const cuts = new Map<string, number[]>()

      for (let n = 0; n < count; n++) {
        const { direction, what, from, to } = places[n % places.length] as Place
        const offset = from + random.below(to - from)
        let done = false
        const happened = relay.resetAfter(direction, offset).then(() => (done = true))
        if (what.includes('upgrade')) relay.resetAll() // so that there is one
        await work.next()
        await Promise.race([happened, pair.until('reset', async () => (done || (await work.next()), done))])
        cuts.set(what, [...(cuts.get(what) ?? []), offset])
      }
      for (const [what, offsets] of cuts) t.comment(`${what}: reset after ${offsets.join(', ')} bytes`)

      await pair.settle()
      await pair.until('connected', async () => (await pair.status()).primary.agentsConnected === 1)
      await sameBytes(t, pair)
      t.strictSame(await filesBelow(`${pair.backup.dataDir}/tmpfiles`), [], 'no temp file is left')
      for (const role of ['primary', 'backup'] as const) {
        t.ok(pair[role].process?.running)
        t.strictSame(uncoded(pair[role].process), [], `${role}: no error without its code, none called a defect`)
      }
      const met = pair[line === 'sync' ? 'backup' : 'primary'].process?.log.filter(
        ({ code }) => code === MET[line],
      ).length
      t.ok(Number(met) >= count / 8, `${met} were met in the middle of something`)
    },
  )
}
