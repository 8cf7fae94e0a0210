/** What a backup lives through while it is recorded: every way that its files and rows are written. */

import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { tmpdir } from 'node:os'
import { ServerActs } from '../support/server-acts.js'
import { Pair } from '../support/pair.js'
import { Recording } from './recording.js'
import { TracedProcess } from './traced-process.js'
import type { Random } from '../kinds/random.js'
import type { Change } from '../../src/shared/seafile/library-writer.js'
import type { RepoId } from '../../src/shared/ids.js'

const KIB = 1024
const MIB = 1024 * KIB
const OWNER = 'jo@example.com'

export interface Size {
  /** In the library that is copied for the first time, each with a directory entry, a file object and a block. */
  readonly firstFiles: number
  /** One after another, each recorded before the next. */
  readonly smallCommits: number
  /** Of a history that is copied at once: beyond 128 MiB it makes a checkpoint on the way. */
  readonly historyMib: number
}

export const SMALL: Size = { firstFiles: 60, smallCommits: 6, historyMib: 0 }
export const FULL: Size = { firstFiles: 300, smallCommits: 60, historyMib: 150 }

/** The primary still runs, the backup has ended. */
export interface Recorded extends AsyncDisposable {
  readonly pair: Pair
  readonly recording: Recording
}

export async function record(size: Size, random: Random): Promise<Recorded> {
  const traces = await mkdtemp(join(tmpdir(), 'sbp-trace-'))
  const pair = await Pair.lay()
  const end = async () => {
    await pair[Symbol.asyncDispose]()
    await rm(traces, { recursive: true, force: true })
  }
  try {
    const session = new Session(pair, traces, random)
    await session.play(size)
    return { pair, recording: session.recording, [Symbol.asyncDispose]: end }
  } catch (error) {
    await end()
    throw error
  }
}

class Session {
  readonly recording: Recording
  #backup: TracedProcess | undefined
  #runs = 0

  constructor(
    readonly pair: Pair,
    private readonly traces: string,
    private readonly random: Random,
  ) {
    this.recording = new Recording(pair.backup.dir)
  }

  async play(size: Size): Promise<void> {
    const { pair } = this
    const acts = new ServerActs(pair.primary.dataDir, pair.primary.database)
    await pair.catalog()
    try {
      const photos = await this.#library('Photos', size.firstFiles)
      const notes = await this.#library('Notes', 5)
      await pair.startPrimary()
      await this.#start()
      await pair.settle()
      await this.#smallCommits(notes, size.smallCommits)
      await this.#largeBlocks(notes)
      await this.#virtualLibrary(photos)
      const [plans, old] = [await this.#library('Plans', 8), await this.#library('Old', 3)]
      await pair.settle()
      await this.#rewind(acts, plans)
      await acts.trash(old)
      await this.#killed(photos)
      await this.#brokenOff(notes)
      if (size.historyMib > 0) await this.#longHistory(size.historyMib)
      await this.#smallCommits(plans, 3)
      await pair.settle()
      await this.#stop()
    } finally {
      await this.#backup?.kill()
    }
  }

  async #start(): Promise<void> {
    const { backup } = this.pair
    this.#backup = TracedProcess.backup(join(this.traces, `trace-${this.#runs++}`), join(backup.dir, 'conf'))
    const ready = await this.#backup.logged('backup ready')
    backup.relay.target = Number(new URL(String(ready['events'])).port)
  }

  async #stop(how: 'stop' | 'kill' = 'stop'): Promise<void> {
    const backup = this.#backup
    this.#backup = undefined
    await backup?.[how]()
    if (backup) await this.recording.add(backup)
  }

  async #library(name: string, files: number): Promise<RepoId> {
    const writer = await this.pair.writer()
    const repo = await writer.createLibrary({ name, owner: OWNER })
    const changes = Array.from({ length: files }, (_, n) => this.#file(`/d${n % 4}/${n}`, 100 + this.random.below(900)))
    await writer.commit(repo, changes)
    return repo
  }

  #file(path: string, bytes: number): Change {
    return { op: 'put', path, content: this.random.bytes(bytes) }
  }

  async #commit(repo: RepoId, ...changes: readonly Change[]): Promise<void> {
    const writer = await this.pair.writer()
    await writer.commit(repo, changes)
  }

  async #smallCommits(repo: RepoId, count: number): Promise<void> {
    const first = this.#file('/first', 500)
    for (let n = 0; n < count; n++) {
      // the same content again now and then: its block is here already
      if (n % 5 === 4 && first.op === 'put') await this.#commit(repo, { ...first, path: `/again/${n}` })
      else await this.#commit(repo, n === 0 ? first : this.#file(`/d${n % 3}/small-${n}`, 1_000))
      await this.pair.settle()
    }
  }

  async #largeBlocks(repo: RepoId): Promise<void> {
    for (const name of ['film', 'disk-image']) await this.#commit(repo, this.#file(`/large/${name}`, 1.5 * MIB))
    await this.pair.settle()
  }

  async #virtualLibrary(origin: RepoId): Promise<void> {
    const writer = await this.pair.writer()
    const virtual = await writer.createVirtualLibrary({ origin, path: '/d1', name: 'Shared', owner: OWNER })
    await this.#commit(virtual, this.#file('/by-friend', 700))
    await this.pair.settle()
    await this.#commit(origin, this.#file('/d1/by-owner', 700))
    await this.pair.settle()
  }

  /** Back to an older commit, adopted by force, and on from there. */
  async #rewind(acts: ServerActs, repo: RepoId): Promise<void> {
    const { pair } = this
    const older = await acts.head(repo)
    await this.#commit(repo, this.#file('/to-be-lost', 900))
    await pair.settle()
    await acts.moveBranch(repo, older)
    await pair.sync(repo, true)
    await pair.until('rewound', async () => (await pair.library(repo))?.head === older)
    await this.#commit(repo, this.#file('/after', 900))
    await pair.settle()
  }

  /** Killed while it pulls, and started again: what is on the disk then was seen by somebody and synced by nobody. */
  async #killed(repo: RepoId): Promise<void> {
    const { pair } = this
    for (let n = 0; n < 3; n++) {
      const files = Array.from({ length: n === 1 ? 60 : 4 }, (_, f) => this.#file(`/killed/${n}-${f}`, 600))
      await this.#commit(repo, ...files)
      const lines = this.#backup?.lines.length ?? 0
      const end = performance.now() + this.random.below(60)
      while (performance.now() < end && this.#backup?.lines.length === lines) await new Promise(setImmediate)
      await this.#stop('kill')
      await this.#start()
      await pair.settle()
    }
  }

  /** The line is cut in the middle of an answer, and works again. */
  async #brokenOff(repo: RepoId): Promise<void> {
    const { pair } = this
    let cut = false
    const { relay } = pair.primary
    relay.onBytes = () => {
      if (!cut) relay.cut()
      cut = true
    }
    await this.#commit(repo, this.#file('/broken-off', 2 * MIB), this.#file('/small', 400))
    await pair.until('cut', async () => cut)
    relay.onBytes = () => {}
    relay.mend()
    await pair.settle()
  }

  async #longHistory(mib: number): Promise<void> {
    await this.#stop()
    const writer = await this.pair.writer()
    const repo = await writer.createLibrary({ name: 'Long history', owner: OWNER })
    for (let left = mib; left > 0; left -= 15)
      await this.#commit(repo, ...[0, 1].map(n => this.#fast(`/replaced-${n}`, 7.5 * MIB)))
    await this.#start()
    await this.pair.settle()
  }

  /** Different bytes, quickly: what is in them does not matter. */
  #fast(path: string, bytes: number): Change {
    return { op: 'put', path, content: Buffer.alloc(bytes, this.random.bytes(4_099)) }
  }
}
