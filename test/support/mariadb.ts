/**
 * A real MariaDB of a test's own: its own directory, its own Unix socket, no network.
 *
 * The directory is made once per process and copied, because installing the
 * system tables takes longer than the tests that use them.
 */

import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { ChildProcess } from 'node:child_process'

const run = promisify(execFile)
const START_MS_MAX = 60_000
const DEFAULT_ARGS = ['--log-bin', '--binlog-format=ROW', '--server-id=1']

let found: boolean | undefined
export const mariadbInstalled = (): boolean => (found ??= spawnSync('mariadbd', ['--version']).status === 0)

export interface MariadbOptions {
  /** In place of the default: a ROW binlog. */
  readonly args?: readonly string[]
  /** What it calls SYSTEM. Default: that of the host. */
  readonly timeZone?: string
}

export async function startMariadb(options: MariadbOptions = {}): Promise<Mariadb> {
  const dir = await mkdtemp(join(tmpdir(), 'sbm-')) // short: a socket's path has 107 bytes at most
  await cp(template(), join(dir, 'data'), { recursive: true })
  const server = new Mariadb(dir, options.args ?? DEFAULT_ARGS, options.timeZone)
  await server.start()
  return server
}

let made: string | undefined
function template(): string {
  if (made) return made
  const dir = mkdtempSync(join(tmpdir(), 'sbm-template-'))
  process.once('exit', () => rmSync(dir, { recursive: true, force: true }))
  const data = join(dir, 'data')
  const own = [`--datadir=${data}`, `--tmpdir=${dir}`, ...asUser()]
  execFileSync(
    'mariadb-install-db',
    ['--no-defaults', ...own, '--auth-root-authentication-method=normal', '--skip-test-db'],
    { stdio: 'pipe' },
  )
  return (made = data)
}

const asUser = (): string[] => [`--user=${userInfo().username}`]

export class Mariadb implements AsyncDisposable {
  readonly user = 'root'
  readonly socket: string
  #process: ChildProcess | undefined

  constructor(
    readonly dir: string,
    private readonly args: readonly string[],
    /** From its next start on. */
    public timeZone?: string,
  ) {
    this.socket = join(dir, 's')
  }

  /** Also after `stop` or `kill`: the same data again. */
  async start(): Promise<void> {
    const child = spawn(
      'setpriv', // the server does not outlive a test that is killed, which no exit handler would see
      [
        '--pdeathsig=KILL',
        'mariadbd',
        '--no-defaults',
        `--datadir=${join(this.dir, 'data')}`,
        `--tmpdir=${this.dir}`, // its own: a server that starts removes every `#sql*` there, also another's
        `--socket=${this.socket}`,
        `--pid-file=${join(this.dir, 'pid')}`,
        '--skip-networking',
        '--skip-name-resolve',
        '--innodb-buffer-pool-size=16M',
        '--innodb-log-file-size=16M',
        '--performance-schema=OFF',
        '--console',
        ...asUser(),
        ...this.args,
      ],
      {
        stdio: ['ignore', 'ignore', 'pipe'],
        env: { ...process.env, ...(this.timeZone !== undefined && { TZ: this.timeZone }) },
      },
    )
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4_000)))
    const kill = () => child.kill('SIGKILL')
    process.once('exit', kill)
    child.once('exit', () => process.off('exit', kill))
    this.#process = child
    const until = Date.now() + START_MS_MAX
    while (!(await this.#answers())) {
      if (child.exitCode !== null || child.signalCode !== null || Date.now() > until)
        throw new Error(`mariadbd did not start:\n${said}`)
      await delay(50)
    }
  }

  /** Rows as the client prints them: tab-separated, no header. */
  async query(sql: string, db?: string): Promise<string> {
    const { stdout } = await run('mariadb', [...this.#client(), ...(db ? [db] : []), '-N', '-B', '--raw', '-e', sql], {
      maxBuffer: 1e9,
    })
    return stdout
  }

  /** A dump as mariadb-dump writes it; its own CREATE DATABASE and USE lines are obeyed. */
  async loadFile(path: string, db: string): Promise<void> {
    await this.query(`CREATE DATABASE IF NOT EXISTS \`${db}\``)
    const text = await readFile(path)
    await new Promise<void>((resolve, reject) => {
      const client = spawn('mariadb', [...this.#client(), db], { stdio: ['pipe', 'ignore', 'pipe'] })
      let said = ''
      client.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()))
      client.on('close', code => (code === 0 ? resolve() : reject(new Error(`load ${path}: ${said}`))))
      client.stdin.end(text)
    })
  }

  /** A clean shutdown. */
  stop(): Promise<void> {
    return this.#end('SIGTERM')
  }

  /** As a power cut. */
  kill(): Promise<void> {
    return this.#end('SIGKILL')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    await rm(this.dir, { recursive: true, force: true })
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const exited = new Promise<void>(resolve => child.once('exit', () => resolve()))
    child.kill(signal)
    await exited
  }

  async #answers(): Promise<boolean> {
    if (!existsSync(this.socket)) return false
    return this.query('SELECT 1').then(
      () => true,
      () => false,
    )
  }

  #client(): string[] {
    return ['--no-defaults', `--user=${this.user}`, `--socket=${this.socket}`]
  }
}
