/**
 * A MariaDB (or MySQL) of our own, for as long as a drill lasts: its own directory, its own socket, no network, no
 * configuration of the host's.
 */

import { execFile, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { BackupError, reason } from '../../shared/errors.js'
import { clientOptions, findProgram } from '../../shared/mysql-options.js'
import { sleep } from '../../shared/timing.js'
import { MysqlClient } from '../restore/mysql-client.js'
import type { ChildProcess } from 'node:child_process'
import type { MysqlAccess } from '../../shared/mysql-options.js'

const run = promisify(execFile)
const START_MS_MAX = 120_000
const STOP_MS_MAX = 60_000
const LOOK_MS = 100
const SAID_MAX = 4_000

/** Servers lie where an ordinary user's PATH does not lead. */
const find = (names: readonly string[]): string | undefined =>
  findProgram(names, { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/local/sbin` })

/** Undefined: none is installed. */
function programs(): { readonly server: string; readonly install: readonly string[] } | undefined {
  const [mariadb, installer] = [find(['mariadbd']), find(['mariadb-install-db'])]
  if (mariadb !== undefined && installer !== undefined) {
    const install = [installer, '--no-defaults', '--auth-root-authentication-method=normal', '--skip-test-db']
    return { server: mariadb, install }
  }
  const mysql = find(['mysqld'])
  return mysql === undefined ? undefined : { server: mysql, install: [mysql, '--no-defaults', '--initialize-insecure'] }
}

export class PrivateServer implements AsyncDisposable {
  readonly access: MysqlAccess
  /** Names it, as `--database` wants it. */
  readonly optionFile: string

  private constructor(
    private readonly dir: string,
    private readonly child: ChildProcess,
  ) {
    this.access = { host: '127.0.0.1', port: 3306, unixSocket: join(dir, 's'), user: 'root', password: '' }
    this.optionFile = join(dir, 'client.cnf')
    writeFileSync(this.optionFile, clientOptions(this.access), { mode: 0o600 })
  }

  static isInstalled(): boolean {
    return programs() !== undefined
  }

  /** `dataDir`: where its files go, not there yet. `timeZone`: what it calls SYSTEM; null: as the host has it. @throws BackupError RESTORE_FAILED with the server's words */
  static async start(dataDir: string, timeZone: string | null, signal: AbortSignal): Promise<PrivateServer> {
    const found = programs()
    if (!found)
      throw new BackupError('RESTORE_FAILED', 'start a database server: neither mariadbd nor mysqld is installed')
    const dir = mkdtempSync(join(tmpdir(), 'seaf-drill-')) // short: a socket's path has 107 bytes at most
    const own = [`--datadir=${dataDir}`, `--user=${userInfo().username}`]
    const [program = '', ...install] = found.install
    try {
      await run(program, [...install, ...own], { signal })
    } catch (error) {
      rmSync(dir, { recursive: true, force: true })
      throw failed(`run ${program}`, error)
    }
    const server = new PrivateServer(dir, start(found.server, dir, own, timeZone))
    try {
      await server.#answers(signal)
      return server
    } catch (error) {
      await server[Symbol.asyncDispose]()
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { child } = this
    if (isRunning(child)) {
      const ended = new Promise<void>(resolve => child.once('exit', () => resolve()))
      child.kill('SIGTERM')
      const kill = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX)
      await ended
      clearTimeout(kill)
    }
    rmSync(this.dir, { recursive: true, force: true })
  }

  async #answers(signal: AbortSignal): Promise<void> {
    let said = ''
    this.child.stderr?.on('data', (chunk: Buffer) => (said = (said + chunk.toString('utf8')).slice(-SAID_MAX)))
    const until = performance.now() + START_MS_MAX
    using client = new MysqlClient(this.access)
    for (;;) {
      await sleep(LOOK_MS, signal)
      if (!isRunning(this.child) || performance.now() > until) throw failed('start a database server', said)
      if (!existsSync(join(this.dir, 's'))) continue
      try {
        await client.ask('SELECT 1', signal)
        return
      } catch (error) {
        if (signal.aborted) throw error // else it is not ready yet
      }
    }
  }
}

const isRunning = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode === null && signalCode === null

/** It ends with us, where the host has the means. */
function start(server: string, dir: string, own: readonly string[], timeZone: string | null): ChildProcess {
  const args = [
    '--no-defaults',
    ...own,
    `--socket=${join(dir, 's')}`,
    `--pid-file=${join(dir, 'pid')}`,
    `--tmpdir=${dir}`,
    '--skip-networking',
    '--skip-log-bin',
    '--innodb-buffer-pool-size=64M',
    '--performance-schema=OFF',
  ]
  const setpriv = findProgram(['setpriv'])
  const [program, ...rest] = setpriv === undefined ? [server, ...args] : [setpriv, '--pdeathsig=KILL', server, ...args]
  const env = { ...process.env, ...(timeZone !== null && { TZ: timeZone }) }
  return spawn(program, rest, { stdio: ['ignore', 'ignore', 'pipe'], env })
}

function failed(operation: string, error: unknown): BackupError {
  const stderr = typeof error === 'object' && error !== null && 'stderr' in error ? String(error.stderr) : ''
  const words = typeof error === 'string' ? error : stderr || reason(error)
  const last = words.trim().split('\n').slice(-3).join('; ')
  return new BackupError('RESTORE_FAILED', `${operation}: ${last || 'it gave no reason'}`, {}, { cause: error })
}
