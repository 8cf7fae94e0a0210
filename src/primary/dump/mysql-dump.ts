/**
 * A dump of MySQL or MariaDB by the server's own tool: one snapshot over all databases, straight from its standard
 * output to whoever takes it. Only a file with the credentials lies here meanwhile, for nobody else to read.
 */

import { spawn } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { setPriority } from 'node:os'
import { join } from 'node:path'
import { duration } from '../../shared/duration.js'
import { BackupError, reason } from '../../shared/errors.js'
import { giveBack } from '../../shared/give-back.js'
import { clientOptions, findProgram } from '../../shared/mysql-options.js'
import { CORE_TABLES } from '../../shared/catalog/schema.js'
import { asksForPosition } from './dump-position.js'
import { complaints, dumpArguments, findDumpTool } from './dump-tool.js'
import { expectDumpable } from './mysql-databases.js'
import type { ChildProcessByStdio } from 'node:child_process'
import type { Readable } from 'node:stream'
import type { DumpSink, TakeDump } from './dump-source.js'
import type { DumpTool } from './dump-tool.js'
import type { MysqlConfig } from '../../shared/catalog/database-config.js'

/** The server goes before: a dump may take longer. */
const NICENESS = 10
/** A table that somebody has locked is waited for by the server for a day; so long nobody should wait for us. */
const SILENCE_MS_MAX = 10 * 60_000
const COMPLAINTS_MAX = 16 * 1024
const WRITE_BYTES = 256 * 1024
/** Of the only part. */
const TABLES = 'tables.sql'

type Tool = ChildProcessByStdio<null, Readable, Readable>

export interface MysqlDumpOptions {
  readonly database: MysqlConfig
  /** Seafile's own first. */
  readonly databases: () => readonly string[]
  readonly stateDir: string
  /** A dump may lock the tables for writing while it begins, where its position in the binlog cannot be had otherwise. */
  readonly mayLock: boolean
  /** Default: SILENCE_MS_MAX. */
  readonly silenceMs?: number
}

export function mysqlDump(options: MysqlDumpOptions): TakeDump {
  const { database, databases: databasesNow, stateDir, mayLock, silenceMs = SILENCE_MS_MAX } = options
  const optionFile = join(stateDir, 'dump.cnf') // one name: what a killed agent leaves, the next one writes over
  return async (sink, signal) => {
    const tool = await findDumpTool()
    const databases = databasesNow()
    const server = await expectDumpable(database, databases)
    const withPosition = await asksForPosition(database, { tool, server, databases, mayLock })
    signal.throwIfAborted()
    await sink.header({ engine: 'mysql', server, tool: tool.version, databases, absent: [] })
    await sink.part(TABLES)
    rmSync(optionFile, { force: true }) // its mode is given only when it is made
    try {
      writeFileSync(optionFile, clientOptions(database), { mode: 0o600, flag: 'wx' })
      const ignored = CORE_TABLES.map(table => `${database.dbName}.${table}`)
      await runTool(
        tool,
        dumpArguments(tool, optionFile, databases, { ignored, withPosition }),
        { sink, silenceMs },
        signal,
      )
    } finally {
      rmSync(optionFile, { force: true })
    }
  }
}

interface Receiving {
  readonly sink: DumpSink
  readonly silenceMs: number
}

async function runTool(
  tool: DumpTool,
  args: readonly string[],
  { sink, silenceMs }: Receiving,
  signal: AbortSignal,
): Promise<void> {
  const [program, ...programArgs] = inLargeWrites([tool.path, ...args])
  const child = spawn(program as string, programArgs, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], LC_ALL: 'C' }, // MYSQL_PWD and the like are not ours to hand on
  })
  const ended = endOf(child)
  const kill = () => child.kill('SIGKILL')
  signal.addEventListener('abort', kill, { once: true })
  try {
    lowerPriority(child.pid)
    const isSilent = await receive(child, sink, silenceMs)
    const problem = await ended
    signal.throwIfAborted()
    if (isSilent) throw silent(tool, silenceMs)
    if (problem !== undefined) throw new BackupError('DUMP_FAILED', `run ${tool.path}: ${problem}`)
  } finally {
    signal.removeEventListener('abort', kill)
    kill()
    child.stdout.destroy() // what nobody reads any more would keep it from being closed
    await ended
  }
}

/**
 * The tool writes 4 KiB at a time, and reading 181 MB in such pieces took a second of our CPU. GNU's stdbuf becomes the
 * tool, which then writes as much as it is told; where there is none, or the tool does not listen, all is as before.
 */
function inLargeWrites(command: readonly string[]): readonly string[] {
  const stdbuf = findProgram(['stdbuf'])
  return stdbuf === undefined ? command : [stdbuf, `--output=${WRITE_BYTES}`, ...command]
}

/** All that it writes. True: it was ended, since it wrote nothing for so long; how long the receiver needs does not count. */
async function receive(child: Tool, sink: DumpSink, silenceMs: number): Promise<boolean> {
  const chunks = child.stdout[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  let isSilent = false
  const giveUp = () => {
    isSilent = true
    child.kill('SIGKILL')
  }
  for (;;) {
    const timer = setTimeout(giveUp, silenceMs)
    const next = await chunks.next().finally(() => clearTimeout(timer))
    if (next.done || isSilent) return isSilent
    await sink.bytes(next.value)
    giveBack(next.value)
  }
}

const silent = ({ path }: DumpTool, ms: number): BackupError =>
  new BackupError('DUMP_FAILED', `run ${path}: it has written nothing for ${duration(ms)}; is a table locked?`)

/** Why there is no dump; undefined: all of it was written. Never rejects. */
function endOf(child: Tool): Promise<string | undefined> {
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString('utf8')).slice(0, COMPLAINTS_MAX)))
  return new Promise(resolve => {
    child.on('error', error => resolve(reason(error)))
    child.on('close', (code, killed) => {
      const words = complaints(said)
      if (code === 0) return resolve(words === '' ? undefined : `it warned: ${words}`)
      resolve(`it ended with ${killed ?? code}: ${words || 'it gave no reason'}`)
    })
  })
}

function lowerPriority(pid: number | undefined): void {
  try {
    if (pid !== undefined) setPriority(pid, NICENESS)
  } catch {
    // it has ended already, and says why itself
  }
}
