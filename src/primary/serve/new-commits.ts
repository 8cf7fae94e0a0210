/**
 * Which commits a backup lacks: those that `want` reaches and `have` does not.
 *
 * Walked newest first, as Seafile does, with everything that `have` reaches
 * marked on the way; the walk ends when only marked commits wait, so one new
 * commit costs one or two reads however long the history is. A skewed clock can
 * make it name commits that the backup has already: that costs bytes, nothing
 * else. Parent chains can hold cycles and commits can be missing; both end the
 * walk of that branch.
 */

import { CommitQueue } from '../../shared/seafile/commit-queue.js'
import { followsParents } from '../../shared/seafile/history-rule.js'
import type { CommitId, FsId } from '../../shared/ids.js'
import type { ReadObject } from '../../shared/store/object-store.js'

/** One commit that the backup lacks. */
export interface NewCommit {
  readonly id: CommitId
  /** Null when the commit object cannot be had. */
  readonly rootId: FsId | null
  /** Inside the history that the primary keeps: its whole tree is owed. */
  kept: boolean
}

/** What is owed of a commit, and what the backup has of it, on one scale: nothing, the commit object, its tree too. */
const NOTHING = 0
const OBJECT = 1
const TREE = 2
type Level = typeof NOTHING | typeof OBJECT | typeof TREE

interface Node {
  readonly id: CommitId
  readonly ctime: number
  readonly parents: readonly CommitId[]
  readonly rootId: FsId | null
  /** Until it was emitted. */
  read: ReadObject | undefined
  owed: Level
  had: Level
  /** What was passed on to its parents of the two. */
  passedOn: { owed: Level; had: Level }
  /** How often it waits in the queue. */
  queued: number
}

export interface HistoryWalk {
  readonly want: CommitId
  readonly have: CommitId | null
  /** Seafile's truncate time now, and the one under which the backup pulled what `have` reaches. */
  readonly truncateTime: number
  readonly haveSince: number
  readonly read: (id: CommitId) => ReadObject
  /** Called for each new commit once, children before parents (skewed clocks aside). */
  readonly emit: (id: CommitId, read: ReadObject, kept: boolean) => void | Promise<void>
  /** Called for each commit looked at: a long walk shows that it lives. */
  readonly alive: () => void | Promise<void>
}

/** Resolves to the new commits in the order in which they were emitted. */
export async function newCommits(walk: HistoryWalk): Promise<NewCommit[]> {
  const frontier = new Frontier(walk.read)
  const found = new Map<CommitId, NewCommit>()
  if (walk.have) frontier.visit(walk.have, NOTHING, TREE)
  frontier.visit(walk.want, TREE, NOTHING)
  for (let node = frontier.next(); node; node = frontier.next()) {
    const pending = walk.alive()
    if (pending) await pending
    if (!rose(node)) continue
    node.passedOn = { owed: node.owed, had: node.had }
    if (needed(node)) await report(node, found, walk)
    const owed = below(node.owed, followsParents(walk.truncateTime, node.ctime, node.id === walk.want))
    const had = below(node.had, followsParents(walk.haveSince, node.ctime, node.id === walk.have))
    for (const parent of node.parents) frontier.visit(parent, owed, had)
  }
  return [...found.values()]
}

/** A commit whose parents the rule follows passes its level on; else of older ones only the commit objects count. */
const below = (level: Level, follows: boolean): Level => (level === TREE && !follows ? OBJECT : level)

const needed = (node: Node): boolean => node.owed > node.had
const rose = (node: Node): boolean => node.owed > node.passedOn.owed || node.had > node.passedOn.had

async function report(node: Node, found: Map<CommitId, NewCommit>, walk: HistoryWalk): Promise<void> {
  const kept = node.owed === TREE
  const known = found.get(node.id)
  if (known) {
    known.kept = kept // reached again, through a branch that keeps it
    return
  }
  found.set(node.id, { id: node.id, rootId: node.rootId, kept })
  const read = node.read
  node.read = undefined
  const pending = read && walk.emit(node.id, read, kept)
  if (pending) await pending
}

/** Commits waiting to be looked at, and how many of them the backup is not known to have. */
class Frontier {
  readonly #nodes = new Map<CommitId, Node>()
  readonly #queue = new CommitQueue<Node>()
  #interesting = 0

  constructor(private readonly read: (id: CommitId) => ReadObject) {}

  visit(id: CommitId, owed: Level, had: Level): void {
    const node = this.#node(id)
    const before = needed(node)
    if (owed > node.owed) node.owed = owed
    if (had > node.had) node.had = had
    if (needed(node) !== before) this.#interesting += before ? -node.queued : node.queued
    if (!rose(node)) return
    node.queued += 1
    if (needed(node)) this.#interesting += 1
    this.#queue.push(node)
  }

  /** The newest; undefined as soon as only commits wait that the backup has. */
  next(): Node | undefined {
    if (this.#interesting === 0) return undefined
    const node = this.#queue.pop()
    if (!node) return undefined
    node.queued -= 1
    if (needed(node)) this.#interesting -= 1
    return node
  }

  #node(id: CommitId): Node {
    const known = this.#nodes.get(id)
    if (known) return known
    const read = this.read(id)
    const commit = read.state === 'whole' && read.object.is === 'commit' ? read.object.commit : undefined
    const parents = [commit?.parentId, commit?.secondParentId].filter(p => p !== null && p !== undefined)
    const node: Node = {
      id,
      ctime: commit?.ctime ?? Infinity,
      parents,
      rootId: commit?.rootId ?? null,
      read,
      owed: NOTHING,
      had: NOTHING,
      passedOn: { owed: NOTHING, had: NOTHING },
      queued: 0,
    }
    this.#nodes.set(id, node)
    return node
  }
}
