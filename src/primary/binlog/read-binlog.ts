/**
 * The next of the server's binlog: read as a replica reads it, a bounded piece at a time over a connection of its own,
 * so that no slow line or slow backup holds anything on the server. Nothing of it is stored here.
 */

import { randomInt } from 'node:crypto'
import { BackupError, reason } from '../../shared/errors.js'
import { limit } from '../../shared/limit.js'
import { BinlogBroken } from '../../shared/binlog-events.js'
import { mysqlError } from '../../shared/catalog/mysql-errors.js'
import { isLogName } from '../../shared/wire/binlog-messages.js'
import { BinlogControl, BinlogUnavailable, hangUp, refused } from '../changes/binlog-access.js'
import { connectPlain } from '../mysql-connection.js'
import { isBefore } from '../changes/binlog-position.js'
import { askZone } from './ask-zone.js'
import { dumpBinlog } from './dump-command.js'
import { LastEnd } from './last-end.js'
import { BeyondReach, Slice, isBeginning } from './slice.js'
import type { Connection } from 'mysql2'
import type { MysqlConfig } from '../../shared/catalog/database-config.js'
import type { BinlogHeader, BinlogRequest } from '../../shared/wire/binlog-messages.js'
import type { BinlogPosition } from '../../shared/binlog-events.js'
import type { Piece } from './slice.js'

export interface BinlogAnswer {
  readonly header: BinlogHeader
  readonly pieces: readonly Piece[]
}

/** @throws BackupError BINLOG_UNAVAILABLE with what is missing; the codes of the database */
export type ReadBinlog = (asked: BinlogRequest, signal: AbortSignal) => Promise<BinlogAnswer>

/** The backup waits for a minute. */
const READ_MS_MAX = 45_000
const PURPOSE = 'for its archive, and tables of any second in a restore,'
/** Below the ids of agents that follow the binlog for hints, and above those that people give. */
const SERVER_ID = { min: 0x20000000, max: 0x3fffffff }
/** Of the server's words: a name may stand before them. */
const REASON_MAX = 200
const POSITION_MAX = 0xffffffff
const FIRST_EVENT_AT = 4
/** The number of what the server says where it cannot give what is asked for, whenever it is asked. */
const UNREADABLE = 1236
/** We take what MariaDB can say, and events as they are in the file, with checksums or without. */
const AS_REPLICA =
  "SET @mariadb_slave_capability = 4, @master_binlog_checksum = 'CRC32', @source_binlog_checksum = 'CRC32'"

/** Unix microseconds. A local time would be two moments in the hour that comes twice. */
const TIME = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3))"

export function sqliteHasNone(): ReadBinlog {
  return async () => {
    throw new BackupError('BINLOG_UNAVAILABLE', 'read the binlog: SQLite keeps none; dumps are the granularity')
  }
}

/** One at a time, under one id: the server ends one of before that is still open, as of a request that was given up. */
export function binlogOf(config: MysqlConfig, serverId = randomInt(SERVER_ID.min, SERVER_ID.max)): ReadBinlog {
  const inTurn = limit(1)
  const lastEnd = new LastEnd()
  const readNow = async (asked: BinlogRequest, signal: AbortSignal): Promise<BinlogAnswer> => {
    try {
      await using control = await BinlogControl.open(config, PURPOSE)
      await expectWholeEvents(control)
      return await read({ config, control, serverId, lastEnd }, asked, signal)
    } catch (error) {
      throw coded(config, error)
    }
  }
  return (asked, signal) => inTurn(() => readNow(asked, signal), signal)
}

function coded(config: MysqlConfig, error: unknown): unknown {
  if (error instanceof BackupError || (error instanceof Error && error.name === 'AbortError')) return error
  const unavailable = error instanceof BinlogUnavailable ? error : refused(error)
  if (unavailable) {
    return new BackupError('BINLOG_UNAVAILABLE', `read the binlog: ${unavailable.message}`, {}, { cause: error })
  }
  return mysqlError(config, error)
}

/**
 * An encrypted log is sent without the event that says so: what comes has a hole. MySQL encrypts below its positions.
 * What a filter leaves out shows nowhere; and by the default database it leaves out statements of any other, too.
 */
async function expectWholeEvents(control: BinlogControl): Promise<void> {
  const [, encrypted] = await control.row("SHOW GLOBAL VARIABLES LIKE 'encrypt_binlog'")
  if (encrypted === 'ON')
    throw new BinlogUnavailable(`the server encrypts its binary log; ${PURPOSE} set encrypt_binlog = OFF`)
  const { only, without } = await control.filters()
  const names = [
    ...(only === '' ? [] : [`binlog_do_db (${only})`]),
    ...(without === '' ? [] : [`binlog_ignore_db (${without})`]),
  ].join(' and ')
  if (names === '') return
  throw new BinlogUnavailable(
    `the server leaves databases out of its binary log by ${names.slice(0, REASON_MAX)}; ${PURPOSE} remove that from ` +
      'its configuration, and then take a dump',
  )
}

interface Reading {
  readonly config: MysqlConfig
  readonly control: BinlogControl
  readonly serverId: number
  readonly lastEnd: LastEnd
}

async function read(reading: Reading, { from, bytes }: BinlogRequest, signal: AbortSignal): Promise<BinlogAnswer> {
  const { control, lastEnd } = reading
  const [version, id, micros] = await control.row(`SELECT VERSION(), @@server_id, ${TIME}`)
  const server = { version: String(version), id: Number(id) }
  const serverTime = Math.floor(Number(micros) / 1000)
  const files = await control.files() // later than the time: all of that time lies before the end that they show
  const last = files.at(-1)
  if (!last || !isLogName(last.file)) throw new Error('the server lists no file of its binary log')
  const lost = from && whyLost(from, files)
  const answer = (
    header: Pick<BinlogHeader, 'lost' | 'atEnd' | 'format'> & Partial<Pick<BinlogHeader, 'zone'>>,
    pieces: readonly Piece[],
  ): BinlogAnswer => ({ header: { server, serverTime, zone: null, ...header }, pieces })
  if (lost) return answer({ lost, atEnd: false, format: null }, [])
  const unchanged = from && lastEnd.formatAt(from, { file: last.file, offset: last.size })
  if (unchanged) return answer({ lost: null, atEnd: true, format: unchanged }, [])
  lastEnd.forget()
  const start = from ?? { file: last.file, offset: FIRST_EVENT_AT }
  const slice = new Slice(start, bytes)
  const unreadable = await fill(slice, start, { ...reading, isMariadb: /mariadb/i.test(server.version) }, signal)
  const pieces = slice.end()
  // what is whole before the place that cannot be read is not lost with it: the next question is for that place
  if (unreadable !== undefined && pieces.length > 0)
    return answer({ lost: null, atEnd: false, format: slice.format }, pieces)
  if (unreadable !== undefined && from) return answer({ lost: unreadable, atEnd: false, format: slice.format }, [])
  if (unreadable !== undefined) throw new BinlogUnavailable(unreadable)
  lastEnd.note(slice.position, slice.position.file === start.file ? slice.format : null)
  const atEnd = !isBefore(slice.position, { file: last.file, offset: last.size })
  const zone = pieces.some(isBeginning) ? await askZone(control, serverTime) : null
  return answer({ lost: null, atEnd, format: slice.format, zone }, pieces)
}

function whyLost(
  { file, offset }: BinlogPosition,
  files: readonly { readonly file: string; readonly size: number }[],
): string | null {
  const held = files.find(one => one.file === file)
  if (!held) return `the server has no ${file} any more: it was purged or reset before all of it was archived`
  if (held.size < offset)
    return `${file} has ${held.size} bytes on the server, and ${offset} were archived: it was lost or replaced`
  if (offset > POSITION_MAX) return `${file} is longer than 4 GiB, and no replica can go on in it beyond`
  return null
}

/** Undefined: it was read, to its end or until the slice was full. Else why the server cannot. */
async function fill(
  slice: Slice,
  from: BinlogPosition,
  { config, serverId, isMariadb }: Reading & { readonly isMariadb: boolean },
  signal: AbortSignal,
): Promise<string | undefined> {
  const connection = await connectPlain(config)
  const patience = AbortSignal.timeout(READ_MS_MAX)
  let isOver = false
  try {
    isOver = await Promise.race([
      untilFull(connection, slice, { from, serverId, isMariadb }),
      brokenLine(connection),
      endOf(signal),
      endOf(patience),
    ])
    return undefined
  } catch (error) {
    if (error instanceof BeyondReach) return error.message
    if (error instanceof BinlogBroken || (error as { errno?: unknown }).errno === UNREADABLE)
      return `the server cannot read it from ${from.file} at ${from.offset}: ${reason(error).slice(0, REASON_MAX)}`
    if (patience.aborted && !signal.aborted) throw new Error(`it sent nothing whole within ${READ_MS_MAX / 1000} s`)
    throw error
  } finally {
    if (isOver) await hangUp(connection.promise())
    else connection.destroy()
  }
}

/** True: all that there is was read, and the server sends no more. */
async function untilFull(
  connection: Connection,
  slice: Slice,
  options: { readonly from: BinlogPosition; readonly serverId: number; readonly isMariadb: boolean },
): Promise<boolean> {
  await new Promise<void>((resolve, reject) =>
    connection.query(AS_REPLICA, error => (error ? reject(error) : resolve())),
  )
  return await new Promise<boolean>((resolve, reject) => {
    dumpBinlog(connection, options, event => {
      if (slice.isFull) return
      slice.take(event)
      if (slice.isFull) resolve(false)
    }).then(() => resolve(true), reject)
  })
}

function brokenLine(connection: Connection): Promise<never> {
  return new Promise((_resolve, reject) => connection.on('error', reject))
}

function endOf(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const end = () => reject(signal.reason as Error)
    if (signal.aborted) end()
    else signal.addEventListener('abort', end, { once: true })
  })
}
