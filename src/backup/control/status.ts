/** What `status` says, put together from the states: counts come from comparing with the primary's own list, never from the queue. */

import { isBehind, lagMs, stateOf } from '../state/library-state.js'
import { nextStep } from '../../shared/next-step.js'
import { agentStatus, overdue } from './overdue.js'
import type { BackupError } from '../../shared/errors.js'
import type {
  BinlogStatus,
  DamagedObject,
  DrillStatus,
  DumpsStatus,
  LibraryFailure,
  LibraryStatus,
  PromotionStatus,
  ReplicaStatus,
  StatusReport,
} from '../../shared/wire/control-messages.js'
import type { Agent } from '../hints/subscriber.js'
import type { SweepAge } from './overdue.js'
import type { KnownHole, Library } from '../state/library-state.js'

/** So many damaged objects are listed; all are counted. */
const DAMAGED_MAX = 1_000

export interface StatusInput {
  readonly version: string
  readonly primaryUrl: string
  readonly libraries: readonly Library[]
  readonly agents: readonly Agent[]
  /** performance.now() when any agent was last heard, also one that is gone. */
  readonly agentHeardAt: number | undefined
  readonly sweep: SweepAge
  readonly rpoMs: number
  readonly dumps: DumpsStatus | null
  readonly binlog: BinlogStatus | null
  readonly replica: ReplicaStatus | null
  readonly drill: DrillStatus | null
  readonly promotion: PromotionStatus | null
  readonly line: BackupError | undefined
}

export function statusReport(input: StatusInput, options: { libraries: boolean }): StatusReport {
  const now = performance.now()
  const counts = { total: 0, synchronized: 0, waiting: 0, syncing: 0, failed: 0, deletedOnPrimary: 0, withHoles: 0 }
  const syncing: string[] = []
  const failed: string[] = []
  const libraries: LibraryStatus[] = []
  for (const library of input.libraries) {
    if (options.libraries) libraries.push(libraryStatus(library, now))
    if (library.deleted) {
      counts.deletedOnPrimary += 1
      continue
    }
    const state = stateOf(library)
    counts.total += 1
    counts[state] += 1
    if (state === 'synchronized' && library.holes.length > 0) counts.withHoles += 1
    if (state === 'syncing') syncing.push(library.repo)
    if (state === 'failed') failed.push(library.repo)
  }
  const primary = primaryStatus(input, now)
  const { agents } = primary
  return {
    version: input.version,
    at: Date.now(),
    primary,
    overdue: overdue({ ...input, heardAt: heardAt(input), agents }, now),
    counts,
    syncing: syncing.sort(),
    failed: failed.sort(),
    dumps: input.dumps,
    binlog: input.binlog,
    replica: input.replica,
    drill: input.drill,
    promotion: input.promotion,
    ...(options.libraries && { libraries: libraries.sort((a, b) => (a.id < b.id ? -1 : 1)) }),
  }
}

function primaryStatus(input: StatusInput, now: number): StatusReport['primary'] {
  const { line, agents, sweep } = input
  const sweptAt = sweep.succeededAt
  const heard = heardAt(input)
  return {
    url: input.primaryUrl,
    reachable: line ? false : sweptAt === undefined ? null : true,
    lastContactAgoMs: heard === undefined ? null : Math.round(now - heard),
    lastSweepAgoMs: sweptAt === undefined ? null : Math.round(now - sweptAt),
    agentsConnected: agents.length,
    agents: agents.map(agent => agentStatus(agent, now)),
    problem: line ? { code: line.code, message: line.message, nextStep: nextStep(line.code) } : null,
  }
}

function heardAt({ agentHeardAt, sweep }: StatusInput): number | undefined {
  const heard = Math.max(agentHeardAt ?? -Infinity, sweep.succeededAt ?? -Infinity)
  return Number.isFinite(heard) ? heard : undefined
}

export function libraryStatus(library: Library, now = performance.now()): LibraryStatus {
  const lag = lagMs(library, now)
  const accepted = library.holes.filter(hole => hole.accepted)
  return {
    id: library.repo,
    name: library.summary?.name ?? null,
    owner: library.summary?.owner ?? null,
    state: stateOf(library),
    deletedOnPrimary: library.deleted,
    head: library.head,
    primaryHead: library.primaryHead,
    lagMs: lag === null ? null : Math.round(lag),
    recordedAt: library.recordedAt,
    holes: accepted.length,
    skipped: accepted.slice(0, DAMAGED_MAX).map(shownHole),
    sizeBytes: library.summary?.sizeBytes ?? null,
    changedAt: library.summary?.updateTime ? library.summary.updateTime * 1000 : null,
    failure: library.failure && failureStatus(library, library.failure, now),
    progress: library.progress,
  }
}

function failureStatus(library: Library, failure: NonNullable<Library['failure']>, now: number): LibraryFailure {
  const { code, message, retryAt } = failure
  const damaged = library.holes.filter(hole => !hole.accepted)
  return {
    code,
    message,
    nextStep: nextStep(code, library.repo),
    retrying: retryAt !== undefined,
    retryInMs: retryAt === undefined ? null : Math.max(0, Math.round(retryAt - now)),
    damaged: damaged.slice(0, DAMAGED_MAX).map(shownHole),
    damagedTotal: damaged.length,
  }
}

const shownHole = ({ kind, id, problem, path, where }: KnownHole): DamagedObject => ({ kind, id, problem, path, where })

export const behindOrFailed = (library: Library): boolean =>
  !library.deleted && (isBehind(library) || library.failure !== null || library.head === null)
