/** S1 and S2: a backup that has nothing, beside the peers, each into a directory that was never used. */

import { installedPeers } from '../peers/all.js'
import { PEERS_DO_WITHOUT } from '../peers/peer.js'
import { copyAll, expectEqualHeads, layOurs } from '../ours.js'
import { median } from '../stats.js'
import { measured } from '../usage.js'
import type { Bench, Measurement } from '../bench.js'
import type { Source } from '../data/source.js'
import type { OurCopy } from '../ours.js'
import type { Peer } from '../peers/peer.js'
import type { Section, Table } from '../report.js'
import type { Cost } from '../usage.js'

interface PeerTime extends Cost {
  /** Wall time of the copy and of one `sync -f` after it. */
  readonly syncedSeconds: number
}

interface Times {
  readonly ours: OurCopy[]
  readonly peers: ReadonlyMap<Peer, PeerTime[]>
}

export const firstCopyOfSmall: Measurement = {
  name: 's1',
  about: 'first copy of 100,000 small objects',
  async run(bench) {
    return section('S1, first copy', await bench.small(), await times(bench, await bench.small()))
  },
}

export const firstCopyOfLarge: Measurement = {
  name: 's2',
  about: 'first copy of 2 GB in blocks of 8 MB',
  async run(bench) {
    return section('S2, first copy', await bench.large(), await times(bench, await bench.large()))
  },
}

/** In turn, each round beginning with another, so that none always follows the same one. */
async function times(bench: Bench, source: Source): Promise<Times> {
  const peers = installedPeers()
  const found: Times = { ours: [], peers: new Map(peers.map(peer => [peer, []])) }
  const turns = [
    async () => void found.ours.push(await timeOurs(bench, source)),
    ...peers.map(peer => async () => void found.peers.get(peer)?.push(await timePeer(bench, source, peer))),
  ]
  for (let run = 0; run < bench.settings.runs; run++) {
    for (let n = 0; n < turns.length; n++) await turns[(run + n) % turns.length]?.()
  }
  return found
}

async function timeOurs(bench: Bench, source: Source): Promise<OurCopy> {
  const { workspace } = bench
  await using pair = await layOurs({ dataDir: source.dataDir })
  await workspace.settle(source.dataDir)
  const copy = await copyAll(pair)
  await expectEqualHeads(pair)
  await pair.backup.process?.stop()
  workspace.leave(workspace.keep(pair.backup.dataDir), source.objects)
  bench.say(`ours: ${copy.seconds.toFixed(2)} s`)
  return copy
}

async function timePeer(bench: Bench, source: Source, peer: Peer): Promise<PeerTime> {
  const { workspace } = bench
  const dir = workspace.fresh('peer')
  await using copy = await peer.open(source.dataDir, dir)
  await workspace.settle(source.dataDir)
  const startedAt = performance.now()
  const cost = await measured(() => copy.run(), copy.daemons)
  await workspace.sync()
  const syncedSeconds = (performance.now() - startedAt) / 1000
  workspace.leave(dir, source.objects)
  bench.say(`${peer.name}: ${cost.seconds.toFixed(2)} s, with sync ${syncedSeconds.toFixed(2)} s`)
  return { ...cost, syncedSeconds }
}

function section(what: string, source: Source, found: Times): Section {
  const { objects, bytes, repos } = source
  const size = `${objects.toLocaleString('en')} objects, ${(bytes / 1e6).toFixed(0)} MB, ${repos.length} libraries`
  return { title: `${what}: ${size}`, tables: [table(source, found), daemons(found)], notes: [PEERS_DO_WITHOUT] }
}

function table({ objects, bytes }: Source, { ours, peers }: Times): Table {
  const of = (values: readonly number[], digits: number) => median(values).toFixed(digits)
  const ourSeconds = ours.map(({ seconds }) => seconds)
  const rates = (seconds: number) => [(objects / seconds).toFixed(0), (bytes / 1e6 / seconds).toFixed(0)]
  const ratio = (seconds: readonly number[]) => (median(ourSeconds) / median(seconds)).toFixed(2)
  const both = (of: (copy: OurCopy) => number) => ours.map(of)
  const header = [
    'first copy',
    's',
    'least to most',
    'with sync',
    'ours / it',
    'ours / synced',
    'objects/s',
    'MB/s',
    'CPU s',
    'MB RSS',
  ]
  const own = [
    'ours, durable and verified',
    of(ourSeconds, 2),
    span(ourSeconds),
    of(ourSeconds, 2),
    '1.00',
    '1.00',
    ...rates(median(ourSeconds)),
    of(both(copy => copy.agent.cpuSeconds + copy.backup.cpuSeconds), 1), // prettier-ignore
    of(both(copy => Math.max(copy.agent.peakMb, copy.backup.peakMb)), 0), // prettier-ignore
  ]
  const rows = [...peers].map(([{ name }, runs]) => {
    const seconds = runs.map(run => run.seconds)
    const synced = runs.map(run => run.syncedSeconds)
    return [
      name,
      of(seconds, 2),
      span(seconds),
      of(synced, 2),
      ratio(seconds),
      ratio(synced),
      ...rates(median(seconds)),
      of(runs.map(run => run.cpuSeconds), 1), // prettier-ignore
      of(runs.map(run => run.peakMb), 0), // prettier-ignore
    ]
  })
  return { header, rows: [own, ...rows] }
}

/** Where our time and memory are. */
function daemons({ ours }: Times): Table {
  const of = (value: (copy: OurCopy) => number, digits: number) => median(ours.map(value)).toFixed(digits)
  return {
    header: ['ours', 's', 'CPU s', 'MB RSS'],
    rows: [
      ['agent', '', of(copy => copy.agent.cpuSeconds, 1), of(copy => copy.agent.peakMb, 0)],
      ['backup', '', of(copy => copy.backup.cpuSeconds, 1), of(copy => copy.backup.peakMb, 0)],
      ['backup, start to ready', of(copy => copy.readySeconds, 2), '', ''],
      ['backup, ready to done', of(copy => copy.seconds - copy.readySeconds, 2), '', ''],
    ],
  }
}

const span = (values: readonly number[]): string =>
  `${Math.min(...values).toFixed(2)} to ${Math.max(...values).toFixed(2)}`
