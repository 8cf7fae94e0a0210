/** Ten new objects in one of the libraries of S1, and nothing new at all: what grows with the change, and what with the tree. */

import { openCatalogReader } from '../../src/shared/catalog/open-catalog.js'
import { silentLog } from '../../src/shared/log.js'
import { arrival, Committing } from '../committing.js'
import { smallFile } from '../data/small-objects.js'
import { Seeded } from '../data/seeded.js'
import { copyAll, layOurs, sweepMs } from '../ours.js'
import { installedPeers } from '../peers/all.js'
import { quantile } from '../stats.js'
import type { Bench, Measurement } from '../bench.js'
import type { Source } from '../data/source.js'
import type { PeerCopy } from '../peers/peer.js'
import type { Section } from '../report.js'
import type { Pair } from '../../test/support/pair.js'
import type { RepoId } from '../../src/shared/ids.js'

/** With their fs objects six, with three directories and the commit ten. */
const FILES = 3
const FOLDER = 0
const CHANGES_PER_RUN = 5
const WARM_UP = 3

export const smallChange: Measurement = {
  name: 's1-change',
  about: 'ten new objects in one library of S1',
  async run(bench) {
    const source = await bench.small()
    await using stack = new AsyncDisposableStack()
    const pair = stack.use(await layOurs({ dataDir: source.dataDir }))
    stack.defer(() => void bench.workspace.keep(pair.backup.dataDir))
    await copyAll(pair)
    const peers = new Map<string, PeerCopy>()
    for (const peer of installedPeers().filter(({ again }) => again)) {
      const copy = stack.use(await peer.open(source.dataDir, bench.workspace.fresh('peer')))
      await copy.run()
      peers.set(peer.name, copy)
    }
    return await measure(bench, source, pair, peers)
  },
}

async function measure(
  bench: Bench,
  source: Source,
  pair: Pair,
  peers: ReadonlyMap<string, PeerCopy>,
): Promise<Section> {
  const ours = { unchanged: [] as number[], changed: [] as number[] }
  const theirs = [...peers].map(([name, copy]) => ({ name, copy, unchanged: [] as number[], changed: [] as number[] }))
  const change = await changes(pair, source)
  await using here = await openCatalogReader(pair.backup.database, silentLog)
  for (let n = 0; n < WARM_UP + CHANGES_PER_RUN * bench.settings.runs; n++) {
    const ourUnchanged = await sweepMs(pair)
    for (const { copy, unchanged } of theirs) unchanged.push(await milliseconds(() => copy.run()))
    const ourChanged = await arrival(await change(), here)
    for (const { copy, changed } of theirs) changed.push(await milliseconds(() => copy.run()))
    if (n < WARM_UP) continue
    ours.unchanged.push(ourUnchanged)
    ours.changed.push(ourChanged)
  }
  const row = (name: string, { unchanged, changed }: typeof ours) => [
    name,
    ...[0.5, 0.95].map(share => quantile(changed, share).toFixed(0)),
    ...[0.5, 0.95].map(share => quantile(unchanged, share).toFixed(0)),
  ]
  const objects = source.objects.toLocaleString('en')
  return {
    title: `S1 with ${objects} objects: ten new ones in one library, and nothing new`,
    tables: [
      {
        header: ['ms', 'ten new p50', 'p95', 'nothing new p50', 'p95'],
        rows: [row('ours', ours), ...theirs.map(peer => row(peer.name, peer))],
      },
    ],
    notes: [
      'Ours: from the commit on the primary until its head is durable on the backup, noticed by itself; nothing new is a ' +
        'full sweep of all heads. Theirs: a run of the program over the whole tree, begun by hand after the commit.',
    ],
  }
}

/** Makes the commits: each of the libraries has its turn. */
async function changes(pair: Pair, { repos }: Source) {
  const committing = await Committing.on(pair)
  const seeded = new Seeded('small changes')
  let n = 0
  return () => {
    const repo = repos[n++ % repos.length] as RepoId
    const files = Array.from({ length: FILES }, () => smallFile(seeded, FOLDER))
    return committing.commit(repo, files)
  }
}

async function milliseconds(work: () => Promise<void>): Promise<number> {
  const startedAt = performance.now()
  await work()
  return performance.now() - startedAt
}
