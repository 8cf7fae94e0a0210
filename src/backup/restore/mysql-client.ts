/**
 * SQL into a MySQL or MariaDB server, by the server's own client.
 *
 * What is in a dump comes from the primary: the client is told to obey nothing
 * but SQL in it (`--binary-mode` leaves no command of the client's own but
 * `delimiter`), and reads no option file but ours.
 */

import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { closeSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BackupError, isAbort, reason } from '../../shared/errors.js'
import { clientOptions, findProgram } from '../../shared/mysql-options.js'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import type { Writable } from 'node:stream'
import type { MysqlAccess } from '../../shared/mysql-options.js'

const CLIENTS = ['mariadb', 'mysql']
const SAID_MAX = 4_000
const LOCK = 'seaf-backup tables'
/** For what a client that was left behind needs to end: it has the rest of a pipe. */
const ALONE_SECONDS_MAX = 60
/**
 * When we are killed, a client of ours goes on with what it was given: whoever comes next waits until it has ended, or its
 * statements would fall among ours. The server lets go of the lock with the connection, when it notices its end. Without
 * the lock the statement fails, by two rows where one may be, and the client ends.
 */
const ALONE = `SET @alone = IF(GET_LOCK('${LOCK}', ${ALONE_SECONDS_MAX}) = 1, 1, (SELECT 1 UNION SELECT 2));\n`
const NOT_ALONE = /^ERROR 1242 \(21000\) at line 1\b/m
/** Of an answer; what is longer is cut at its beginning. */
const ANSWER_MAX = 1_000_000

/** The server's own client, one process for each question. */
export class MysqlClient implements Disposable {
  readonly #program: string
  readonly #options: number

  constructor(private readonly server: MysqlAccess) {
    this.#program = findClient()
    this.#options = withoutName(clientOptions(server))
  }

  [Symbol.dispose](): void {
    closeSync(this.#options)
  }

  ask(sql: string, signal: AbortSignal): Promise<string> {
    return this.take(async target => {
      await new Promise<void>((resolve, reject) => {
        target.once('error', reject)
        target.end(sql, resolve)
      })
    }, signal)
  }

  /** `feed` writes SQL to the client and ends its input. Gives what it said. */
  async take(feed: (target: Writable) => Promise<void>, signal: AbortSignal): Promise<string> {
    const args = ['--defaults-file=/dev/fd/3', '--batch', '--skip-column-names', '--binary-mode']
    const child = spawn(this.#program, [...args, '--default-character-set=utf8mb4', '--max-allowed-packet=1G'], {
      stdio: ['pipe', 'pipe', 'pipe', this.#options],
      env: { PATH: process.env['PATH'], LC_ALL: 'C' },
    }) as ChildProcessWithoutNullStreams // the first three are pipes
    const said = { stdout: '', stderr: '' }
    child.stdout.on(
      'data',
      (chunk: Buffer) => (said.stdout = (said.stdout + chunk.toString('utf8')).slice(-ANSWER_MAX)),
    )
    child.stderr.on('data', (chunk: Buffer) => (said.stderr = (said.stderr + chunk.toString('utf8')).slice(-SAID_MAX)))
    const kill = () => child.kill('SIGKILL')
    signal.addEventListener('abort', kill, { once: true })
    const ended = new Promise<number | string>(resolve => {
      child.once('error', error => resolve(error.message))
      child.once('close', (code, killed) => resolve(code ?? killed ?? 'nothing'))
    })
    try {
      let fed: unknown
      // a client that ends early breaks the pipe: why it ended is what counts
      child.stdin.write(ALONE)
      await feed(child.stdin).catch((error: unknown) => (fed = error))
      if (fed !== undefined) child.stdin.destroy()
      const code = await ended
      signal.throwIfAborted()
      if (fed instanceof BackupError || isAbort(fed)) throw fed as Error
      if (code === 0 && fed === undefined) return said.stdout
      if (NOT_ALONE.test(said.stderr)) throw this.#notAlone()
      const why =
        said.stderr.trim().split('\n').join('; ') || (fed === undefined ? `it ended with ${code}` : reason(fed))
      throw new BackupError('RESTORE_FAILED', `run ${this.#program} for ${where(this.server)}: ${why}`)
    } finally {
      signal.removeEventListener('abort', kill)
      kill()
      await ended
    }
  }

  #notAlone(): BackupError {
    const nextStep = `see which connection has it, SELECT IS_USED_LOCK('${LOCK}'), and wait for its end or KILL it`
    const why = `for ${ALONE_SECONDS_MAX} s another restore or promotion has been writing there, or a connection of one that was killed is still open`
    return new BackupError('RESTORE_FAILED', `write to ${where(this.server)}: ${why}`, { nextStep })
  }
}

const where = ({ unixSocket, host, port, user }: MysqlAccess): string => `${user} at ${unixSocket ?? `${host}:${port}`}`

/** A file that has none any more, open for reading and passing on: the password in it goes with us, however we end. */
function withoutName(text: string): number {
  const path = join(tmpdir(), `seaf-backup-client-${randomUUID()}`)
  const fd = openSync(path, 'wx+', 0o600)
  try {
    rmSync(path)
    writeFileSync(fd, text)
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

function findClient(): string {
  const found = findProgram(CLIENTS)
  if (found !== undefined) return found
  const nextStep = 'install mariadb-client, or the client of your MySQL'
  throw new BackupError('RESTORE_FAILED', `find ${CLIENTS.join(' or ')}: neither is in PATH here`, { nextStep })
}
