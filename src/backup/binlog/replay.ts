/**
 * The archived binlog into a server that has the dump's tables: what the filter leaves of it, made SQL by the servers'
 * own tool, straight into their client. Nothing of it lies on a disk meanwhile.
 */

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { Readable, addAbortSignal } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { MAGIC } from '../../shared/binlog-events.js'
import { BackupError, isAbort, reason, systemCode } from '../../shared/errors.js'
import { findProgram } from '../../shared/mysql-options.js'
import { quote } from '../restore/core-tables.js'
import { EVENT, readEvents } from './events.js'
import { BinlogFilter, noneKept } from './filter.js'
import { Groups } from './groups.js'
import { placed, problemOf } from './replay-plan.js'
import { zonesOnTarget } from './replay-zones.js'
import type { ChildProcess } from 'node:child_process'
import type { Writable } from 'node:stream'
import type { MysqlClient } from '../restore/mysql-client.js'
import type { BinlogPart } from './events.js'
import type { Replay } from './replay-plan.js'

const SAID_MAX = 4_000
/** Handed on at once, about. */
const PIECE_BYTES = 256 * 1024
const run = promisify(execFile)

/** What is asked of the target before anything is written to it. */
export interface Readiness {
  readonly tool: string
  /** Its own binlog need not hear of what is replayed. */
  readonly withoutLog: boolean
  /** What stands there for the time zone of the primary's server, for each of the parts. */
  readonly systemZones: readonly string[]
}

/** @throws BackupError RESTORE_FAILED: the tool or a time zone is missing, or the account may not, with what it lacks */
export async function expectReplayable(client: MysqlClient, replay: Replay, signal: AbortSignal): Promise<Readiness> {
  const tool = await findTool(replay.server)
  const [part] = replay.parts
  if (!part) return { tool, withoutLog: false, systemZones: [] }
  const [first] = readEvents(part)
  const probe = `SET @@session.pseudo_thread_id = 1;\nBINLOG '${first?.format.bytes.toString('base64') ?? ''}';\n`
  try {
    await client.ask(probe, signal)
  } catch (error) {
    if (isAbort(error)) throw error
    const account = (await client.ask('SELECT CURRENT_USER();', signal)).trim()
    const message = `replay the archived binlog of a server ${replay.server} as ${account}: ${reason(error)}`
    const nextStep = `GRANT BINLOG REPLAY, BINLOG ADMIN ON *.* to this account (MariaDB; with MySQL REPLICATION_APPLIER, BINLOG_ADMIN and SYSTEM_VARIABLES_ADMIN), or restore --without-binlog`
    throw new BackupError('RESTORE_FAILED', message, { nextStep }, { cause: error })
  }
  const withoutLog = await client.ask('SET SESSION sql_log_bin = 0;', signal).then(
    () => true,
    () => false,
  )
  signal.throwIfAborted()
  return { tool, withoutLog, systemZones: await zonesOnTarget(client, replay.parts, signal) }
}

/** What the replay makes must not be there, as it was not then: of an import that was begun before, or of --force. */
export async function removeMade(client: MysqlClient, { made }: Replay, signal: AbortSignal): Promise<void> {
  const there = new Set((await client.ask('SHOW DATABASES;', signal)).split('\n'))
  const drops = made
    .filter(({ database }) => there.has(database))
    .map(({ kind, database, name }) => `DROP ${kind} IF EXISTS ${quote(database)}.${quote(name)};`)
  if (drops.length === 0) return
  await client.ask(['SET SESSION foreign_key_checks = 0;', ...drops].join('\n'), signal)
}

/** @throws BackupError RESTORE_FAILED with the words of tool or server; BINLOG_… when it is not any more what was planned */
export async function replayBinlog(
  client: MysqlClient,
  replay: Replay,
  readiness: Readiness,
  signal: AbortSignal,
): Promise<void> {
  if (replay.transactions === 0) return
  await client.take(async target => {
    const kept = noneKept()
    const filter = new BinlogFilter(replay.scope, kept)
    const groups = new Groups()
    target.on('error', () => {}) // whoever writes next is told
    for (const [index, part] of replay.parts.entries()) {
      filter.systemZone = readiness.systemZones[index] ?? null
      await throughTool(readiness, piecesOf(part, groups, filter), target, signal)
    }
    if (kept.transactions !== replay.transactions) {
      const message = `replay the archived binlog: ${kept.transactions} transactions were found, and ${replay.transactions} before`
      throw new BackupError('BINLOG_DAMAGED', message)
    }
    target.end()
  }, signal)
}

/** A file that the tool reads: the beginning of that one, and what is kept of it. */
function* piecesOf(part: BinlogPart, groups: Groups, filter: BinlogFilter): Generator<Buffer> {
  let pieces: Buffer[] = [MAGIC]
  let bytes = 0
  for (const event of readEvents(part)) {
    if (event.type === EVENT.formatDescription) {
      groups.giveUp()
      pieces.push(event.format.bytes)
    }
    for (const piece of filtered(part, event, groups, filter)) {
      pieces.push(Buffer.from(piece))
      bytes += piece.byteLength
    }
    if (bytes < PIECE_BYTES) continue
    yield Buffer.concat(pieces)
    pieces = []
    bytes = 0
  }
  yield Buffer.concat(pieces)
}

function filtered(
  part: BinlogPart,
  event: Parameters<BinlogFilter['push']>[0],
  groups: Groups,
  filter: BinlogFilter,
): Buffer[] {
  const place = placed(groups, part, event)
  try {
    return filter.push(event, place)
  } catch (error) {
    throw problemOf(error, part, event)
  }
}

/** One file of the archive. The client that takes it stays open for the next. */
async function throughTool(
  { tool, withoutLog }: Readiness,
  pieces: Iterable<Buffer>,
  target: Writable,
  signal: AbortSignal,
): Promise<void> {
  const args = ['--no-defaults', '--verify-binlog-checksum', ...(withoutLog ? ['--disable-log-bin'] : []), '-']
  const child = spawn(tool, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { PATH: process.env['PATH'], LC_ALL: 'C' } })
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString('utf8')).slice(-SAID_MAX)))
  const ended = endOf(child)
  const stopping = new AbortController()
  const both = AbortSignal.any([signal, stopping.signal])
  // what breaks first is what counts: with the others it is a pipe that was closed
  const failed = (error: unknown): unknown => {
    stopping.abort()
    child.kill('SIGKILL')
    return error
  }
  const given = pipeline(Readable.from(pieces), child.stdin, { signal: both }).then(() => undefined, failed)
  const taken = pour(child.stdout, target, both).then(() => undefined, failed)
  const errors = (await Promise.all([given, taken])).filter(error => error !== undefined)
  const code = await ended
  signal.throwIfAborted()
  const ours = errors.find(error => error instanceof BackupError)
  if (ours) throw ours
  const [first] = errors.filter(error => !isAbort(error))
  const complaint = said.trim().split('\n').join('; ')
  if (complaint !== '' || (code !== 0 && first === undefined)) {
    throw new BackupError('RESTORE_FAILED', `run ${tool}: ${complaint || `it ended with ${code}`}`)
  }
  if (first !== undefined) throw first as Error // the client ended: MysqlClient says why
}

/** As `pipeline` does, but that `target` stays as it is. */
async function pour(source: Readable, target: Writable, signal: AbortSignal): Promise<void> {
  for await (const chunk of addAbortSignal(signal, source)) {
    if (target.errored) throw target.errored
    if (target.destroyed) throw new Error('the client has ended')
    if (!target.write(chunk)) await writable(target, signal)
  }
}

async function writable(target: Writable, signal: AbortSignal): Promise<void> {
  const settled = new AbortController()
  const wait = { signal: AbortSignal.any([signal, settled.signal]) }
  try {
    await Promise.race([once(target, 'drain', wait), once(target, 'close', wait)])
  } finally {
    settled.abort()
  }
}

function endOf(child: ChildProcess): Promise<number | string> {
  return new Promise(resolve => {
    child.once('error', error => resolve(error.message))
    child.once('close', (code, killed) => resolve(code ?? killed ?? 'nothing'))
  })
}

/** The tool of the other kind does not know all events. */
async function findTool(server: string): Promise<string> {
  const isMariadb = /mariadb/i.test(server)
  const names = isMariadb ? ['mariadb-binlog', 'mysqlbinlog'] : ['mysqlbinlog']
  const tool = findProgram(names)
  const install = isMariadb
    ? 'mariadb-server, which has it (some systems: mariadb-client)'
    : 'mysql-server-core or mysql-client of Oracle'
  const nextStep = `install ${install}, or say --without-binlog`
  const lacking = (why: string): BackupError =>
    new BackupError('RESTORE_FAILED', `find ${names.join(' or ')}, to replay the binlog of ${server}: ${why}`, {
      nextStep,
    })
  if (tool === undefined) throw lacking('it is not in PATH here')
  try {
    const { stdout } = await run(tool, ['--version'])
    // MariaDB's calls itself so, or has a version of its own below 4
    if (isMariadb !== /mariadb|binlog\s+Ver 3\./i.test(stdout))
      throw lacking(`${tool} is of another server (${stdout.trim().slice(0, 100)})`)
    return tool
  } catch (error) {
    throw error instanceof BackupError
      ? error
      : lacking(`${tool} does not run: ${reason(error)} ${systemCode(error) ?? ''}`)
  }
}
