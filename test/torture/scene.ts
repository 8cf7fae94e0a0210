/**
 * Both daemons under load, killed and started again round after round; between two rounds nobody runs the backup, and
 * what it holds is looked at cold.
 */

import { execFile, spawn } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Pair } from '../support/pair.js'
import { ServerActs } from '../support/server-acts.js'
import { testDatabase } from '../support/sides.js'
import { ColdCopy } from './cold-copy.js'
import { Load } from './load.js'
import type { DaemonProcess } from '../../scripts/local/daemon-process.js'
import type { Random } from '../kinds/random.js'
import type { Engine, TestDatabase } from '../support/sides.js'
import type { Look } from './cold-copy.js'
import type { Victim } from './aims.js'

const PRELOAD = new URL('./failpoints.js', import.meta.url).href
const COMMAND = fileURLToPath(new URL('../../scripts/seaf-backup-cmd.js', import.meta.url))
/** Between two looks at what the backup says of itself. */
const ASK_MS = 20

export interface Aim {
  readonly point: string
  readonly nth: number
}

export class Scene implements AsyncDisposable {
  readonly #acknowledged = new Map<string, Set<string>>()
  #temps: readonly string[] = []
  /** A start that was not killed before it was ready has removed `#temps`. */
  #wasReady = false
  readonly #down = new Set<Victim>()
  readonly copy: ColdCopy

  private constructor(
    readonly pair: Pair,
    readonly load: Load,
    readonly databases: Readonly<Record<Victim, TestDatabase>>,
  ) {
    this.copy = new ColdCopy({
      dataDir: pair.backup.dataDir,
      stateDir: join(pair.backup.dir, 'seaf-backup-state'),
      database: pair.backup.database,
      primaryDataDir: pair.primary.dataDir,
    })
  }

  static async open(engine: Engine, random: Random): Promise<Scene> {
    const databases = { primary: await testDatabase(engine), backup: await testDatabase(engine) }
    const side = ({ database }: TestDatabase) => (database ? { database } : {})
    const pair = await Pair.lay({
      primary: { ...side(databases.primary), conf: ['workers = 1'] },
      backup: { ...side(databases.backup), conf: ['workers = 2'] },
      sweepHours: 0.0003, // a second: the agent may be away, or waiting to connect again
    })
    await compile(pair.dir)
    const load = new Load(await pair.writer(), new ServerActs(pair.primary.dataDir, pair.primary.database), random)
    return new Scene(pair, load, databases)
  }

  get backup(): DaemonProcess | undefined {
    return this.pair.backup.process
  }

  get agent(): DaemonProcess | undefined {
    return this.pair.primary.process
  }

  /** By the backup that runs now. */
  get headsRecorded(): number {
    return this.backup?.log.filter(line => line.msg === 'head recorded').length ?? 0
  }

  async startAgent(aim?: Aim): Promise<void> {
    await this.agent?.kill()
    await ready(this.pair.startPrimary(this.#environment('primary', aim)), () => this.agent)
  }

  /** Resolves when it is ready, or has died before. */
  async startBackup(aim?: Aim): Promise<void> {
    await ready(this.pair.startBackup(this.#environment('backup', aim)), () => this.backup)
    this.#wasReady ||= this.backup?.log.some(line => line.msg === 'backup ready') ?? false
  }

  #environment(side: Victim, aim: Aim | undefined): NodeJS.ProcessEnv {
    return { ...environment(side, aim), NODE_COMPILE_CACHE: compiled(this.pair.dir) }
  }

  /** Hears what the backup says to be safe, until it dies or `until` comes. */
  async listen(until: Promise<unknown>, random: Random): Promise<void> {
    let over = false
    const end = until.finally(() => (over = true))
    while (!over && this.backup?.running) {
      // it may die while it is asked, or be waiting for an agent that is away
      await Promise.race([end, this.#ask(random).catch(() => {})])
      await Promise.race([end, this.backup?.exited, delay(ASK_MS)])
    }
  }

  async #ask(random: Random): Promise<void> {
    if (random.chance(0.4)) for (const [repo, head] of await this.pair.heads('backup')) this.#acknowledge(repo, head)
    const { libraries } = await this.pair.status()
    for (const { id, head, state } of libraries) if (state === 'synchronized' && head) this.#acknowledge(id, head)
    const repo = random.pick(this.load.repos)
    if (repo === undefined || !random.chance(0.1)) return
    for (const event of await this.pair.sync(repo))
      if (event.type === 'library' && event.library.state === 'synchronized' && event.library.head)
        this.#acknowledge(repo, event.library.head)
  }

  #acknowledge(repo: string, head: string): void {
    this.#acknowledged.set(repo, (this.#acknowledged.get(repo) ?? new Set()).add(head))
  }

  /** `seaf-backup-cmd sync` as a person runs it; killed after `killAfterMs`, unless it is done by then. True: it was killed. */
  async command(killAfterMs: number): Promise<boolean> {
    const args = [COMMAND, 'sync', '--all', '--conf', join(this.pair.backup.dir, 'conf')]
    const child = spawn(process.execPath, args, { stdio: 'ignore' })
    const exited = new Promise<void>(resolve => child.once('exit', () => resolve()))
    await Promise.race([exited, delay(killAfterMs)])
    const killed = child.exitCode === null && child.signalCode === null
    if (killed) child.kill('SIGKILL')
    await exited
    return killed
  }

  async killDatabase(of: Victim): Promise<void> {
    this.#down.add(of)
    await this.databases[of].server?.kill()
  }

  async startDatabases(): Promise<void> {
    for (const of of this.#down) await this.databases[of].server?.start()
    this.#down.clear()
  }

  /** Kills the backup, if it still runs, and looks at what it leaves. */
  async lookCold(): Promise<Look> {
    const endings = [await endedByItself('the agent', this.agent), await endedByItself('the backup', this.backup)]
    await this.backup?.kill()
    const look = await this.copy.look(this.#acknowledged)
    const stayed = this.#wasReady ? this.#temps.filter(name => look.temps.includes(name)) : []
    this.#temps = this.#wasReady ? look.temps : [...new Set([...this.#temps, ...look.temps])]
    this.#wasReady = false
    this.#acknowledged.clear()
    for (const [repo, head] of look.heads) this.#acknowledge(repo, head)
    const problems = stayed.map(name => `temp file ${name} was there before a start, and still is`)
    return { ...look, problems: [...endings.flat(), ...look.problems, ...problems] }
  }

  get acknowledged(): ReadonlyMap<string, ReadonlySet<string>> {
    return this.#acknowledged
  }

  /** Stops everything; `keep`: the directories stay. */
  async close({ keep }: { keep: boolean }): Promise<void> {
    await this.load.stop()
    await this.agent?.kill()
    await this.backup?.kill()
    if (keep) {
      await this.databases.primary.server?.kill()
      await this.databases.backup.server?.kill()
      return
    }
    await this.pair[Symbol.asyncDispose]()
    for (const database of Object.values(this.databases)) await database[Symbol.asyncDispose]()
    await rm(this.pair.dir, { recursive: true, force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close({ keep: false })
  }
}

const compiled = (dir: string): string => join(dir, 'compiled')

/** A killed process keeps nothing of what it compiled: each daemon is run once to its end, for all the starts to come. */
async function compile(dir: string): Promise<void> {
  for (const main of ['primary', 'backup']) {
    const file = fileURLToPath(new URL(`../../src/${main}/main.js`, import.meta.url))
    const env = { ...process.env, ...environment(main as Victim, undefined), NODE_COMPILE_CACHE: compiled(dir) }
    await promisify(execFile)(process.execPath, [file, '--help'], { env })
  }
}

/** The failpoint that a daemon died at. */
export const diedAt = (daemon: DaemonProcess | undefined): string | undefined =>
  daemon?.log.find(line => line.msg === 'failpoint')?.['point'] as string | undefined

/** Whatever happens around a daemon, only a signal ends it. */
async function endedByItself(who: string, daemon: DaemonProcess | undefined): Promise<string[]> {
  if (!daemon || daemon.running) return []
  const { code, signal } = await daemon.exited
  return signal === 'SIGKILL' ? [] : [`${who} ended by itself with ${code ?? signal}: ${daemon.text().slice(-600)}`]
}

/** For a process that is to die there. */
export function environment(side: Victim, aim: Aim | undefined): NodeJS.ProcessEnv {
  return {
    NODE_OPTIONS: `--import=${PRELOAD}`,
    TORTURE_SIDE: side,
    TORTURE_AIM: aim ? `${aim.nth} ${aim.point}` : '',
  }
}

/** A daemon that we killed, or that killed itself, before it was ready is no failure; one that gave up is. */
async function ready(starting: Promise<DaemonProcess>, daemon: () => DaemonProcess | undefined): Promise<void> {
  try {
    await starting
  } catch (error) {
    const ended = await daemon()?.exited
    if (ended?.signal !== 'SIGKILL') throw error
  }
}
