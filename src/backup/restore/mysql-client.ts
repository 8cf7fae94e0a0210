/**
 * SQL into a MySQL or MariaDB server, by the server's own client.
 *
 * What is in a dump comes from the primary: the client is told to obey nothing
 * but SQL in it (`--binary-mode` leaves no command of the client's own but
 * `delimiter`), and reads no option file but ours.
 */

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BackupError, isAbort, reason } from '../../shared/errors.js'
import { clientOptions, findProgram } from '../../shared/mysql-options.js'
import type { Writable } from 'node:stream'
import type { MysqlAccess } from '../../shared/mysql-options.js'

const CLIENTS = ['mariadb', 'mysql']
const SAID_MAX = 4_000
/**
 * When we are killed, a client of ours goes on with what it was given: whoever comes next waits until it has ended, or its
 * statements would fall among ours. The server lets go of the lock with the connection.
 */
const ALONE = "DO GET_LOCK('seaf-backup tables', 86400);\n"
/** Of an answer; what is longer is cut at its beginning. */
const ANSWER_MAX = 1_000_000

/** The server's own client, one process for each question. */
export class MysqlClient implements Disposable {
  readonly #program: string
  readonly #dir: string

  constructor(private readonly server: MysqlAccess) {
    this.#program = findClient()
    this.#dir = mkdtempSync(join(tmpdir(), 'seaf-backup-restore-'))
    writeFileSync(join(this.#dir, 'client.cnf'), clientOptions(server), { mode: 0o600, flag: 'wx' })
  }

  [Symbol.dispose](): void {
    rmSync(this.#dir, { recursive: true, force: true })
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
    const args = [`--defaults-file=${join(this.#dir, 'client.cnf')}`, '--batch', '--skip-column-names', '--binary-mode']
    const child = spawn(this.#program, [...args, '--default-character-set=utf8mb4', '--max-allowed-packet=1G'], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], LC_ALL: 'C' },
    })
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
      const why =
        said.stderr.trim().split('\n').join('; ') || (fed === undefined ? `it ended with ${code}` : reason(fed))
      throw new BackupError('RESTORE_FAILED', `run ${this.#program} for ${where(this.server)}: ${why}`)
    } finally {
      signal.removeEventListener('abort', kill)
      kill()
      await ended
    }
  }
}

const where = ({ unixSocket, host, port, user }: MysqlAccess): string => `${user} at ${unixSocket ?? `${host}:${port}`}`

function findClient(): string {
  const found = findProgram(CLIENTS)
  if (found !== undefined) return found
  const nextStep = 'install mariadb-client, or the client of your MySQL'
  throw new BackupError('RESTORE_FAILED', `find ${CLIENTS.join(' or ')}: neither is in PATH here`, { nextStep })
}
