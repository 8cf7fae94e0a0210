/**
 * What the command prints, as text: pure functions from the daemon's answers to lines.
 *
 * The first block of `status` is fixed byte for byte, because scripts read it.
 * A number that is not known is written as "unknown", never as 0. Names and
 * paths come from people's libraries: control characters in them never reach
 * the terminal.
 */

import { duration } from '../../src/shared/duration.js'
import type {
  AgentStatus,
  ControlError,
  DamagedObject,
  LibraryFailure,
  LibraryStatus,
  StatusReport,
} from '../../src/shared/wire/control-messages.js'

/** More would push the reason off the screen; `--json` has up to 1,000. */
const DAMAGED_SHOWN_MAX = 10
/** The oldest change may wait this long before `status` calls a library behind: a busy moment is none. */
const BEHIND_MS = 60_000
/** A source whose newest position is older has gone deaf; it polls at least every few seconds unless told otherwise. */
const DEAF_MS = 60_000

export function renderStatus(report: StatusReport, { verbose }: { verbose: boolean }): string {
  const { counts } = report
  const blocks = [
    [
      ...renderOverdue(report),
      `Total number of libraries: ${counts.total}`,
      `Number of synchronized libraries: ${counts.synchronized}`,
      `Number of libraries waiting for sync: ${counts.waiting}`,
      `Number of libraries syncing: ${counts.syncing}`,
      `Number of libraries failed to sync: ${counts.failed}`,
    ],
    listBlock('List of syncing libraries:', report.syncing),
    listBlock('List of libraries failed to sync:', report.failed),
    renderPrimary(report),
    renderDumps(report, verbose),
    renderBinlog(report, verbose),
    renderReplica(report, verbose),
    renderDrill(report, verbose),
    renderPromotion(report, verbose),
    verbose ? renderAgents(report) : [],
    ...(verbose ? (report.libraries ?? []).toSorted(byId).map(renderLibrary) : []),
  ]
  return blocks
    .filter(lines => lines.length > 0)
    .map(lines => `${lines.join('\n')}\n`)
    .join('\n')
}

const listBlock = (title: string, ids: readonly string[]): string[] =>
  ids.length > 0 ? [title, ...ids.toSorted()] : []

const byId = (a: LibraryStatus, b: LibraryStatus): number => (a.id < b.id ? -1 : 1)

function renderPrimary({ primary }: StatusReport): string[] {
  if (primary.problem !== null) {
    const { code, message, nextStep } = primary.problem
    return [`Primary: ${plain(message)} (${code})`, `Next step: ${plain(nextStep)}`]
  }
  if (primary.reachable !== false) return []
  const contact = primary.lastContactAgoMs
  const since = contact === null ? 'no contact yet' : `last contact ${duration(contact)} ago`
  return [
    `Primary: ${plain(primary.url)} does not answer, ${since}`,
    'Next step: check that seaf-backup-primary runs there, and that this host can reach it',
  ]
}

/** A dump that fails is said at once; that all is well only where all is shown. */
function renderDumps({ dumps }: StatusReport, verbose: boolean): string[] {
  if (!dumps) return []
  const { problem, newest, nextAt, kept, damaged, running } = dumps
  const failed = problem
    ? [`Dump of the database: ${plain(problem.message)} (${problem.code})`, `Next step: ${plain(problem.nextStep)}`]
    : []
  if (damaged > 0) failed.unshift(`Dumps of the database: ${damaged} of ${kept} are damaged: see seaf-backup-cmd dumps`)
  if (!verbose) return failed
  const last = newest ? `the newest asked for ${dateTime(newest.at)}` : 'none yet'
  const next = running
    ? 'one is being taken'
    : nextAt === null
      ? 'none is planned'
      : `the next is due ${dateTime(nextAt)}`
  return [`Dumps of the database: ${kept} kept, ${last}, ${next}`, ...failed]
}

/** What a restore cannot pass is said at once, and why nothing is archived. */
function renderBinlog({ binlog }: StatusReport, verbose: boolean): string[] {
  if (!binlog) return []
  const { archiving, since, upTo, behindMs, gaps, problem } = binlog
  const gapLines = gaps.map(
    ({ at, why }) =>
      `Archive of the binlog: begun anew ${dateTime(at)}, and no restore passes over that before the next dump: ${plain(why)}`,
  )
  const failed = problem
    ? [`Archive of the binlog: ${plain(problem.message)} (${problem.code})`, `Next step: ${plain(problem.nextStep)}`]
    : []
  const shown = problem?.code === 'BINLOG_UNAVAILABLE' && upTo === null && !verbose ? [] : failed
  if (!verbose) return [...gapLines, ...shown]
  const reached =
    upTo === null || since === null
      ? 'nothing yet'
      : `all up to ${dateTime(upTo)} by the clock of the primary's database, ${duration(behindMs ?? 0)} behind; without a gap since ${dateTime(since)}`
  return [`Archive of the binlog: ${archiving ? reached : 'off (binlog_archive)'}`, ...gapLines, ...shown]
}

/** One that is not well is overdue, and is said there. */
function renderReplica({ replica }: StatusReport, verbose: boolean): string[] {
  if (!replica || !verbose) return []
  const { url, asked, behindSeconds, problem } = replica
  const behind = behindSeconds === null ? 'how far behind is unknown' : `${duration(1000 * behindSeconds)} behind`
  const state = asked ? (problem === null ? behind : plain(problem)) : 'not asked yet'
  return [`Replica ${plain(url)}: ${state}`]
}

/** A rehearsal that failed is said at once. */
function renderDrill({ drill, dumps }: StatusReport, verbose: boolean): string[] {
  if (!drill) return verbose && dumps ? ['Drill: none was made yet: seaf-backup-cmd drill'] : []
  const last = drill.okAt === null ? 'none has succeeded' : `the last that succeeded was ${dateTime(drill.okAt)}`
  if (drill.ok) return verbose ? [`Drill: ${last}`] : []
  return [`Drill of ${dateTime(drill.at)} failed, ${last}: ${plain(drill.problem ?? 'no reason was noted')}`]
}

/** What keeps the backup from being promoted is said before the day that it is needed. */
function renderPromotion({ promotion, counts }: StatusReport, verbose: boolean): string[] {
  if (!promotion) return []
  const { stops, librariesLacking, librariesDeleted, tablesAt } = promotion
  if (stops.length > 0) return [`promote --check: would stop: ${stops.map(plain).join('; ')}`]
  if (!verbose) return []
  const libraries =
    librariesLacking === 0
      ? `all ${counts.total} libraries are here as the primary was last known to have them`
      : `${librariesLacking} of ${counts.total} libraries would lose something`
  const tables =
    tablesAt === null
      ? 'there is no whole dump: users, groups and shares would be lost'
      : `users, groups and shares would be of ${dateTime(tablesAt)}`
  const deleted = librariesDeleted > 0 ? `; ${librariesDeleted} that the primary had deleted would not come back` : ''
  return [`promote --check: nothing that is known here would stop it; ${libraries}${deleted}; ${tables}`]
}

const dateTime = (at: number): string => (at > MAX_DATE_MS ? 'at an unknown time' : new Date(at).toISOString())

/** One line, the first of all: whoever reads no further has read it. */
function renderOverdue({ overdue }: StatusReport): string[] {
  if (overdue.length === 0) return []
  const messages = overdue.map(({ message }) => plain(message)).join('; ')
  const steps = [...new Set(overdue.map(({ nextStep }) => plain(nextStep)))].join('; ')
  return [`Overdue: ${messages}. Next step: ${steps}`]
}

/** Those that are deaf or slow; an agent that is well needs no line. */
function renderAgents({ primary }: StatusReport): string[] {
  const { agents, agentsConnected, lastContactAgoMs } = primary
  if (agentsConnected === 0) {
    const contact = lastContactAgoMs === null ? 'no contact yet' : `last contact ${duration(lastContactAgoMs)} ago`
    return [`No agent is connected, ${contact}`]
  }
  return agents.filter(needsMention).map(renderAgent)
}

const needsMention = ({ degraded, positionAgoMs, connectedForMs }: AgentStatus): boolean =>
  degraded !== null || (positionAgoMs ?? connectedForMs) > DEAF_MS

function renderAgent({ address, source, positionAgoMs, degraded, connectedForMs }: AgentStatus): string {
  const position = positionAgoMs === null ? 'no position yet' : `position ${duration(positionAgoMs)} old`
  const why = degraded === null ? '' : `, degraded: ${plain(degraded)}`
  const since = `connected for ${duration(connectedForMs)}`
  return `Agent ${plain(address)}: ${source === null ? 'source unknown' : plain(source)}, ${position}, ${since}${why}`
}

export function renderLibrary(library: LibraryStatus): string[] {
  const { failure, progress } = library
  const lines = [
    library.id,
    `  name: ${library.name === null ? 'unknown' : plain(library.name)}`,
    `  owner: ${library.owner === null ? 'unknown' : plain(library.owner)}`,
    `  state: ${stateOf(library)}`,
    `  lag: ${library.lagMs === null ? 'unknown' : duration(library.lagMs)}`,
    `  head: ${library.head === null ? 'none yet' : `${plain(library.head)}, ${recordedAt(library)}`}`,
  ]
  if (progress !== null) {
    lines.push(`  progress: ${count(progress.objects, 'object')}, ${byteSize(progress.bytes)} in this attempt`)
  }
  lines.push(...renderSkipped(library).map(line => `  ${line}`))
  if (failure !== null) lines.push(...renderFailure(failure).map(line => `  ${line}`))
  return lines
}

/** What `sync --force` went on without. */
export const renderSkipped = ({ skipped, holes }: LibraryStatus): string[] => renderObjects('skipped', skipped, holes)

/** What was accepted as absent is never left out: such a library is not plainly synchronized. */
function stateOf({ state, failure, holes, deletedOnPrimary }: LibraryStatus): string {
  const code = failure === null ? '' : ` (${failure.code})`
  const missing = holes > 0 ? ` with ${holes} missing object${holes === 1 ? '' : 's'}` : ''
  return `${state}${missing}${code}${deletedOnPrimary ? ', deleted on primary' : ''}`
}

const recordedAt = ({ recordedAt: at }: LibraryStatus): string =>
  at === null || at > MAX_DATE_MS ? 'recorded at an unknown time' : `recorded ${new Date(at).toISOString()}`

/** What `Date` can hold. */
const MAX_DATE_MS = 8.64e15

export function renderFailure(failure: LibraryFailure): string[] {
  const { retrying, retryInMs } = failure
  const soon = retryInMs === null ? 'when something changes' : `in ${duration(retryInMs)}`
  return [
    `reason: ${plain(failure.message)}`,
    ...(retrying ? [`next attempt: ${soon}, by itself`] : []),
    `next step: ${plain(failure.nextStep)}`,
    ...renderDamaged(failure),
  ]
}

const renderDamaged = ({ damaged, damagedTotal }: LibraryFailure): string[] =>
  renderObjects('damaged', damaged, damagedTotal)

function renderObjects(what: string, objects: readonly DamagedObject[], total: number): string[] {
  if (total === 0) return []
  const shown = objects.slice(0, DAMAGED_SHOWN_MAX)
  const rest = total - shown.length
  return [
    `${what}: ${count(total, 'object')}`,
    ...shown.map(object => `  ${damagedObject(object)}`),
    ...(rest > 0 ? [`  and ${rest} more: see --json`] : []),
  ]
}

const KIND = { commits: 'commit', fs: 'fs object', blocks: 'block' } as const

function damagedObject({ kind, id, problem, path, where }: DamagedObject): string {
  const object = `${KIND[kind]} ${plain(id)} ${problem}`
  const place = where === 'history' ? ', in history only' : ''
  return path === null ? `${object}${place}` : `${plain(path)} (${object}${place})`
}

export function renderError({ code, message, nextStep, candidates }: ControlError): string {
  return [
    `seaf-backup-cmd: ${plain(message)} (${code})`,
    ...(candidates ?? []).map(id => `  ${id}`),
    ...(nextStep === '' ? [] : [`Next step: ${plain(nextStep)}`]),
    '',
  ].join('\n')
}

/**
 * True when the backup is not what the primary is: a library failed, one whose
 * oldest change has waited a minute or for an unknown time, no primary,
 * anything that has lasted for longer than rpo, a damaged dump, or a drill that failed last.
 * Needs `libraries` when any library waits or syncs.
 */
export function isBehind({ counts, primary, libraries, overdue, dumps, drill }: StatusReport): boolean {
  if (overdue.length > 0 || (dumps?.damaged ?? 0) > 0 || drill?.ok === false) return true
  if (counts.failed > 0 || primary.problem !== null || primary.reachable === false) return true
  return (libraries ?? []).some(
    ({ state, lagMs }) => state !== 'synchronized' && (lagMs === null || lagMs >= BEHIND_MS),
  )
}

const SIZE_UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'] as const

export function byteSize(bytes: number): string {
  let [value, unit] = [bytes, 0]
  while (value >= 1024 && unit < SIZE_UNITS.length - 1) [value, unit] = [value / 1024, unit + 1]
  return `${unit === 0 ? value : value.toFixed(1)} ${SIZE_UNITS[unit]}`
}

export const count = (n: number, noun: string): string =>
  n === 1 ? `1 ${noun}` : `${n} ${noun.replace(/([^aeiou])y$/, '$1ie')}s`

/** Control characters and those that turn the direction of writing, as `?`. */
export const plain = (text: string): string => text.replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, '?')
