/**
 * Both daemons as processes on data that was made before, and how long the backup takes to have it all.
 *
 * The agent is ready before anything is timed, as a peer's source and daemon
 * are. Bytes go straight from one daemon to the other, unless a line between
 * them is what is measured: a relay in this process would cost them a core.
 */

import { readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { ControlClient } from '../scripts/cmd/client.js'
import { Pair, never } from '../test/support/pair.js'
import { cpuSeconds, peakMb } from './usage.js'
import type { StatusReport } from '../src/shared/wire/control-messages.js'
import type { PairOptions } from '../test/support/pair.js'

const LOOK_EVERY_MS = 5
/** Answering takes the backup at most a twentieth of its time: with many libraries `status` counts for milliseconds. */
const ANSWERS_PART = 20
const COPY_MS_MAX = 3_600_000

export interface OursOptions extends PairOptions {
  /** seafile-data of the primary; it stays where it is. */
  readonly dataDir: string
  /** Through the pair's relays. */
  readonly relayed?: boolean
}

export interface Usage {
  readonly cpuSeconds: number
  readonly peakMb: number
}

export interface OurCopy {
  /** From the start of the backup's process until every library is synchronized. */
  readonly seconds: number
  /** Until the backup was ready. */
  readonly readySeconds: number
  readonly agent: Usage
  readonly backup: Usage
}

/** The agent is ready, the backup not started. */
export async function layOurs(options: OursOptions): Promise<Pair> {
  const pair = await Pair.lay({ ...options, prepare: dir => useData(dir, options.dataDir) })
  try {
    await pair.startPrimary()
    if (!options.relayed) goStraight(pair)
    return pair
  } catch (error) {
    await pair[Symbol.asyncDispose]()
    throw error
  }
}

/** Starts the backup and waits until it has every library that the primary has now. */
export async function copyAll(pair: Pair): Promise<OurCopy> {
  const libraries = (await pair.heads('primary')).size
  const agentBefore = cpuSeconds(agentPid(pair))
  const startedAt = performance.now()
  await pair.startBackup()
  const readyAt = performance.now()
  await synchronized(pair, libraries)
  const seconds = (performance.now() - startedAt) / 1000
  const usage = (pid: number, before: number) => ({ cpuSeconds: cpuSeconds(pid) - before, peakMb: peakMb(pid) })
  return {
    seconds,
    readySeconds: (readyAt - startedAt) / 1000,
    agent: usage(agentPid(pair), agentBefore),
    backup: usage(backupPid(pair), 0),
  }
}

/** By the backup's own word. What failed and is tried again is said once and waited for; anything else fails at once. */
export async function synchronized(pair: Pair, libraries: number): Promise<void> {
  const until = performance.now() + COPY_MS_MAX
  const said = new Set<string>()
  for (;;) {
    const askedAt = performance.now()
    const { counts, primary, failed } = await statusOf(pair)
    const answerMs = performance.now() - askedAt
    if (primary.lastSweepAgoMs !== null && counts.synchronized === libraries) return
    if (failed.length > 0) await sayFailures(pair, said)
    if (performance.now() > until) throw new Error(`not synchronized within an hour: ${JSON.stringify(counts)}`)
    await delay(Math.max(LOOK_EVERY_MS, ANSWERS_PART * answerMs))
  }
}

async function sayFailures(pair: Pair, said: Set<string>): Promise<void> {
  const { libraries = [] } = await clientOf(pair).status({ libraries: true }, never)
  for (const { failure } of libraries) {
    if (!failure) continue
    if (!failure.retrying) throw new Error(`not synchronized: ${failure.code}, ${failure.message}`)
    if (!said.has(failure.code)) console.log(`tried again: ${failure.code}, ${failure.message}`)
    said.add(failure.code)
  }
}

const clientOf = (pair: Pair): ControlClient => new ControlClient(pair.socketPath)

export const statusOf = (pair: Pair): Promise<StatusReport> => clientOf(pair).status({ libraries: false }, never)

/** That word, checked in both databases. */
export async function expectEqualHeads(pair: Pair): Promise<void> {
  const [theirs, ours] = [await pair.heads('primary'), await pair.heads('backup')]
  const other = [...theirs].filter(([repo, head]) => ours.get(repo) !== head)
  if (other.length > 0) throw new Error(`heads of ${other.length} libraries differ although all are synchronized`)
}

/** Of its API, without the pair's relay. */
export const agentUrl = (pair: Pair): string =>
  String(pair.primary.process?.log.find(({ msg }) => msg === 'primary agent ready')?.['api'])

export const agentPid = (pair: Pair): number => pair.primary.process?.pid ?? -1
export const backupPid = (pair: Pair): number => pair.backup.process?.pid ?? -1

async function useData(primaryDir: string, dataDir: string): Promise<void> {
  const place = join(primaryDir, 'seafile-data')
  rmSync(place, { recursive: true })
  symlinkSync(dataDir, place)
}

/** The backup asks the agent itself; events, which are few, go through the relay. */
function goStraight(pair: Pair): void {
  const conf = join(pair.backup.dir, 'conf', 'seafile.conf')
  const direct = readFileSync(conf, 'utf8').replace(/^primary_url = .*$/m, `primary_url = ${agentUrl(pair)}`)
  writeFileSync(conf, direct)
}

/** Milliseconds of a full sweep, from asking the primary until every library is compared. Nothing must be left to pull. */
export async function sweepMs(pair: Pair): Promise<number> {
  const daemon = pair.backup.process
  if (!daemon) throw new Error('sweep: the backup does not run')
  const from = daemon.log.length
  const everything = { library: null, force: false, full: false }
  for await (const event of clientOf(pair).sync(everything, never)) {
    if (event.type === 'error') throw new Error(`sweep: ${event.error.message}`)
  }
  return Number((await daemon.logged('swept', from))['ms'])
}
