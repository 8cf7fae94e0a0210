/**
 * A primary and a backup, each a real process with its own directories and
 * database, joined by relays so that a test can cut the line.
 */

import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { openCatalog, openCatalogReader } from '../../src/shared/catalog/open-catalog.js'
import { silentLog } from '../../src/shared/log.js'
import { LibraryWriter } from '../../src/shared/seafile/library-writer.js'
import { DaemonProcess } from '../../scripts/local/daemon-process.js'
import { Relay } from './relay.js'
import type { CatalogWriter } from '../../src/shared/catalog/catalog.js'
import type { DatabaseConfig } from '../../src/shared/catalog/database-config.js'
import type { RepoId } from '../../src/shared/ids.js'
import type { HeadLogEntry, LibraryStatus, StatusReport, SyncEvent } from '../../src/shared/wire/control-messages.js'

export const TOKEN = '0123456789abcdef0123456789abcdef01234567'
const SETTLE_MS_MAX = 120_000
export const never = new AbortController().signal

export interface SideOptions {
  /** Default: SQLite in the side's own data directory. */
  readonly database?: DatabaseConfig
  /** More lines for `[backup]`. */
  readonly conf?: readonly string[]
  readonly token?: string
}

export interface PairOptions {
  readonly primary?: SideOptions
  readonly backup?: SideOptions
  /** Called with the primary's directory before anything starts: lay data there. */
  readonly prepare?: (primaryDir: string) => Promise<void>
  /** Hours; default an hour, so that what arrives came by an event. */
  readonly sweepHours?: number
  /** `dump_schedule`; default off, so that only what a test is about happens. */
  readonly dumps?: string
  /** Whether the primary's binlog is archived; default not, for the same reason. */
  readonly binlog?: boolean
  /** Further nodes of the primary that the backup may ask, after the one of this pair. */
  readonly otherPrimaries?: readonly string[]
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca: string }
}

interface Side {
  readonly dir: string
  readonly dataDir: string
  readonly database: DatabaseConfig
  readonly relay: Relay
  process: DaemonProcess | undefined
}

export class Pair implements AsyncDisposable {
  #catalog: CatalogWriter | undefined
  #writer: LibraryWriter | undefined

  private constructor(
    readonly dir: string,
    readonly primary: Side,
    readonly backup: Side,
  ) {}

  /** Lays out both sides and writes their seafile.conf; nothing runs yet. */
  static async lay(options: PairOptions = {}): Promise<Pair> {
    const dir = await mkdtemp(join(tmpdir(), 'sbp-')) // short: a socket's path has 107 bytes at most
    const side = async (name: 'primary' | 'backup', given: SideOptions = {}): Promise<Side> => {
      const base = join(dir, name)
      const dataDir = join(base, 'seafile-data')
      for (const d of ['conf', 'seafile-data/storage', 'seafile-data/tmpfiles'])
        await mkdir(join(base, d), { recursive: true })
      const database = given.database ?? { type: 'sqlite', path: join(dataDir, 'seafile.db') }
      return { dir: base, dataDir, database, relay: await Relay.start(), process: undefined }
    }
    const primary = await side('primary', options.primary)
    const backup = await side('backup', options.backup)
    await options.prepare?.(primary.dir)
    const pair = new Pair(dir, primary, backup)
    await pair.#configure(options)
    return pair
  }

  static async start(options: PairOptions = {}): Promise<Pair> {
    const pair = await Pair.lay(options)
    try {
      await pair.catalog() // makes an empty primary's tables before the agent looks
      await pair.startPrimary()
      await pair.startBackup()
      return pair
    } catch (error) {
      await pair[Symbol.asyncDispose]()
      throw error
    }
  }

  async startPrimary(env: NodeJS.ProcessEnv = {}): Promise<DaemonProcess> {
    const daemon = new DaemonProcess('primary', ['--conf', join(this.primary.dir, 'conf')], env)
    this.primary.process = daemon
    const ready = await daemon.logged('primary agent ready')
    this.primary.relay.target = Number(new URL(String(ready['api'])).port)
    return daemon
  }

  /** `is`: what it logs when it listens. */
  async startBackup(env: NodeJS.ProcessEnv = {}, is = 'backup ready'): Promise<DaemonProcess> {
    const daemon = new DaemonProcess('backup', ['--conf', join(this.backup.dir, 'conf')], env)
    this.backup.process = daemon
    const ready = await daemon.logged(is)
    this.backup.relay.target = Number(new URL(String(ready['events'])).port)
    return daemon
  }

  /** Neither side hears of the other until `reconnect`: events bring small changes, so that one line is not enough. */
  cutOff(): void {
    for (const { relay } of [this.primary, this.backup]) relay.cut()
  }

  reconnect(): void {
    for (const { relay } of [this.primary, this.backup]) relay.mend()
  }

  /** Of the primary, for writing: as the Seafile server beside the agent. */
  async catalog(): Promise<CatalogWriter> {
    return (this.#catalog ??= await openCatalog(this.primary.database, silentLog, { create: true }))
  }

  async writer(): Promise<LibraryWriter> {
    return (this.#writer ??= new LibraryWriter({ dataDir: this.primary.dataDir, catalog: await this.catalog() }))
  }

  get socketPath(): string {
    return join(this.backup.dir, 'seaf-backup-state', 'control.sock')
  }

  async status(): Promise<StatusReport & { readonly libraries: readonly LibraryStatus[] }> {
    return JSON.parse(await this.#control('GET', '/v1/status?libraries=1')) as never
  }

  async library(repo: string): Promise<LibraryStatus | undefined> {
    return (await this.status()).libraries.find(library => library.id === repo)
  }

  /** As `library`, when no late hint of it is being looked up any more. */
  async libraryAtRest(repo: string): Promise<LibraryStatus | undefined> {
    let found: LibraryStatus | undefined
    await this.until('at rest', async () => {
      found = await this.library(repo)
      return found?.state !== 'syncing' && found?.state !== 'waiting'
    })
    return found
  }

  /** `sync` as the command does it; the events, the last of which is `end` or `error`. */
  async sync(library: string | null, force = false, full = false): Promise<SyncEvent[]> {
    const text = await this.#control('POST', '/v1/sync', JSON.stringify({ library, force, full }))
    return text
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as SyncEvent)
  }

  /** Newest first. */
  async headLog(library: string): Promise<HeadLogEntry[]> {
    const answer = JSON.parse(await this.#control('GET', `/v1/log?library=${library}`)) as { entries: HeadLogEntry[] }
    return answer.entries
  }

  async heads(side: 'primary' | 'backup'): Promise<Map<RepoId, string>> {
    await using reader = await openCatalogReader(this[side].database, silentLog)
    return await reader.heads(never) // awaited here: the reader is closed on the way out
  }

  /** Resolves when a sweep has been made and every library is synchronized, or failed for a reason that is its own. */
  async settle(): Promise<void> {
    await this.until('settled', async () => {
      const { counts, primary, libraries } = await this.status()
      if (primary.lastSweepAgoMs === null || primary.problem) return false
      if (counts.waiting > 0 || counts.syncing > 0) return false
      if (libraries.some(l => l.failure?.retrying)) return false
      const theirs = await this.heads('primary')
      const known = new Map(libraries.map(l => [l.id, l]))
      return [...theirs].every(([repo, head]) => known.get(repo)?.head === head || known.get(repo)?.state === 'failed')
    })
  }

  /** Polls until true; fails with what the daemons said. */
  async until(what: string, holds: () => Promise<boolean>): Promise<void> {
    const end = Date.now() + SETTLE_MS_MAX
    for (;;) {
      let why = ''
      try {
        if (await holds()) return
      } catch (error) {
        why = String(error)
      }
      if (Date.now() > end) throw new Error(`not ${what} within two minutes (${why})\n${await this.#evidence()}`)
      await delay(20)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.primary.process?.kill()
    await this.backup.process?.kill()
    await this.#catalog?.[Symbol.asyncDispose]()
    await this.primary.relay[Symbol.asyncDispose]()
    await this.backup.relay[Symbol.asyncDispose]()
    await rm(this.dir, { recursive: true, force: true })
  }

  async #configure(options: PairOptions): Promise<void> {
    const { tls } = options
    const secure = tls ? [`tls_cert = ${tls.cert}`, `tls_key = ${tls.key}`, `ca_file = ${tls.ca}`] : []
    const host = tls ? 'localhost' : '127.0.0.1'
    await writeConf(this.primary, options.primary, [
      `backup_url = ${tls ? 'wss' : 'ws'}://${host}:${this.backup.relay.port}`,
      ...secure,
    ])
    await writeConf(this.backup, options.backup, [
      `primary_url = ${[`${tls ? 'https' : 'http'}://${host}:${this.primary.relay.port}`, ...(options.otherPrimaries ?? [])].join(', ')}`,
      `sync_poll_interval = ${options.sweepHours ?? 1}`,
      `dump_schedule = ${options.dumps ?? 'off'}`,
      `binlog_archive = ${options.binlog ? 'auto' : 'off'}`,
      ...secure,
    ])
  }

  #control(method: string, path: string, body = ''): Promise<string> {
    return new Promise((resolve, reject) => {
      const asking = request(
        { socketPath: this.socketPath, method, path, headers: { 'content-type': 'application/json' } },
        response => {
          let text = ''
          response.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')))
          response.on('end', () => resolve(text))
          response.on('error', reject)
        },
      )
      asking.on('error', reject)
      asking.end(body)
    })
  }

  async #evidence(): Promise<string> {
    const status = await this.status().then(s => JSON.stringify(s, null, 1).slice(0, 4_000), String)
    const tail = (daemon: DaemonProcess | undefined) => daemon?.text().slice(-3_000) ?? 'not running'
    return `${status}\n--- primary\n${tail(this.primary.process)}\n--- backup\n${tail(this.backup.process)}`
  }
}

async function writeConf(side: Side, options: SideOptions = {}, backup: readonly string[]): Promise<void> {
  const lines = [
    '[backup]',
    `sync_token = ${options.token ?? TOKEN}`,
    'listen = 127.0.0.1:0',
    ...backup,
    ...(options.conf ?? []),
    '',
    '[database]',
    ...databaseLines(side.database),
  ]
  const file = join(side.dir, 'conf', 'seafile.conf')
  await writeFile(file, lines.join('\n') + '\n')
  await chmod(file, 0o600)
}

function databaseLines(database: DatabaseConfig): string[] {
  if (database.type === 'sqlite') return ['type = sqlite']
  const { user, password, dbName, unixSocket } = database
  return [
    'type = mysql',
    `unix_socket = ${String(unixSocket)}`,
    `user = ${user}`,
    `password = ${password}`,
    `db_name = ${dbName}`,
  ]
}
