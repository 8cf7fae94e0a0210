/**
 * A primary that a run plays with: its libraries, what was done to each, and what a backup may hold against it.
 *
 * An operation that the server would refuse (a commit below a damaged folder)
 * is no operation: it is counted as skipped.
 */

import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import type { LibraryWriter, Change } from '../../src/shared/seafile/library-writer.js'
import type { CommitId, RepoId } from '../../src/shared/ids.js'
import type { Kind } from '../support/raw-objects.js'
import type { ServerActs, Trashed } from '../support/server-acts.js'
import type { Random } from './random.js'

export type Reason = 'HEAD_REWOUND' | 'HEAD_DIVERGED' | 'OBJECT_MISSING' | 'OBJECT_CORRUPT'

interface Damage {
  readonly path: string
  readonly bytes: Buffer
  readonly storeId: string
}

export interface Played {
  readonly repo: RepoId
  readonly kind: 'plain' | 'encrypted' | 'virtual'
  readonly origin: RepoId | null
  live: boolean
  trashed: Trashed | undefined
  /** Paths of files that it has, as far as we put them there. */
  readonly files: Set<string>
  /** Why a backup may say that it failed. */
  readonly planted: Set<Reason>
  /** seaf-gc took something: a wider history limit now asks for what is gone. */
  collected: boolean
  /** What was done to it, in order: for whoever looks into a violation. */
  readonly story: string[]
  /** Heads that it had, oldest first. */
  readonly heads: string[]
}

const WEIGHTS = {
  commit: 70,
  burst: 4,
  create: 2,
  createVirtual: 1,
  renameFile: 5,
  removeFile: 6,
  renameFolder: 2,
  renameLibrary: 2,
  revisit: 1,
  merge: 1,
  history: 2,
  gc: 5,
  owner: 1,
  trash: 1,
  restore: 1,
  purge: 0.5,
  rewind: 0.5,
  diverge: 0.5,
  damage: 1.5,
  heal: 2,
} as const
export type Operation = keyof typeof WEIGHTS

const DAY_SECONDS = 86_400
const nowSeconds = (): number => Math.floor(Date.now() / 1000)

const OWNERS = ['jo@example.com', 'kim@example.com']
const FOLDERS = ['/', '/a/', '/a/b/', '/shared/', '/shared/x/', '/日本/']

export class World {
  readonly libraries: Played[] = []
  readonly done = new Map<Operation, number>()
  skipped = 0
  readonly #damage: Damage[] = []
  #count = 0

  constructor(
    readonly writer: LibraryWriter,
    readonly acts: ServerActs,
    readonly random: Random,
  ) {}

  async populate(count: number): Promise<void> {
    for (let n = 0; n < count; n++) await (n % 6 === 5 ? this.#createVirtual() : this.#create())
    for (const library of this.libraries) for (let n = 0; n < 3; n++) await this.#tried(() => this.#commit(library))
  }

  isVirtual(repo: string): boolean {
    return this.libraries.some(library => library.repo === repo && library.kind === 'virtual')
  }

  /**
   * Of a damaged library the head moves when its own tree is whole; what history lacks is listed. A virtual library
   * whose origin waits for the operator is pulled under a history limit that is not yet in the rows here.
   */
  owesHeadAlone(repo: string): boolean {
    const library = this.libraries.find(played => played.repo === repo)
    return library !== undefined && (library.planted.has('OBJECT_MISSING') || this.originWaits(library))
  }

  originWaits({ origin }: Played): boolean {
    return this.libraries.some(({ repo, planted }) => repo === origin && planted.size > 0)
  }

  isLive(repo: string): boolean {
    return this.libraries.some(library => library.repo === repo && library.live)
  }

  /** One random operation; its name. */
  async step(): Promise<Operation> {
    const operation = this.random.weighted(WEIGHTS)
    const library = this.random.pick(this.libraries.filter(({ live }) => live))
    const worked = library !== undefined && (await this.#tried(() => this.#do(operation, library)))
    if (worked) {
      this.done.set(operation, (this.done.get(operation) ?? 0) + 1)
      library.story.push(`${operation} ${library.heads.at(-1)?.slice(0, 6) ?? ''}`)
    }
    return operation
  }

  async #tried(work: () => Promise<boolean | void>): Promise<boolean> {
    try {
      if ((await work()) !== false) return true
    } catch {
      // what a damaged library does not allow, and what is not there to be done
    }
    this.skipped += 1
    return false
  }

  #do(operation: Operation, library: Played): Promise<boolean | void> {
    switch (operation) {
      case 'commit':
        return this.#commit(library)
      case 'burst':
        return this.#burst(library)
      case 'create':
        return this.#create()
      case 'createVirtual':
        return this.#createVirtual()
      case 'renameFile':
        return this.#renameFile(library)
      case 'removeFile':
        return this.#removeFile(library)
      case 'renameFolder':
        return this.#change(library, [{ op: 'rename', from: '/shared', to: `/shared ${this.#count++}` }])
      case 'renameLibrary':
        return this.#moved(library, this.writer.renameLibrary(library.repo, `Named ${this.#count++}`))
      case 'revisit':
        return this.#revisit(library)
      case 'merge':
        return this.#merge(library)
      case 'history':
        return this.#history(library)
      case 'gc':
        return this.#gc(library)
      case 'owner':
        return this.#owner(library)
      case 'trash':
        return this.#trash(library)
      case 'restore':
        return this.#restore()
      case 'purge':
        return this.#purge()
      case 'rewind':
        return this.#rewind(library)
      case 'diverge':
        return this.#diverge(library)
      case 'damage':
        return this.#plantDamage(library)
      case 'heal':
        return this.#heal()
    }
  }

  async #create(): Promise<void> {
    const kind = this.random.chance(0.15) ? ('encrypted' as const) : ('plain' as const)
    const repo = await this.writer.createLibrary({
      name: `Library ${this.#count++}`,
      owner: this.random.pick(OWNERS) ?? '',
      ...(kind === 'encrypted' && { encrypted: { password: 'pw', version: 2 as const } }),
    })
    if (this.random.chance(0.2)) await this.writer.setHistory(repo, { limitDays: this.random.pick([0, 1, 30]) ?? 0 })
    this.#add({ repo, kind, origin: null })
  }

  async #createVirtual(): Promise<boolean> {
    const origin = this.random.pick(this.libraries.filter(({ live, kind }) => live && kind === 'plain'))
    if (!origin) return false
    await this.#change(origin, [{ op: 'put', path: `/shared/file ${this.#count++}`, content: this.random.bytes(50) }])
    const repo = await this.writer.createVirtualLibrary({ origin: origin.repo, path: '/shared', name: 'Shared' })
    this.#add({ repo, kind: 'virtual', origin: origin.repo })
    return true
  }

  #add({ repo, kind, origin }: Pick<Played, 'repo' | 'kind' | 'origin'>): void {
    this.libraries.push({
      repo,
      kind,
      origin,
      live: true,
      trashed: undefined,
      files: new Set(),
      planted: new Set(),
      collected: false,
      story: [],
      heads: [],
    })
  }

  async #change(library: Played, changes: readonly Change[]): Promise<void> {
    await this.#moved(library, this.writer.commit(library.repo, changes))
  }

  async #moved(library: Played, moving: Promise<CommitId>): Promise<void> {
    const head = await moving
    if (library.heads.at(-1) !== head) library.heads.push(head)
  }

  async #commit(library: Played): Promise<void> {
    const folder = this.random.pick(FOLDERS) ?? '/'
    const path = `${folder}file ${this.random.below(40)}`
    const size = this.random.chance(0.02) ? 400_000 : this.random.below(3_000)
    const change: Change = { op: 'put', path, content: this.random.bytes(size) }
    // clients' clocks and late uploads: what a history limit of some days cuts away
    const old = this.random.chance(0.15) ? { ctime: nowSeconds() - this.random.below(40 * DAY_SECONDS) } : {}
    await this.#moved(library, this.writer.commit(library.repo, [change], old))
    library.files.add(path)
  }

  async #burst(library: Played): Promise<void> {
    for (let n = 0; n < 8; n++) await this.#commit(library)
  }

  async #renameFile(library: Played): Promise<boolean> {
    const from = this.random.pick([...library.files])
    if (from === undefined) return false
    const to = `${from} renamed ${this.#count++}`
    await this.#change(library, [{ op: 'rename', from, to }])
    library.files.delete(from)
    library.files.add(to)
    return true
  }

  async #removeFile(library: Played): Promise<boolean> {
    const path = this.random.pick([...library.files])
    if (path === undefined) return false
    await this.#change(library, [{ op: 'remove', path }])
    library.files.delete(path)
    return true
  }

  /** There, back and there again within one second: the head goes to a commit that it had. */
  async #revisit(library: Played): Promise<boolean> {
    const path = [...library.files][0]
    if (path === undefined) return false
    const ctime = nowSeconds()
    const move = (from: string, to: string) =>
      this.#moved(library, this.writer.commit(library.repo, [{ op: 'rename', from, to }], { ctime }))
    await move(path, `${path} there`)
    await move(`${path} there`, path)
    const [there] = library.heads.slice(-2)
    if (there === undefined) return false
    await this.acts.moveBranch(library.repo, there)
    library.heads.push(there)
    // a backup that saw only the head in between cannot tell this from a repair on an older commit: it asks
    library.planted.add('HEAD_DIVERGED')
    library.files.delete(path)
    library.files.add(`${path} there`)
    return true
  }

  async #merge(library: Played): Promise<void> {
    const change = (path: string): Change => ({ op: 'put', path, content: this.random.bytes(30) })
    const parent = (await this.acts.head(library.repo)) as CommitId
    const secondParent = await this.writer.uploadCommit(library.repo, [change(`/client ${this.#count++}`)], { parent })
    const changes = [change(`/merged ${this.#count++}`)]
    await this.#moved(library, this.writer.mergeCommit(library.repo, { parent, secondParent, changes }))
  }

  async #history({ repo, kind, collected, planted }: Played): Promise<boolean> {
    if (kind === 'virtual') return false
    if (collected) for (const hit of [{ planted }, ...this.#virtualsOf(repo)]) hit.planted.add('OBJECT_MISSING')
    await this.writer.setHistory(repo, { limitDays: this.random.pick([null, 0, 1, 30]) ?? null })
    return true
  }

  async #gc(library: Played): Promise<boolean> {
    // the real one refuses a library whose kept history it cannot walk, and skips one that keeps all of it
    const { repo, kind } = library
    const unsound = [library, ...this.#virtualsOf(repo)].some(({ planted }) => planted.has('OBJECT_MISSING'))
    if (kind === 'virtual' || unsound) return false
    if ((await this.acts.truncateTime(repo)) < 0)
      await this.writer.setHistory(repo, { limitDays: this.random.below(3) })
    const { blocks, fs } = await this.acts.gc(repo, { fs: this.random.chance(0.5) })
    if (blocks + fs > 0) for (const hit of [library, ...this.#virtualsOf(repo)]) hit.collected = true
    return blocks + fs > 0
  }

  async #owner(library: Played): Promise<boolean> {
    if (library.kind === 'virtual') return false
    await this.acts.transferOwner(library.repo, this.random.pick(OWNERS) ?? '')
    for (const virtual of this.#virtualsOf(library.repo)) virtual.live = false
    return true
  }

  async #trash(library: Played): Promise<boolean> {
    if (library.kind === 'virtual') return false
    library.trashed = await this.acts.trash(library.repo)
    library.live = false
    for (const virtual of this.#virtualsOf(library.repo)) virtual.live = false
    return true
  }

  async #restore(): Promise<boolean> {
    const library = this.random.pick(this.libraries.filter(({ trashed }) => trashed))
    if (!library?.trashed) return false
    await this.acts.restore(library.trashed)
    // neither limit nor valid-since come back: what seaf-gc took is owed again
    if (library.collected) library.planted.add('OBJECT_MISSING')
    library.trashed = undefined
    library.live = true
    return true
  }

  async #purge(): Promise<boolean> {
    const library = this.random.pick(this.libraries.filter(({ trashed }) => trashed))
    if (!library) return false
    await this.acts.purge(library.repo)
    this.acts.removeObjects(library.repo)
    library.trashed = undefined
    return true
  }

  /** An older database was put back: the head is an older one, and no object differs. */
  async #rewind(library: Played): Promise<boolean> {
    const older = library.heads.slice(-6, -1)
    const to = this.random.pick(older)
    if (to === undefined || library.kind === 'virtual') return false
    await this.acts.moveBranch(library.repo, to)
    library.heads.push(to)
    library.planted.add('HEAD_REWOUND').add('HEAD_DIVERGED')
    if (library.collected) library.planted.add('OBJECT_MISSING') // seaf-gc may have taken what the older head owes
    return true
  }

  /** As seaf-fsck does when the head cannot be read: a new commit on an older one. */
  async #diverge(library: Played): Promise<boolean> {
    const parent = this.random.pick(library.heads.slice(-6, -1)) as CommitId | undefined
    if (parent === undefined || library.kind === 'virtual') return false
    const change: Change = { op: 'put', path: `/repaired ${this.#count++}`, content: this.random.bytes(20) }
    const head = await this.writer.uploadCommit(library.repo, [change], { parent, description: 'Repaired by system.' })
    await this.acts.moveBranch(library.repo, head)
    library.heads.push(head)
    library.planted.add('HEAD_REWOUND').add('HEAD_DIVERGED')
    if (library.collected) library.planted.add('OBJECT_MISSING') // seaf-gc may have taken what the older head owes
    return true
  }

  async #plantDamage(library: Played): Promise<boolean> {
    const { objects } = this.acts
    const storeId = library.origin ?? library.repo
    const commit = objects.commit(library.repo, this.random.pick(library.heads.slice(-4)) ?? '')
    const ids = [...objects.tree(storeId, commit.root_id)]
    const [id, { kind }] = this.random.pick(ids) ?? ['', { kind: 'fs' as Kind }]
    const path = objects.path(kind, storeId, id)
    const bytes = readFileSync(path)
    this.#damage.push({ path, bytes, storeId })
    if (this.random.chance(0.5)) rmSync(path)
    else if (this.random.chance(0.5)) truncateSync(path, 0)
    else writeFileSync(path, Buffer.from(bytes.map(byte => byte ^ 0xff)))
    for (const hit of this.libraries) {
      if ((hit.origin ?? hit.repo) === storeId) hit.planted.add('OBJECT_MISSING').add('OBJECT_CORRUPT')
    }
    return true
  }

  async #heal(): Promise<boolean> {
    const damage = this.#damage.splice(this.random.below(this.#damage.length), 1)[0]
    if (!damage) return false
    writeFileSync(damage.path, damage.bytes)
    return true
  }

  #virtualsOf(origin: string): Played[] {
    return this.libraries.filter(library => library.origin === origin && library.live)
  }

  /** What the database says: virtual libraries go by themselves when their folder does. */
  async look(): Promise<void> {
    const rows = await this.acts.sql.select('SELECT repo_id FROM Repo')
    const there = new Set(rows.map(([repo]) => String(repo)))
    for (const library of this.libraries) library.live = there.has(library.repo)
  }
}
