/**
 * The control protocol, from bytes to the types of control-messages.ts.
 *
 * The daemon's side throws BAD_REQUEST, the command's side PROTOCOL_BROKEN,
 * both with the field that is wrong and never with a half-decoded value.
 * Fields that are not known are left out: shapes only grow, and a command may
 * be older than its daemon.
 */

import { BackupError, isErrorCode, reason } from '../errors.js'
import { isRepoId, shown } from '../ids.js'
import { boolean, fields, list, nullable, number, oneOf, text } from './json-fields.js'
import type { ErrorCode } from '../errors.js'
import type { Fields } from './json-fields.js'
import type {
  AgentStatus,
  BinlogGap,
  BinlogStatus,
  ControlError,
  DamagedObject,
  DrillStatus,
  DumpEvent,
  DumpStatus,
  DumpsStatus,
  HeadLogEntry,
  LibraryFailure,
  LibraryStatus,
  PromotionStatus,
  Overdue,
  ReplicaStatus,
  StatusReport,
  SyncEvent,
  SyncProgress,
  SyncRequest,
} from './control-messages.js'

/** A request is an id and a flag. */
export const CONTROL_REQUEST_BYTES_MAX = 64 * 1024
/** A library with 1,000 damaged paths of 4 KiB, and as much again. */
export const SYNC_EVENT_BYTES_MAX = 8 * 1024 * 1024
/** `status` with 100,000 libraries of about 2 KiB. */
export const STATUS_BYTES_MAX = 256 * 1024 * 1024

const LIBRARY_PREFIX = /^[0-9a-f-]{1,36}$/
const LIBRARY_STATES = ['waiting', 'syncing', 'synchronized', 'failed'] as const

/** @throws BackupError BAD_REQUEST */
export function decodeSyncRequest(body: Uint8Array): SyncRequest {
  return decoded('BAD_REQUEST', 'read the request', body, request => {
    const library = nullable(request['library'], v => text(v, 'library').toLowerCase())
    if (library !== null && !LIBRARY_PREFIX.test(library)) {
      throw new TypeError(`${shown(library, 80)} is no library id, nor the beginning of one`)
    }
    const full = boolean(request['full'] ?? false, 'full') // commands of before it was known leave it out
    return { library, force: boolean(request['force'], 'force'), full }
  })
}

/** @throws BackupError PROTOCOL_BROKEN */
export const decodeStatusReport = (body: Uint8Array): StatusReport =>
  decoded('PROTOCOL_BROKEN', 'read the status report', body, readReport)

/** One line of the answer to a sync request. @throws BackupError PROTOCOL_BROKEN */
export const decodeSyncEvent = (line: Uint8Array): SyncEvent =>
  decoded('PROTOCOL_BROKEN', 'read what the sync reports', line, readEvent)

/** One line of the answer to a request for a dump. @throws BackupError PROTOCOL_BROKEN */
export const decodeDumpEvent = (line: Uint8Array): DumpEvent =>
  decoded('PROTOCOL_BROKEN', 'read what is said of the dump', line, readDumpEvent)

/** @throws BackupError PROTOCOL_BROKEN */
export const decodeHeadLog = (body: Uint8Array): HeadLogEntry[] =>
  decoded('PROTOCOL_BROKEN', 'read the head log', body, log => list(log['entries'], 'entries', readHeadLogEntry))

/** The body of an answer with a status of 400 or more. @throws BackupError PROTOCOL_BROKEN */
export const decodeControlError = (body: Uint8Array): ControlError =>
  decoded('PROTOCOL_BROKEN', 'read the refusal', body, readControlError)

function decoded<T>(code: ErrorCode, operation: string, bytes: Uint8Array, read: (fields: Fields) => T): T {
  try {
    return read(fields(JSON.parse(Buffer.from(bytes).toString('utf8')), 'the message'))
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof SyntaxError)) throw error
    const why = error instanceof SyntaxError ? 'not JSON' : reason(error)
    throw new BackupError(code, `${operation}: ${why}`, {}, { cause: error })
  }
}

function readReport(report: Fields): StatusReport {
  const counts = fields(report['counts'], 'counts')
  const primary = fields(report['primary'], 'primary')
  const count = (name: string) => number(counts[name], `counts.${name}`)
  const { libraries } = report
  return {
    version: text(report['version'], 'version'),
    at: number(report['at'], 'at'),
    primary: {
      url: text(primary['url'], 'primary.url'),
      reachable: nullable(primary['reachable'], v => boolean(v, 'primary.reachable')),
      lastContactAgoMs: nullable(primary['lastContactAgoMs'], v => number(v, 'primary.lastContactAgoMs')),
      lastSweepAgoMs: nullable(primary['lastSweepAgoMs'], v => number(v, 'primary.lastSweepAgoMs')),
      agentsConnected: number(primary['agentsConnected'], 'primary.agentsConnected'),
      agents: list(primary['agents'] ?? [], 'primary.agents', readAgent), // daemons of before it was known leave it out
      problem: nullable(primary['problem'], v => readProblem(fields(v, 'primary.problem'))),
    },
    overdue: list(report['overdue'] ?? [], 'overdue', readOverdue),
    counts: {
      total: count('total'),
      synchronized: count('synchronized'),
      waiting: count('waiting'),
      syncing: count('syncing'),
      failed: count('failed'),
      deletedOnPrimary: count('deletedOnPrimary'),
      withHoles: count('withHoles'),
    },
    syncing: list(report['syncing'], 'syncing', libraryId),
    failed: list(report['failed'], 'failed', libraryId),
    dumps: nullable(report['dumps'] ?? null, readDumps),
    binlog: nullable(report['binlog'] ?? null, readBinlog),
    replica: nullable(report['replica'] ?? null, readReplica),
    drill: nullable(report['drill'] ?? null, readDrill),
    promotion: nullable(report['promotion'] ?? null, readPromotion),
    ...(libraries === undefined ? {} : { libraries: list(libraries, 'libraries', readLibrary) }),
  }
}

function readAgent(value: unknown): AgentStatus {
  const agent = fields(value, 'agent')
  return {
    address: text(agent['address'], 'address'),
    source: nullable(agent['source'], v => text(v, 'source')),
    positionAgoMs: nullable(agent['positionAgoMs'], v => number(v, 'positionAgoMs')),
    degraded: nullable(agent['degraded'], v => text(v, 'degraded')),
    connectedForMs: number(agent['connectedForMs'], 'connectedForMs'),
  }
}

function readOverdue(value: unknown): Overdue {
  const late = fields(value, 'overdue')
  return {
    what: text(late['what'], 'what'),
    forMs: number(late['forMs'], 'forMs'),
    message: text(late['message'], 'message'),
    nextStep: text(late['nextStep'], 'nextStep'),
  }
}

function readEvent(event: Fields): SyncEvent {
  switch (event['type']) {
    case 'started':
      return {
        type: 'started',
        library: nullable(event['library'], libraryId),
        libraries: number(event['libraries'], 'libraries'),
      }
    case 'progress':
      return {
        type: 'progress',
        librariesDone: number(event['librariesDone'], 'librariesDone'),
        progress: readProgress(event['progress']),
      }
    case 'library':
      return { type: 'library', library: readLibrary(event['library']) }
    case 'end':
      return {
        type: 'end',
        synchronized: number(event['synchronized'], 'synchronized'),
        failed: number(event['failed'], 'failed'),
      }
    case 'error':
      return { type: 'error', error: readControlError(fields(event['error'], 'error')) }
    default:
      throw new TypeError('type is not one of those that are known')
  }
}

function readDumpEvent(event: Fields): DumpEvent {
  switch (event['type']) {
    case 'progress':
      return { type: 'progress', bytes: number(event['bytes'], 'bytes') }
    case 'end':
      return { type: 'end', dump: readDump(event['dump']) }
    case 'error':
      return { type: 'error', error: readControlError(fields(event['error'], 'error')) }
    default:
      throw new TypeError('type is not one of those that are known')
  }
}

function readDump(value: unknown): DumpStatus {
  const dump = fields(value, 'dump')
  const count = (name: string) => number(dump[name], `dump.${name}`)
  return {
    id: text(dump['id'], 'id'),
    at: count('at'),
    bytes: count('bytes'),
    tables: count('tables'),
    rows: count('rows'),
  }
}

function readDrill(value: unknown): DrillStatus {
  const drill = fields(value, 'drill')
  return {
    at: number(drill['at'], 'at'),
    ok: boolean(drill['ok'], 'ok'),
    problem: nullable(drill['problem'], v => text(v, 'problem')),
    okAt: nullable(drill['okAt'], v => number(v, 'okAt')),
  }
}

function readPromotion(value: unknown): PromotionStatus {
  const promotion = fields(value, 'promotion')
  return {
    stops: list(promotion['stops'], 'stops', v => text(v, 'stop')),
    librariesLacking: number(promotion['librariesLacking'], 'librariesLacking'),
    librariesDeleted: number(promotion['librariesDeleted'] ?? 0, 'librariesDeleted'),
    tablesAt: nullable(promotion['tablesAt'], v => number(v, 'tablesAt')),
  }
}

function readDumps(value: unknown): DumpsStatus {
  const dumps = fields(value, 'dumps')
  return {
    scheduled: boolean(dumps['scheduled'], 'scheduled'),
    kept: number(dumps['kept'], 'kept'),
    damaged: number(dumps['damaged'] ?? 0, 'damaged'),
    newest: nullable(dumps['newest'], readDump),
    nextAt: nullable(dumps['nextAt'], v => number(v, 'nextAt')),
    running: boolean(dumps['running'], 'running'),
    owedForMs: nullable(dumps['owedForMs'], v => number(v, 'owedForMs')),
    problem: nullable(dumps['problem'], v => readProblem(fields(v, 'problem'))),
  }
}

function readBinlog(value: unknown): BinlogStatus {
  const binlog = fields(value, 'binlog')
  const time = (name: string) => nullable(binlog[name], v => number(v, `binlog.${name}`))
  return {
    archiving: boolean(binlog['archiving'], 'archiving'),
    since: time('since'),
    upTo: time('upTo'),
    at: time('at'),
    behindMs: time('behindMs'),
    gaps: list(binlog['gaps'], 'gaps', readGap),
    problem: nullable(binlog['problem'], v => readProblem(fields(v, 'problem'))),
  }
}

function readGap(value: unknown): BinlogGap {
  const gap = fields(value, 'gap')
  return { at: number(gap['at'], 'at'), why: text(gap['why'], 'why') }
}

function readReplica(value: unknown): ReplicaStatus {
  const replica = fields(value, 'replica')
  return {
    url: text(replica['url'], 'url'),
    asked: boolean(replica['asked'], 'asked'),
    behindSeconds: nullable(replica['behindSeconds'], v => number(v, 'behindSeconds')),
    problem: nullable(replica['problem'], v => text(v, 'problem')),
    problemForMs: nullable(replica['problemForMs'], v => number(v, 'problemForMs')),
  }
}

function readLibrary(value: unknown): LibraryStatus {
  const library = fields(value, 'library')
  return {
    id: libraryId(library['id']),
    name: nullable(library['name'], v => text(v, 'name')),
    owner: nullable(library['owner'], v => text(v, 'owner')),
    state: oneOf(library['state'], 'state', LIBRARY_STATES),
    deletedOnPrimary: boolean(library['deletedOnPrimary'], 'deletedOnPrimary'),
    head: nullable(library['head'], v => text(v, 'head')),
    primaryHead: nullable(library['primaryHead'], v => text(v, 'primaryHead')),
    lagMs: nullable(library['lagMs'], v => number(v, 'lagMs')),
    recordedAt: nullable(library['recordedAt'], v => number(v, 'recordedAt')),
    holes: number(library['holes'], 'holes'),
    skipped: list(library['skipped'] ?? [], 'skipped', readDamaged),
    sizeBytes: nullable(library['sizeBytes'] ?? null, v => number(v, 'sizeBytes')),
    changedAt: nullable(library['changedAt'] ?? null, v => number(v, 'changedAt')),
    failure: nullable(library['failure'], readFailure),
    progress: nullable(library['progress'], readProgress),
  }
}

const RELATIONS = ['new', 'forward', 'revisit', 'unproven', 'rewound', 'diverged', 'same'] as const

function readHeadLogEntry(value: unknown): HeadLogEntry {
  const entry = fields(value, 'entry')
  return {
    head: text(entry['head'], 'head'),
    displaced: nullable(entry['displaced'], v => text(v, 'displaced')),
    relation: oneOf(entry['relation'], 'relation', RELATIONS),
    cause: oneOf(entry['cause'], 'cause', ['push', 'sweep', 'manual', 'forced']),
    primaryHadAt: nullable(entry['primaryHadAt'], v => number(v, 'primaryHadAt')),
    recordedAt: number(entry['recordedAt'], 'recordedAt'),
  }
}

function readFailure(value: unknown): LibraryFailure {
  const failure = fields(value, 'failure')
  return {
    ...readProblem(failure),
    retrying: boolean(failure['retrying'], 'retrying'),
    retryInMs: nullable(failure['retryInMs'], v => number(v, 'retryInMs')),
    damaged: list(failure['damaged'], 'damaged', readDamaged),
    damagedTotal: number(failure['damagedTotal'], 'damagedTotal'),
  }
}

function readDamaged(value: unknown): DamagedObject {
  const object = fields(value, 'damaged')
  return {
    kind: oneOf(object['kind'], 'kind', ['commits', 'fs', 'blocks']),
    id: text(object['id'], 'id'),
    problem: oneOf(object['problem'], 'problem', ['missing', 'corrupt', 'unreadable']),
    path: nullable(object['path'], v => text(v, 'path')),
    where: oneOf(object['where'], 'where', ['head', 'history']),
  }
}

function readProgress(value: unknown): SyncProgress {
  const progress = fields(value, 'progress')
  const count = (name: string) => number(progress[name], `progress.${name}`)
  return {
    objects: count('objects'),
    bytes: count('bytes'),
    objectsWanted: count('objectsWanted'),
    bytesWanted: count('bytesWanted'),
    elapsedMs: count('elapsedMs'),
  }
}

function readControlError(error: Fields): ControlError {
  const { candidates } = error
  return {
    ...readProblem(error),
    ...(candidates === undefined ? {} : { candidates: list(candidates, 'candidates', libraryId) }),
  }
}

function readProblem(problem: Fields): { code: ErrorCode; message: string; nextStep: string } {
  const { code } = problem
  if (!isErrorCode(code)) throw new TypeError('code is not one of those that are known')
  return { code, message: text(problem['message'], 'message'), nextStep: text(problem['nextStep'], 'nextStep') }
}

function libraryId(value: unknown): string {
  if (!isRepoId(value)) throw new TypeError('a library id is not well-formed')
  return value
}
