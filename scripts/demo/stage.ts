/**
 * Where the demo plays: two directories as on two hosts, a seafile.conf in each, both daemons as processes.
 *
 * An existing installation stays as it is: the agent gets a copy of its
 * seafile.conf with our own [backup] section, and only reads the rest.
 */

import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { BackupError, reason } from '../../src/shared/errors.js'
import { CONTROL_SOCKET } from '../../src/shared/directories.js'
import { ControlClient } from '../cmd/client.js'
import { DaemonProcess } from '../local/daemon-process.js'
import { freePorts } from '../local/free-ports.js'

/** Slow enough that there is a middle to be killed in. */
const MAX_RATE = '100M'
/** A Unix socket's path has 107 bytes at most. */
const SOCKET_PATH_MAX = 107
const START_ATTEMPTS = 3

export interface Side {
  readonly confDir: string
  readonly dataDir: string
  readonly stateDir: string
}

export class Stage implements AsyncDisposable {
  readonly client: ControlClient
  #agent: DaemonProcess | undefined
  #backup: DaemonProcess | undefined
  readonly #ended: Array<{ readonly role: string; readonly text: string }> = []

  private constructor(
    readonly dir: string,
    readonly primary: Side,
    readonly backup: Side,
  ) {
    this.client = new ControlClient(join(backup.stateDir, CONTROL_SOCKET))
  }

  /** `existing`: the directory of a Seafile installation; undefined: a sample will be made. */
  static async lay(existing: string | undefined): Promise<Stage> {
    const theirData = existing === undefined ? undefined : existingData(existing)
    const dir = await emptyDirectory()
    const primary = side(join(dir, 'primary'))
    const backup = side(join(dir, 'backup'))
    for (const path of [primary.confDir, backup.confDir, primary.stateDir, backup.dataDir])
      await mkdir(path, { recursive: true })
    return new Stage(dir, { ...primary, ...(theirData && { dataDir: theirData }) }, backup)
  }

  get backupPid(): number {
    return this.#backup?.pid ?? -1
  }

  /** Writes both files and starts both daemons. `theirs`: the text of the primary's own seafile.conf. */
  async start(theirs: string): Promise<void> {
    const token = randomBytes(20).toString('hex')
    for (let attempt = 1; ; attempt++) {
      const [agentPort = 0, backupPort = 0] = await freePorts(2)
      const agent = [
        `backup_url = ws://127.0.0.1:${backupPort}`,
        `listen = 127.0.0.1:${agentPort}`,
        `max_rate = ${MAX_RATE}`,
      ]
      const backup = [`primary_url = http://127.0.0.1:${agentPort}`, `listen = 127.0.0.1:${backupPort}`]
      await writeConf(this.primary.confDir, token, agent, withoutBackupSection(theirs))
      await writeConf(this.backup.confDir, token, backup, '[database]\ntype = sqlite\n')
      try {
        await this.#startBoth()
        return
      } catch (error) {
        await this.#killBoth()
        // somebody took a port since we looked
        if (attempt === START_ATTEMPTS || !reason(error).includes('EADDRINUSE')) throw error
      }
    }
  }

  async startBackup(): Promise<void> {
    this.#backup = new DaemonProcess('backup', flags(this.backup))
    await this.#backup.logged('backup ready')
  }

  async killBackup(): Promise<void> {
    await this.#backup?.kill()
    this.#remember('backup', this.#backup)
    this.#backup = undefined
  }

  /** Bytes that crossed the wire for `head`, as the daemon that runs now logged them; undefined: it recorded no such head. */
  bytesPulledFor(head: string): number | undefined {
    const line = this.#backup?.log.find(line => line.msg === 'head recorded' && line['head'] === head)
    return line && Number(line['bytes'])
  }

  /** Stops both, and leaves their logs beside the data. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#agent?.stop(), this.#backup?.stop()])
    this.#remember('primary', this.#agent)
    this.#remember('backup', this.#backup)
    for (const role of ['primary', 'backup']) {
      const texts = this.#ended.filter(ended => ended.role === role).map(({ text }) => text)
      await writeFile(join(this.dir, `${role}.log`), texts.join('\n') + '\n')
    }
  }

  async #startBoth(): Promise<void> {
    this.#agent = new DaemonProcess('primary', flags(this.primary))
    await this.#agent.logged('primary agent ready')
    await this.startBackup()
  }

  async #killBoth(): Promise<void> {
    await this.#agent?.kill()
    await this.killBackup()
  }

  #remember(role: string, daemon: DaemonProcess | undefined): void {
    if (daemon) this.#ended.push({ role, text: daemon.text() })
  }
}

export const flags = ({ confDir, dataDir, stateDir }: Side): string[] => [
  '--conf',
  confDir,
  '--data',
  dataDir,
  '--state',
  stateDir,
]

/** The seafile.conf of an installation: beside its data, or where newer ones keep it. */
export async function readExistingConf(dir: string): Promise<string> {
  const path = join(resolve(dir), 'conf', 'seafile.conf')
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    const message = `read ${path}: ${reason(error)}; --primary names the directory that holds conf and seafile-data`
    throw new BackupError('CONFIG_INVALID', message, { path }, { cause: error })
  }
}

function existingData(dir: string): string {
  const dataDir = join(resolve(dir), 'seafile-data')
  if (existsSync(join(dataDir, 'storage'))) return dataDir
  throw new BackupError(
    'CONFIG_INVALID',
    `find ${join(dataDir, 'storage')}: not there; --primary names the directory that holds conf and seafile-data`,
  )
}

const side = (dir: string): Side => ({
  confDir: join(dir, 'conf'),
  dataDir: join(dir, 'seafile-data'),
  stateDir: join(dir, 'seaf-backup-state'),
})

/** `demo-data` here, made anew; elsewhere when its path is too long for a socket. */
async function emptyDirectory(): Promise<string> {
  const here = resolve('demo-data')
  const socket = join(side(join(here, 'backup')).stateDir, CONTROL_SOCKET)
  if (Buffer.byteLength(socket) > SOCKET_PATH_MAX) return mkdtemp(join(tmpdir(), 'seaf-backup-demo-'))
  await rm(here, { recursive: true, force: true })
  await mkdir(here)
  return here
}

function withoutBackupSection(conf: string): string {
  let ours = false
  const kept = conf.split(/\r?\n/).filter(line => {
    const section = /^\s*\[([^\]]*)\]/.exec(line)
    if (section) ours = section[1]?.trim() === 'backup'
    return !ours
  })
  return kept.join('\n')
}

async function writeConf(dir: string, token: string, lines: readonly string[], rest: string): Promise<void> {
  const text = ['[backup]', `sync_token = ${token}`, ...lines, '', rest].join('\n')
  await writeFile(join(dir, 'seafile.conf'), text, { mode: 0o600 })
}
