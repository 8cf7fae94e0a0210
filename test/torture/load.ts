/**
 * People at work on the primary, without a pause: some libraries, small commits, now and then a heap of files.
 *
 * What the primary's own server would refuse, or cannot do while its database is down, is no act. Libraries that have
 * grown old are deleted and others made, so that a long run does not get slower.
 */

import { setTimeout as delay } from 'node:timers/promises'
import type { Change, LibraryWriter } from '../../src/shared/seafile/library-writer.js'
import type { RepoId } from '../../src/shared/ids.js'
import type { Random } from '../kinds/random.js'
import type { ServerActs, Trashed } from '../support/server-acts.js'

const LIBRARIES = 18
const LIBRARIES_MAX = 26
const COMMITS_MAX = 40
const PAUSE_MS_MAX = 90
/** After so many in one round it goes on more slowly: on a busy machine the backup must get somewhere between two deaths. */
const ACTS_A_ROUND = 16
const SLOW_PAUSE_MS = 500
/** Objects of a heap: more than the sizes from which the backup works in bulk (failpoints.ts). */
const HEAP_FILES = 14
const HEAP_COMMITS = 4
/** So often in a row, and it is not there any more: half deleted when the database died. */
const REFUSALS_MAX = 4

const WEIGHTS = { commit: 60, heap: 1.5, large: 2, create: 2, share: 1, rename: 4, history: 2, owner: 1, trash: 1.5 }
export type Act = keyof typeof WEIGHTS

interface Worked {
  readonly repo: RepoId
  readonly origin: RepoId | null
  readonly files: string[]
  commits: number
  refusals: number
}

export class Load {
  readonly done = new Map<Act, number>()
  refused = 0
  readonly #libraries: Worked[] = []
  readonly #trashed: Trashed[] = []
  readonly #wanted: Act[] = []
  #count = 0
  #ofRound = 0
  #running: Promise<void> | undefined
  #stopped = false

  constructor(
    private readonly writer: LibraryWriter,
    private readonly acts: ServerActs,
    private readonly random: Random,
  ) {}

  get repos(): readonly RepoId[] {
    return this.#libraries.map(({ repo }) => repo)
  }

  start(): void {
    this.#running = this.#run()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  nextRound(): void {
    this.#ofRound = 0
  }

  /** Done before anything else. */
  want(...acts: readonly Act[]): void {
    this.#wanted.push(...acts)
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const few = this.#libraries.length < LIBRARIES
      const act = this.#wanted.shift() ?? (few && this.random.chance(0.5) ? 'create' : this.random.weighted(WEIGHTS))
      await this.#try(act)
      const pause = ++this.#ofRound > ACTS_A_ROUND ? SLOW_PAUSE_MS : this.random.below(PAUSE_MS_MAX)
      await delay(this.#wanted.length > 0 ? 0 : pause)
    }
  }

  async #try(act: Act): Promise<void> {
    const library = this.random.pick(this.#libraries)
    try {
      await (library ? this.#do(act, library) : this.#create())
      this.done.set(act, (this.done.get(act) ?? 0) + 1)
      if (library) library.refusals = 0
      if (this.#libraries.length > LIBRARIES_MAX) await this.#trash(this.#libraries[0])
    } catch {
      this.refused += 1
      if (library && ++library.refusals >= REFUSALS_MAX) this.#forget(library)
    }
  }

  async #do(act: Act, library: Worked): Promise<void> {
    switch (act) {
      case 'commit':
        return this.#commit(library)
      case 'heap':
        return this.#heap()
      case 'large':
        return this.#change(library, [this.#put(300_000 + this.random.below(900_000))])
      case 'create':
        return void (await this.#create())
      case 'share':
        return this.#share()
      case 'rename':
        library.commits += 1
        return void (await this.writer.renameLibrary(library.repo, `Library ${this.#count++}`))
      case 'history':
        if (library.origin) return
        return this.writer.setHistory(library.repo, { limitDays: this.random.pick([null, 0]) ?? null })
      case 'owner':
        return this.writer.setOwner(library.repo, `user${this.#count++}@example.com`)
      case 'trash':
        return this.#trash()
    }
  }

  async #commit(library: Worked): Promise<void> {
    const changes: Change[] = [this.#put(this.random.below(4_000))]
    const old = this.random.chance(0.2) ? library.files.shift() : undefined
    if (old !== undefined) changes.push({ op: 'remove', path: old })
    await this.#change(library, changes)
    if (library.commits > COMMITS_MAX) await this.#trash(library)
  }

  async #change(library: Worked, changes: readonly Change[]): Promise<void> {
    await this.writer.commit(library.repo, changes)
    library.commits += 1
    for (const change of changes) if (change.op === 'put') library.files.push(change.path)
  }

  /** Several commits with many files each, in a library that is new: one pull, with checkpoints on its way. */
  async #heap(): Promise<void> {
    const library = await this.#create()
    for (let n = 0; n < HEAP_COMMITS; n++)
      await this.#change(
        library,
        Array.from({ length: HEAP_FILES }, () => this.#put(this.random.below(200))),
      )
  }

  #put(size: number): Change {
    const folder = this.random.pick(['/', '/shared/', '/a/b/']) ?? '/'
    const path = `${folder}file ${this.#count++}`
    return { op: 'put', path, content: Buffer.concat([Buffer.from(path), this.random.bytes(size)]) }
  }

  async #create(): Promise<Worked> {
    const name = `Library ${this.#count++}`
    const repo = await this.writer.createLibrary({ name, owner: 'jo@example.com' })
    return this.#add(repo, null)
  }

  async #share(): Promise<void> {
    const origin = this.random.pick(this.#libraries.filter(library => library.origin === null))
    if (!origin) return
    await this.#change(origin, [{ op: 'put', path: '/shared/seed', content: Buffer.from(`${this.#count++}`) }])
    const repo = await this.writer.createVirtualLibrary({ origin: origin.repo, path: '/shared', name: 'Shared' })
    this.#add(repo, origin.repo)
  }

  #add(repo: RepoId, origin: RepoId | null): Worked {
    const library = { repo, origin, files: [], commits: 0, refusals: 0 }
    this.#libraries.push(library)
    return library
  }

  /** Sub-libraries go with their origin. Now and then one comes back out of the trash. */
  async #trash(old?: Worked): Promise<void> {
    const back = this.random.chance(0.3) ? this.#trashed.shift() : undefined
    if (back) {
      await this.acts.restore(back)
      this.#add(back.repo as RepoId, null)
    }
    const library = old ?? this.random.pick(this.#libraries.filter(({ origin }) => origin === null))
    if (!library) return
    for (const gone of this.#libraries.filter(({ repo, origin }) => repo === library.repo || origin === library.repo))
      this.#forget(gone)
    if (library.origin) await this.acts.removeVirtual(library.repo)
    else this.#trashed.push(await this.acts.trash(library.repo))
  }

  #forget(library: Worked): void {
    const at = this.#libraries.indexOf(library)
    if (at >= 0) this.#libraries.splice(at, 1)
  }
}
