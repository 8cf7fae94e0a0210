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

  /** `notBefore`: ctime of `id`; parents are older than their children, so the walk ends below it (with a day of grace for clocks). */
  async has(id: CommitId, notBefore: number): Promise<boolean> {
    if (!this.#started) {
      this.#started = true
      await this.#reach(this.from)
    }
    while (!this.#reached.has(id)) {
      const next = this.#queue.pop()
      if (!next) return false
      if (next.ctime < notBefore - CLOCK_GRACE_SECONDS) {
        this.#queue.push(next)
        return false
      }
      if (this.follows(next.ctime, next.id === this.from)) for (const parent of next.parents) await this.#reach(parent)
    }
    return true
  }

  async #reach(id: CommitId): Promise<void> {
    if (this.#reached.has(id)) return // parent chains can hold cycles
    this.#reached.add(id)
    const facts = await this.read(id)
    if (facts) this.#queue.push({ id, ...facts })
  }
}

/** Commits are dated by whoever made them: desktop clocks are wrong by hours, seldom by days. */
const CLOCK_GRACE_SECONDS = 86_400

/** What our copy vouches for: the history that was kept when `head` was pulled. */
export function vouchedHistory(head: CommitId, since: number, read: ReadFacts): Ancestors {
  return new Ancestors(head, read, (ctime, isHead) => followsParents(since, ctime, isHead))
}

/**
 * `new`: we have no head. `revisit`: the primary went to a commit that it had within the same second, as its server does.
 * `rewound`: an older commit of our own history. `diverged`: neither descends from ours nor is part of our history.
 * (`isNew` of `relate`: this pull brought the commit, so it cannot lie in our history.)
 */
export type Relation = 'new' | 'same' | 'forward' | 'revisit' | 'rewound' | 'diverged'

export async function relate(
  ours: CommitId | null,
  theirs: CommitId,
  read: ReadFacts,
  isNew: boolean,
): Promise<Relation> {
  if (ours === null) return 'new'
  if (ours === theirs) return 'same'
  const our = await read(ours)
  const their = await read(theirs)
  // a commit that we had decides first: parent chains can hold cycles, and then both would be true
  if (!isNew && (await new Ancestors(ours, read).has(theirs, their?.ctime ?? -Infinity))) {
    return our && their && our.ctime === their.ctime ? 'revisit' : 'rewound'
  }
  return (await new Ancestors(theirs, read).has(ours, our?.ctime ?? -Infinity)) ? 'forward' : 'diverged'
}
