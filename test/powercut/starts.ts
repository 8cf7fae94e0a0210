/** The real daemon started on what a power cut left, beside the primary as it is now: it ends with the same copy. */

import { cp, rename, rm } from 'node:fs/promises'
import { DiskObjectReader } from '../../src/shared/store/disk-object-store.js'
import { CopyCheck } from '../kinds/verify.js'
import { CrashState } from './crash-state.js'
import type { Random } from '../kinds/random.js'
import type { Pair } from '../support/pair.js'
import type { Choice } from './crash-state.js'
import type { Recorded } from './workload.js'

const KINDS = ['commits', 'fs', 'blocks'] as const

export interface Started {
  readonly started: number
  readonly problems: readonly string[]
}

export async function startOnCrashStates(
  { pair, recording }: Recorded,
  count: number,
  random: Random,
): Promise<Started> {
  const { operations } = recording
  const cuts = Array.from({ length: count }, () => random.below(operations.length)).sort((a, b) => a - b)
  const model = recording.model()
  const problems: string[] = []
  const aside = `${pair.backup.dir}.aside`
  await rename(pair.backup.dir, aside)
  let at = 0
  for (const [n, cut] of cuts.entries()) {
    while (at <= cut) model.apply(operations[at++] as (typeof operations)[number])
    const choice: Choice = n % 3 === 0 ? 'dropped' : 'random'
    await rm(pair.backup.dir, { recursive: true, force: true })
    new CrashState(model, choice, random).layOut(pair.backup.dir)
    await cp(`${aside}/conf`, `${pair.backup.dir}/conf`, { recursive: true }) // not ours to lose
    const found = await ended(pair)
    problems.push(...found.map(problem => `started after operation ${cut} (${choice}): ${problem}`))
  }
  await rm(pair.backup.dir, { recursive: true, force: true })
  await rename(aside, pair.backup.dir)
  return { started: cuts.length, problems }
}

/** A sentence for each thing that is not as on the primary once everything has settled. */
async function ended(pair: Pair): Promise<string[]> {
  const problems: string[] = []
  try {
    await pair.startBackup()
    await pair.settle()
    // a state from before a rewind: the operator's word is needed again
    for (const { id, failure } of (await pair.status()).libraries)
      if (failure?.code === 'HEAD_REWOUND' || failure?.code === 'HEAD_DIVERGED') await pair.sync(id, true)
    await pair.settle()
    for (const { id, state, deletedOnPrimary } of (await pair.status()).libraries)
      if (state !== 'synchronized' && !deletedOnPrimary) problems.push(`${id} is ${state}`)
    const [theirs, ours] = [await pair.heads('primary'), await pair.heads('backup')]
    for (const [repo, head] of theirs)
      if (ours.get(repo) !== head) problems.push(`${repo} is at ${ours.get(repo)}, the primary at ${head}`)
    problems.push(...(await new CopyCheck(pair.backup.dataDir, pair.backup.database).broken()))
    problems.push(...(await differentObjects(pair, theirs.keys())))
  } catch (error) {
    problems.push(String(error))
  } finally {
    await pair.backup.process?.kill()
  }
  return problems
}

async function differentObjects(pair: Pair, repos: Iterable<string>): Promise<string[]> {
  const [primary, backup] = [new DiskObjectReader(pair.primary.dataDir), new DiskObjectReader(pair.backup.dataDir)]
  const different: string[] = []
  for (const storeId of repos)
    for (const kind of KINDS)
      for await (const ref of primary.list(kind, storeId)) {
        const [theirs, ours] = [primary.readRaw(ref), backup.readRaw(ref)]
        // what only a displaced head reaches may have come or not
        if (ours.state === 'missing') continue
        if (theirs.state !== 'read' || ours.state !== 'read' || !theirs.bytes.equals(ours.bytes))
          different.push(`${kind} ${ref.id} of ${storeId} has other bytes`)
      }
  return different
}
