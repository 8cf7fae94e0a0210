/**
 * What has lasted for longer than `rpo`: the promise that no change is older than that without being here.
 *
 * Ages are taken from the last good moment, never from the last attempt, so
 * that what fails again and again, hangs, or says nothing at all grows old.
 */

import { duration } from '../../shared/duration.js'
import { stateOf, waitedMs } from '../state/library-state.js'
import { nextStep } from '../../shared/next-step.js'
import type {
  AgentStatus,
  BinlogStatus,
  DumpsStatus,
  Overdue,
  ReplicaStatus,
} from '../../shared/wire/control-messages.js'
import type { Agent } from '../hints/subscriber.js'
import type { Library } from '../state/library-state.js'

/** A source is looked at every 5 s and its agent heard every 3: what is younger is no silence, however short rpo is. */
const SEEN_MS = 10_000
/** A sweep that is under way when its interval is over is not late yet. */
const SWEEP_MS = 60_000

export interface SweepAge {
  readonly intervalMs: number
  /** performance.now() when the last successful sweep asked; undefined: none since the start. */
  readonly succeededAt: number | undefined
  /** performance.now() when the sweep was begun that has not succeeded since; undefined: none is owed. */
  readonly owedSince: number | undefined
}

export interface OverdueInput {
  readonly rpoMs: number
  /** performance.now() when the primary was last heard of; undefined: not since the start. */
  readonly heardAt: number | undefined
  readonly agents: readonly AgentStatus[]
  readonly sweep: SweepAge
  readonly libraries: Iterable<Library>
  readonly dumps: DumpsStatus | null
  readonly binlog: BinlogStatus | null
  readonly replica: ReplicaStatus | null
}

/** The most general first. performance.now() is 0 when the process starts. */
export function overdue(input: OverdueInput, now: number): Overdue[] {
  const found = [silence(input, now), lateSweep(input, now), ...deafSources(input), lateLibraries(input, now)]
  return [...found, lateDump(input), lateArchive(input, now), sickReplica(input)].filter(late => late !== undefined)
}

function silence({ heardAt = 0, rpoMs }: OverdueInput, now: number): Overdue | undefined {
  const forMs = Math.round(now - heardAt)
  if (forMs <= Math.max(rpoMs, SEEN_MS)) return undefined
  const message = `nothing has been heard of the primary for ${duration(forMs)} (rpo ${duration(rpoMs)})`
  return { what: 'primary', forMs, message, nextStep: nextStep('PRIMARY_UNREACHABLE') }
}

/** Between two sweeps nothing is owed, also when rpo is shorter than that: the agents are what keeps it. */
function lateSweep({ sweep, rpoMs }: OverdueInput, now: number): Overdue | undefined {
  const { succeededAt = 0, owedSince = now, intervalMs } = sweep
  const forMs = Math.round(now - succeededAt)
  if (now - owedSince <= rpoMs && forMs <= Math.max(rpoMs, intervalMs + SWEEP_MS)) return undefined
  return {
    what: 'sweep',
    forMs,
    message: `no sweep has succeeded for ${duration(forMs)} (rpo ${duration(rpoMs)})`,
    nextStep: 'see why with seaf-backup-cmd sync --all, and look into the log of seaf-backup-primary',
  }
}

function deafSources({ agents, rpoMs }: OverdueInput): Overdue[] {
  return agents.flatMap(agent => {
    const forMs = agent.positionAgoMs ?? agent.connectedForMs
    if (forMs <= Math.max(rpoMs, SEEN_MS)) return []
    const why = agent.degraded === null ? '' : `: ${agent.degraded}`
    const message = `the agent at ${agent.address} has seen no change source for ${duration(forMs)} (rpo ${duration(rpoMs)})${why}`
    return [{ what: 'source', forMs, message, nextStep: 'check the database of the primary, and the log of the agent' }]
  })
}

/** The tables beside the libraries' own are as old as the newest dump. */
function lateDump({ dumps, rpoMs }: OverdueInput): Overdue | undefined {
  const forMs = dumps?.owedForMs ?? 0
  if (!dumps || forMs <= rpoMs) return undefined
  const newest = dumps.newest ? `the newest is of ${new Date(dumps.newest.at).toISOString()}` : 'there is none'
  const why = dumps.problem ? `: ${dumps.problem.message}` : ''
  return {
    what: 'dump',
    forMs,
    message: `a dump of the database has been due for ${duration(forMs)} (rpo ${duration(rpoMs)}), ${newest}${why}`,
    nextStep: dumps.problem?.nextStep ?? 'see why with seaf-backup-cmd dumps now',
  }
}

/** Where nothing was ever archived, since the primary has no binlog for us, the dumps are all that was promised. */
function lateArchive({ binlog, rpoMs }: OverdueInput, now: number): Overdue | undefined {
  const forMs = binlog?.behindMs ?? (neverOffered(binlog) ? 0 : Math.round(now))
  if (!binlog?.archiving || forMs <= Math.max(rpoMs, SEEN_MS)) return undefined
  const why = binlog.problem ? `: ${binlog.problem.message}` : ''
  return {
    what: 'binlog',
    forMs,
    message: `the archive of the binlog has not come further for ${duration(forMs)} (rpo ${duration(rpoMs)})${why}`,
    nextStep: binlog.problem?.nextStep ?? 'look into the log of seaf-backup-primary',
  }
}

/** Nothing was archived ever, and nothing says that it should have been. */
const neverOffered = (binlog: BinlogStatus | null): boolean =>
  !binlog?.problem || ['BINLOG_UNAVAILABLE', 'PROTOCOL_VERSION'].includes(binlog.problem.code)

/** Watched because somebody counts on it: what is wrong with it is said at once. */
function sickReplica({ replica }: OverdueInput): Overdue | undefined {
  if (!replica || replica.problem === null) return undefined
  return {
    what: 'replica',
    forMs: replica.problemForMs ?? 0,
    message: `the replica ${replica.url} is not well: ${replica.problem}`,
    nextStep: 'see SHOW REPLICA STATUS there, or replica_url in seafile.conf of the backup',
  }
}

/** One entry for all of them: a first copy has as many as there are libraries. */
function lateLibraries({ libraries, rpoMs }: OverdueInput, now: number): Overdue | undefined {
  let worst: { readonly library: Library; readonly forMs: number } | undefined
  let late = 0
  for (const library of libraries) {
    if (library.deleted) continue
    const forMs = Math.round(waitedMs(library, now))
    if (forMs <= rpoMs) continue
    late += 1
    if (!worst || forMs > worst.forMs) worst = { library, forMs }
  }
  if (!worst) return undefined
  const { library, forMs } = worst
  const others = late > 1 ? `, and ${late - 1} more` : ''
  const step = library.failure ? nextStep(library.failure.code, library.repo) : undefined
  return {
    what: 'library',
    forMs,
    message: `library ${library.repo} has a change that has waited for ${duration(forMs)} (rpo ${duration(rpoMs)})${others}`,
    nextStep: step ?? `it is ${stateOf(library)}: see seaf-backup-cmd status --verbose`,
  }
}

/** Every age counts on from the agent's last word: one that says nothing more grows old. */
export function agentStatus({ address, connectedAt, heartbeat, heartbeatAt }: Agent, now: number): AgentStatus {
  const position = heartbeat?.positionAgoMs ?? null
  return {
    address,
    source: heartbeat?.source ?? null,
    positionAgoMs: position === null ? null : Math.round(position + now - heartbeatAt),
    degraded: heartbeat?.degraded ?? null,
    connectedForMs: Math.round(now - connectedAt),
  }
}
