/** What people notice on the primary: how long a commit takes while S2 is copied for the first time, and when it is on the backup. */

import { setTimeout as delay } from 'node:timers/promises'
import { Arrivals } from '../../test/soak/arrivals.js'
import { Committing } from '../committing.js'
import { Seeded } from '../data/seeded.js'
import { OWNER } from '../data/source.js'
import { copyAll, layOurs } from '../ours.js'
import { RsyncDaemon } from '../peers/rsync-daemon.js'
import { isInstalled } from '../programs.js'
import { quantile } from '../stats.js'
import type { RepoId } from '../../src/shared/ids.js'
import type { Pair } from '../../test/support/pair.js'
import type { Bench, Measurement } from '../bench.js'

const ALONE_MS = 10_000
const FILE_BYTES = 4_000
/** As a few busy people: the machine is not the writer's alone. */
const PAUSE_MS = 20

/** Milliseconds of each commit. */
type Samples = number[]
interface Found {
  readonly alone: Samples
  readonly whileOurs: Samples
  readonly whileRsync: Samples
  /** From the commit to its durable head on the backup, while it copies S2. */
  readonly arrived: Samples
}

export const writerBeside: Measurement = {
  name: 'writer',
  about: "a writer's commits on the primary while S2 is copied for the first time",
  async run(bench) {
    const found: Found = { alone: [], whileOurs: [], whileRsync: [], arrived: [] }
    for (let run = 0; run < bench.settings.runs; run++) await measure(bench, found)
    const row = (name: string, samples: Samples) => [
      name,
      String(samples.length),
      ...[0.5, 0.95, 0.99].map(share => quantile(samples, share).toFixed(1)),
      ((100 * quantile(samples, 0.95)) / quantile(found.alone, 0.95) - 100).toFixed(0),
    ]
    const rows = [row('commit, no copy under way', found.alone), row('commit, while ours copies S2', found.whileOurs)]
    if (found.whileRsync.length > 0) rows.push(row('commit, while rsync copies S2', found.whileRsync))
    const { arrived } = found
    const arrivedCells = [0.5, 0.95, 0.99].map(share => quantile(arrived, share).toFixed(1))
    return {
      title: 'Commits of a writer on the primary beside a first copy',
      tables: [
        { header: ['ms', 'commits', 'p50', 'p95', 'p99', '% more p95'], rows },
        {
          header: ['ms', 'commits', 'p50', 'p95', 'p99'],
          rows: [['to a durable head meanwhile', String(arrived.length), ...arrivedCells]],
        },
      ],
      notes: ['Primary, backup and writer share the processors and the disk, which they would not in a real set-up.'],
    }
  },
}

async function measure(bench: Bench, found: Found): Promise<void> {
  const { dataDir } = await bench.large()
  await using pair = await layOurs({ dataDir })
  const committing = await Committing.on(pair)
  const repo = await committing.writer.createLibrary({ name: 'Notes', owner: OWNER })
  const seeded = new Seeded('writer beside') // one for all: the same change again would be no commit
  const write = (until: Promise<unknown>, samples: Samples, arrivals?: Arrivals) =>
    writeUntil(until, { committing, repo, seeded, samples, arrivals })
  await bench.workspace.settle(dataDir)
  await write(delay(ALONE_MS * Math.min(1, bench.settings.scale)), found.alone)
  if (isInstalled('rsync')) await besideRsync(bench, dataDir, until => write(until, found.whileRsync))
  await bench.workspace.settle(dataDir)
  await besideOurs(pair, found, write)
}

async function besideOurs(
  pair: Pair,
  found: Found,
  write: (until: Promise<unknown>, samples: Samples, arrivals: Arrivals) => Promise<void>,
): Promise<void> {
  await using arrivals = new Arrivals(pair.backup.database)
  await write(copyAll(pair), found.whileOurs, arrivals)
  await arrivals.all()
  found.arrived.push(...arrivals.take().times)
}

async function besideRsync(
  { workspace }: Bench,
  dataDir: string,
  write: (until: Promise<unknown>) => Promise<void>,
): Promise<void> {
  await using daemon = await RsyncDaemon.start(workspace.fresh('peer'))
  // files that come and go beside it are an error to rsync, not to us
  await write(daemon.run(dataDir).catch(() => {}))
}

interface Writing {
  readonly committing: Committing
  readonly repo: RepoId
  readonly seeded: Seeded
  readonly samples: Samples
  readonly arrivals: Arrivals | undefined
}

/** One commit after another, with a pause between, until that is over. */
async function writeUntil(
  until: Promise<unknown>,
  { committing, repo, seeded, samples, arrivals }: Writing,
): Promise<void> {
  let over = false
  const ending = until.finally(() => (over = true))
  for (let n = 0; !over; n++) {
    const content = seeded.bytes(FILE_BYTES)
    const startedAt = performance.now()
    const path = `/notes ${n % 10}/note ${seeded.bytes(4).toString('hex')}.md`
    const { head, at } = await committing.commit(repo, [{ op: 'put', path, content }])
    samples.push(at - startedAt)
    arrivals?.expect(repo, head, at)
    await delay(PAUSE_MS)
  }
  await ending
}
