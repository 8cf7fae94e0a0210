/**
 * Which commits our own copy vouches for, and how two heads relate, read from our store.
 *
 * Nothing here is taken from the primary's word. Walks are newest first and stop
 * as soon as the answer is known: for a new commit on top of ours that is at once.
 */

import { CommitQueue } from '../../shared/seafile/commit-queue.js'
import { followsParents } from '../../shared/seafile/history-rule.js'
import type { CommitId, RepoId } from '../../shared/ids.js'
import type { ObjectReader } from '../../shared/store/object-store.js'

export interface CommitFacts {
  readonly ctime: number
  readonly rootId: string
  readonly parents: readonly CommitId[]
}

/** Undefined: not here, or not readable. */
export type ReadFacts = (id: CommitId) => CommitFacts | undefined | Promise<CommitFacts | undefined>

export function factsFrom(store: ObjectReader, repo: RepoId): (id: CommitId) => Promise<CommitFacts | undefined> {
  return async id => {
    const read = await store.read({ kind: 'commits', storeId: repo, id })
    if (read.state !== 'whole' || read.object.is !== 'commit') return undefined
    const { ctime, rootId, parentId, secondParentId } = read.object.commit
    return { ctime, rootId, parents: [parentId, secondParentId].filter(p => p !== null) }
  }
}

interface Waiting extends CommitFacts {
  readonly id: CommitId
}

/** The commits that `from` reaches along followed parents, found as far as somebody asks. */
export class Ancestors {
  readonly #reached = new Set<CommitId>()
  readonly #queue = new CommitQueue<Waiting>()
  #started = false

  constructor(
    private readonly from: CommitId,
    private readonly read: ReadFacts,
    /** Which commits pass on to their parents; all of them when it is a question of descent alone. */
    private readonly follows: (ctime: number, isFirst: boolean) => boolean = () => true,
  ) {}

  /** Reads everything before it says no: commits are dated by whoever made them, so no date proves that one is not below. */
  async has(id: CommitId): Promise<boolean> {
    if (!this.#started) {
      this.#started = true
      await this.#reach(this.from)
    }
    while (!this.#reached.has(id)) {
      const next = this.#queue.pop()
      if (!next) return false
      if (this.follows(next.ctime, next.id === this.from)) for (const parent of next.parents) await this.#reach(parent)
    }
    return true
  }

  /** Found so far, those that cannot be read among them. */
  get reached(): ReadonlySet<CommitId> {
    return this.#reached
  }

  async #reach(id: CommitId): Promise<void> {
    if (this.#reached.has(id)) return // parent chains can hold cycles
    this.#reached.add(id)
    const facts = await this.read(id)
    if (facts) this.#queue.push({ id, ...facts })
  }
}

/** What our copy vouches for: the history that was kept when `head` was pulled. */
export function vouchedHistory(head: CommitId, since: number, read: ReadFacts): Ancestors {
  return new Ancestors(head, read, (ctime, isHead) => followsParents(since, ctime, isHead))
}

/** What the rule keeps from `head` on, with the roots of their trees; undefined: a commit that is owed and not here. */
export async function keptHistory(
  head: CommitId,
  truncateTime: number,
  read: ReadFacts,
): Promise<Map<CommitId, string | undefined>> {
  const kept = new Map<CommitId, string | undefined>()
  const todo = [head]
  for (let id = todo.pop(); id; id = todo.pop()) {
    if (kept.has(id)) continue
    const facts: CommitFacts | undefined = await read(id)
    kept.set(id, facts?.rootId)
    if (facts && followsParents(truncateTime, facts.ctime, id === head)) todo.push(...facts.parents)
  }
  return kept
}

/**
 * `new`: we have no head. `revisit`: the primary went to a commit that it had within the same second, as its server does.
 * `unproven`: a commit between the two is lost, and with it the proof of descent: damage in history, which keeps no head.
 * `rewound`: an older commit of our own history. `diverged`: neither descends from ours nor is part of our history.
 */
export type Relation = 'new' | 'same' | 'forward' | 'revisit' | 'unproven' | 'rewound' | 'diverged'

/** What the pull that brings a head knows of it. */
export interface Brought {
  /** The pull brought the head itself, so that it cannot lie in our history. */
  readonly isNew: boolean
  /** The primary owes this commit and cannot give it. */
  readonly lost: (id: CommitId) => boolean
}

export async function relate(
  ours: CommitId | null,
  theirs: CommitId,
  read: ReadFacts,
  { isNew, lost }: Brought,
): Promise<Relation> {
  if (ours === null) return 'new'
  if (ours === theirs) return 'same'
  const our = await read(ours)
  const their = await read(theirs)
  // a commit that we had decides first: parent chains can hold cycles, and then both would be true
  if (!isNew && (await new Ancestors(ours, read).has(theirs))) {
    return our && their && our.ctime === their.ctime ? 'revisit' : 'rewound'
  }
  const above = new Ancestors(theirs, read)
  if (await above.has(ours)) return 'forward'
  const below = new Ancestors(ours, read)
  // what our own history lacks too lies below ours, not between the two
  for (const id of above.reached) if (lost(id) && !(await below.has(id))) return 'unproven'
  return 'diverged'
}
