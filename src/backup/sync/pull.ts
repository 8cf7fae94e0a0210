/**
 * Everything that one library lacks, fetched, verified and made durable. No row is touched here.
 *
 * The primary streams what it believes we lack; the frontier knows what we
 * really lack. What the stream did not bring is asked for by name, until
 * nothing is expected or the primary has said that it cannot give it. Where
 * nothing is vouched for and yet much may be here, the stream brings commits
 * alone, and our own store is searched before anything is asked for. On the
 * way, commits whose closure is whole and durable are reported as checkpoints,
 * so that an interrupted pull goes on there.
 */

import { storeIdOf } from '../../shared/catalog/library-tables.js'
import { BackupError } from '../../shared/errors.js'
import { keepsMore } from '../../shared/seafile/kept-history.js'
import { FRAME, FrameReader, broken, decodeAbsent, decodeBlockRef, frameId } from '../../shared/wire/frames.js'
import { decodeLibraryFrame } from '../../shared/wire/sync-messages.js'
import { pullBaseTree } from './base-tree.js'
import { locateDamage } from './damage.js'
import { Frontier } from './frontier.js'
import { ObjectIntake, expectUnchanged } from './object-intake.js'
import { factsFrom, keptHistory, relate } from './own-history.js'
import { OwnObjects } from './own-objects.js'
import { expectAlike, expectSameRules } from './same-rules.js'
import type { CommitId, RepoId } from '../../shared/ids.js'
import type { ObjectStore } from '../../shared/store/object-store.js'
import type { DamagedObject, SyncProgress } from '../../shared/wire/control-messages.js'
import type { Frame } from '../../shared/wire/frames.js'
import type { DeltaRequest, LibraryFrame } from '../../shared/wire/sync-messages.js'
import type { BlockIndex } from '../state/block-index.js'
import type { Hole } from './damage.js'
import type { Relation } from './own-history.js'
import type { PullSource } from './primary-client.js'

/** A closure that we hold but for its holes: where a pull begins. */
export interface Vouched {
  readonly commit: CommitId
  /** Truncate time under which it was pulled. */
  readonly since: number
}

export interface PullJob {
  readonly repo: RepoId
  /** Head in our Branch row. */
  readonly recorded: CommitId | null
  readonly vouched: Vouched | null
  /** What `vouched` lacks, with the path where it was missed. */
  readonly holes: readonly (Hole & { readonly path: string | null })[]
  /** `base_commit` of the virtual library as recorded here: its tree is here. */
  readonly baseKnown: CommitId | null
  /** Also follow a head that does not descend from ours. */
  readonly force: boolean
  /** An event or a person asked for it: it is no first copy that nobody waits for. */
  readonly isUrgent: boolean
  /** Came with the event: frames of the delta from the head's parent, without END. Null: none, or not to be used. */
  readonly enclosed: Uint8Array | null
}

export interface PullEvents {
  /** Before the first object is stored; the pull waits for it. */
  library(frame: LibraryFrame): Promise<void>
  /** Durable, and whole but for `holes`. */
  checkpoint(vouched: Vouched, holes: readonly Hole[]): void
  progress(progress: SyncProgress): void
}

export interface PullParts {
  readonly client: PullSource
  readonly store: ObjectStore
  readonly blocks: BlockIndex
  readonly events: PullEvents
}

export type PullResult =
  /** The primary's rows, and no head with them. */
  | { readonly kind: 'headless'; readonly library: LibraryFrame }
  /** The head does not descend from ours: nothing was stored. */
  | { readonly kind: 'refused'; readonly library: LibraryFrame; readonly relation: 'rewound' | 'diverged' }
  | {
      readonly kind: 'pulled'
      readonly library: LibraryFrame
      readonly want: CommitId
      readonly relation: Relation
      readonly damaged: readonly DamagedObject[]
      /** Of the wanted head's own commit. Null: that commit cannot be had, so no head can be recorded. */
      readonly rootId: string | null
      readonly objects: number
      readonly bytes: number
    }

/** A checkpoint makes everything before it durable: not for less than this. */
const CHECKPOINT_OBJECTS = 20_000
const CHECKPOINT_BYTES = 128 * 1024 * 1024

class Refused extends Error {
  constructor(readonly relation: 'rewound' | 'diverged') {
    super(relation)
  }
}

export async function pullLibrary(job: PullJob, parts: PullParts, signal: AbortSignal): Promise<PullResult> {
  await using pull = new Pull(job, parts, signal)
  return await pull.run() // awaited here: it is disposed on the way out
}

class Pull implements AsyncDisposable {
  #library: LibraryFrame | undefined
  /** Of the delta that is being read, the LIBRARY frame has come. */
  #begun = false
  readonly #askedAt = performance.now()
  #want: CommitId | undefined
  #frontier: Frontier | undefined
  #intake: ObjectIntake | undefined
  /** While our own store is searched. */
  #own: OwnObjects | undefined
  #relation: Relation | undefined
  #lastTree: CommitId | undefined
  #sinceCheckpoint = { objects: 0, bytes: 0 }
  readonly #readOwn

  constructor(
    private readonly job: PullJob,
    private readonly parts: PullParts,
    private readonly signal: AbortSignal,
  ) {
    this.#readOwn = factsFrom(parts.store, job.repo)
  }

  async run(): Promise<PullResult> {
    const { vouched } = this.job
    const commitsAlone = vouched !== null || (await this.#hasCommits())
    try {
      if (!(await this.#takeEnclosed()))
        await this.#stream({ have: vouched?.commit ?? null, haveSince: vouched?.since ?? -1, commitsAlone })
    } catch (error) {
      if (error instanceof Refused && this.#library) {
        return { kind: 'refused', library: this.#library, relation: error.relation }
      }
      throw error
    }
    if (!this.#library) throw broken('a delta without a LIBRARY frame')
    if (!this.#want || !this.#frontier || !this.#intake) return { kind: 'headless', library: this.#library }
    if (commitsAlone && this.#library.base === null) await this.#adopt(this.#library, this.#frontier, this.#intake)
    return this.#complete(this.#library, this.#want, this.#frontier, this.#intake)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#intake?.[Symbol.asyncDispose]()
  }

  /** Whoever copied a library copied commits; none: it is new here, and nothing needs to be looked for. */
  async #hasCommits(): Promise<boolean> {
    for await (const _ of this.parts.store.list('commits', this.job.repo)) return true
    return false
  }

  async #stream(asked: Omit<DeltaRequest, 'repo'>): Promise<void> {
    this.#begun = false
    const { repo } = this.job
    const end = await this.parts.client.delta({ repo, ...asked }, frame => this.#take(frame), this.signal)
    expectUnchanged(end, repo)
  }

  /** False when nothing came along, or something that does not continue what is here: then nothing of it was taken. */
  async #takeEnclosed(): Promise<boolean> {
    const { enclosed, vouched, repo } = this.job
    if (!enclosed || !vouched) return false
    const frames = new FrameReader()
    for (const frame of frames.push(Buffer.from(enclosed.buffer, enclosed.byteOffset, enclosed.byteLength))) {
      if (!this.#begun) {
        const { base, truncateTime } = decodeLibraryFrame(frame.payload, repo)
        if (base !== vouched.commit || keepsMore(truncateTime, vouched.since)) return false
      }
      const pending = this.#take(frame)
      if (pending) await pending
    }
    return this.#begun
  }

  /**
   * From the oldest commit on: its tree shows whether there is anything to be found, and a commit whose
   * elders are whole can be a checkpoint.
   */
  async #adopt(library: LibraryFrame, frontier: Frontier, intake: ObjectIntake): Promise<void> {
    const { job, parts, signal } = this
    const where = { repo: job.repo, storeId: storeIdOf(library.rows), store: parts.store }
    const own = (this.#own = new OwnObjects({ ...where, frontier, intake, signal }))
    for (const { id } of frontier.keptCommits().toReversed()) {
      await this.#nextTree(id)
      await own.look()
      if (own.inVain) break
    }
    await own.settle()
    if (!own.inVain) return
    own[Symbol.dispose]()
    this.#own = undefined
    await this.#stream({ have: null, haveSince: -1, commitsAlone: false })
  }

  #take(frame: Frame): void | Promise<void> {
    if (frame.type === FRAME.library) return this.#takeLibrary(frame)
    const intake = this.#intake
    if (!intake) throw broken('objects before a LIBRARY frame, or for a library without a head')
    switch (frame.type) {
      case FRAME.commit:
      case FRAME.fs:
      case FRAME.block:
        return intake.object(frame)
      case FRAME.blockRef:
        return intake.blockRef(decodeBlockRef(frame.payload))
      case FRAME.absent:
        return intake.absent(decodeAbsent(frame.payload))
      case FRAME.trees:
        return this.#judge()
      case FRAME.tree:
        return this.#nextTree(frameId(frame.payload) as CommitId)
      case FRAME.alive:
        return
      case FRAME.proof:
      case FRAME.end:
        throw broken('a PROOF or END frame inside a stream')
      case FRAME.dump:
      case FRAME.part:
      case FRAME.dumped:
      case FRAME.failed:
      case FRAME.binlog:
      case FRAME.logFile:
      case FRAME.logged:
        throw broken('what is of the database for objects')
    }
  }

  async #takeLibrary(frame: Frame): Promise<void> {
    if (this.#begun) throw broken('two LIBRARY frames')
    this.#begun = true
    const { job, parts } = this
    const library = decodeLibraryFrame(frame.payload, job.repo)
    if (this.#library) return expectAlike(this.#library, library, (performance.now() - this.#askedAt) / 1000)
    const { rows, base, truncateTime } = library
    if (base !== null && base !== job.vouched?.commit) throw broken('a base that was not offered')
    // what we hold was pulled under a narrower rule: it cannot vouch for the wider one
    if (base !== null && job.vouched && keepsMore(truncateTime, job.vouched.since))
      throw broken('a base that keeps too little')
    this.#library = library
    await parts.events.library(library)
    this.signal.throwIfAborted() // who ended it lets it go on to hear of it
    if (rows.head === null) return
    const storeId = storeIdOf(rows)
    this.#want = rows.head
    this.#frontier = new Frontier({
      repo: job.repo,
      storeId,
      want: rows.head,
      base: base && job.vouched,
      truncateTime,
      holes: base ? job.holes : [],
      store: parts.store,
      readFacts: this.#readOwn,
    })
    await this.#frontier.begin()
    this.#intake = new ObjectIntake({
      ...parts,
      repo: job.repo,
      storeId,
      frontier: this.#frontier,
      signal: this.signal,
    })
  }

  /** All commits are here, nothing large yet: is this head one that we follow? */
  async #judge(): Promise<void> {
    if (this.#relation !== undefined || !this.#want) return
    const frontier = this.#frontier
    const isNew = (await this.#readOwn(this.#want)) === undefined
    const brought = { isNew, lost: (id: CommitId) => frontier?.lacks(id) ?? false }
    const relation = await relate(this.job.recorded, this.#want, id => frontier?.facts(id), brought)
    if ((relation === 'rewound' || relation === 'diverged') && !this.job.force) throw new Refused(relation)
    this.#relation = relation
  }

  async #nextTree(commit: CommitId): Promise<void> {
    await this.#considerCheckpoint()
    this.#frontier?.beginTrees(commit)
    this.#lastTree = commit
  }

  async #considerCheckpoint(): Promise<void> {
    const [frontier, intake, last] = [this.#frontier, this.#intake, this.#lastTree]
    if (!frontier || !intake || !last || !this.#library) return
    const { objects, bytes } = intake.done
    const far =
      objects - this.#sinceCheckpoint.objects >= CHECKPOINT_OBJECTS ||
      bytes - this.#sinceCheckpoint.bytes >= CHECKPOINT_BYTES
    if (!far && frontier.treesOutstanding) return
    if (far) {
      await this.#own?.settle()
      await intake.drained()
      this.#sinceCheckpoint = { objects, bytes }
    }
    if (frontier.treesOutstanding) return
    frontier.treesArrived()
    if (!far || !(await frontier.closed(last))) return
    await intake.commit()
    this.parts.events.checkpoint({ commit: last, since: this.#library.truncateTime }, intake.holes())
  }

  async #complete(
    library: LibraryFrame,
    want: CommitId,
    frontier: Frontier,
    intake: ObjectIntake,
  ): Promise<PullResult> {
    if (frontier.expects('commits', want)) await intake.askFor([{ kind: 'commits', id: want }]) // nothing can be said without it
    try {
      await this.#judge()
    } catch (error) {
      if (error instanceof Refused) return { kind: 'refused', library, relation: error.relation }
      throw error
    }
    await this.#finishTrees(frontier, intake)
    while (frontier.size > 0) {
      await intake.askFor(frontier.outstanding())
      await this.#finishTrees(frontier, intake) // commits that came by name bring trees
    }
    await intake.commit()
    const rootId = (await frontier.facts(want))?.rootId ?? null
    const owed = await this.#locate(want, rootId, library, intake, frontier)
    const named = new Set(owed.map(({ id }) => id))
    const ofBase = await this.#pullBase(library)
    const damaged = [...owed, ...ofBase.filter(({ id }) => !named.has(id))]
    if (damaged.length > 0) await expectSameRules(library, { ...this.parts, askedAt: this.#askedAt }, this.signal)
    if (this.#relation === undefined)
      throw new BackupError('INTERNAL', `sync ${this.job.repo}: the move was not judged`)
    return { kind: 'pulled', library, want, relation: this.#relation, damaged, rootId, ...intake.stored }
  }

  async #finishTrees(frontier: Frontier, intake: ObjectIntake): Promise<void> {
    frontier.beginTrees(null)
    await this.#own?.settle()
    await intake.drained()
  }

  async #pullBase({ base, rows: { virtual } }: LibraryFrame): Promise<readonly DamagedObject[]> {
    if (!virtual?.baseCommit) return []
    const known = base === null ? null : this.job.baseKnown // else what it lacks is among the holes already
    const order = { origin: virtual.originRepo, commit: virtual.baseCommit, known }
    return pullBaseTree(order, this.parts, this.signal)
  }

  async #locate(
    want: CommitId,
    headRoot: string | null,
    library: LibraryFrame,
    intake: ObjectIntake,
    frontier: Frontier,
  ): Promise<DamagedObject[]> {
    const holes = new Map(intake.holes().map(hole => [hole.id, hole]))
    if (holes.size === 0) return []
    const search = {
      store: this.parts.store,
      storeId: storeIdOf(library.rows),
      holes,
      want,
      headRoot,
      signal: this.signal,
    }
    const earlier = new Set<string>(this.job.holes.filter(({ id }) => holes.has(id)).map(({ id }) => id))
    if (earlier.size === 0) {
      const olderRoots = frontier.keptCommits().map(commit => commit.rootId)
      return locateDamage({ ...search, olderRoots })
    }
    // what an earlier pull missed may be owed no more: the window slid past it, or the tree that needed it is another's base
    const owed = await keptHistory(want, library.truncateTime, id => frontier.facts(id))
    const olderRoots = [...owed.values(), await this.#baseRoot(library)].filter(root => root !== undefined)
    const damaged = await locateDamage({ ...search, olderRoots })
    return damaged.filter(({ id, path }) => path !== null || owed.has(id as CommitId) || !earlier.has(id))
  }

  async #baseRoot({ rows: { virtual } }: LibraryFrame): Promise<string | undefined> {
    if (!virtual?.baseCommit) return undefined
    return (await factsFrom(this.parts.store, virtual.originRepo)(virtual.baseCommit))?.rootId
  }
}
