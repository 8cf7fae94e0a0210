/**
 * What a library still lacks: the proof that a pull is complete.
 *
 * It starts with the wanted head. Every object that arrives must have been
 * expected, is verified, and adds the objects it names; what our own copy
 * vouches for (the tree and the kept history of `base`) is left out. When
 * nothing is expected any more, everything is here: the primary is asked for
 * objects, never believed about completeness.
 */

import { EMPTY_ID } from '../../shared/ids.js'
import { IdSet } from '../../shared/seafile/id-set.js'
import { followsParents } from '../../shared/seafile/history-rule.js'
import { newBlocks, newEntries } from '../../shared/seafile/tree-diff.js'
import { vouchedHistory } from './own-history.js'
import type { CommitId, RepoId } from '../../shared/ids.js'
import type { Commit, FsObject } from '../../shared/seafile/objects.js'
import type { ObjectKind, ObjectReader } from '../../shared/store/object-store.js'
import type { VerifiedObject } from '../../shared/store/verify.js'
import type { WantedObject } from '../../shared/wire/sync-messages.js'
import type { Ancestors, CommitFacts, ReadFacts } from './own-history.js'

export interface FrontierOptions {
  readonly repo: RepoId
  readonly storeId: RepoId
  readonly want: CommitId
  /** A commit whose closure we hold, and the truncate time under which it was pulled. */
  readonly base: { readonly commit: CommitId; readonly since: number } | null
  readonly truncateTime: number
  /** Objects that `base` lacks, known from before: expected from the start. */
  readonly holes: readonly WantedObject[]
  readonly store: ObjectReader
  /** Reads commits of our own store. */
  readonly readFacts: ReadFacts
}

interface Expected {
  readonly kind: ObjectKind
  /** What the base tree has at the same path. */
  readonly base: string | null
}

interface PulledCommit extends CommitFacts {
  /** Its tree is owed, not only the commit object. */
  kept: boolean
  treeBegun: boolean
  treeDone: boolean
}

export class Frontier {
  /** fs objects and blocks that were expected at some time: each is accounted for once. */
  readonly #seen = new IdSet()
  readonly #expected = new Map<string, Expected>()
  /** Commits outside the kept history: taken when they come, not missed when they do not. */
  readonly #optional = new Set<CommitId>()
  readonly #commits = new Map<CommitId, PulledCommit>()
  readonly #givenUp = new Set<string>()
  /** Trees that began and are not known to be whole. */
  #begun: PulledCommit[] = []
  readonly #vouched: Ancestors | undefined
  readonly #bases = new Map<string, FsObject | undefined>()
  #baseRoot: string | null = null
  #watcher: ((wanted: WantedObject) => void) | undefined

  constructor(private readonly options: FrontierOptions) {
    const { base, readFacts } = options
    if (base) this.#vouched = vouchedHistory(base.commit, base.since, readFacts)
  }

  async begin(): Promise<void> {
    const { base, readFacts, holes, want } = this.options
    if (base) {
      const root = (await readFacts(base.commit))?.rootId
      this.#baseRoot = root === undefined || root === EMPTY_ID ? null : root
    }
    for (const { kind, id } of holes) this.#expect(id, { kind, base: null })
    await this.#requireCommit(want)
  }

  /** Number of objects that are known to be wanted and are not here. */
  get size(): number {
    return this.#expected.size
  }

  expects(kind: ObjectKind, id: string): boolean {
    return this.#expected.get(id)?.kind === kind
  }

  accepts(kind: ObjectKind, id: string): boolean {
    return this.expects(kind, id) || (kind === 'commits' && this.#optional.has(id as CommitId))
  }

  outstanding(): WantedObject[] {
    return [...this.#expected].map(([id, { kind }]) => ({ kind, id }))
  }

  /** Tells of everything expected from now on, as it becomes so: whoever looks for it must not search all each time. */
  watch(watcher: ((wanted: WantedObject) => void) | undefined): void {
    this.#watcher = watcher
  }

  /** True while an fs object or a block is expected: then no tree that began is whole. */
  get treesOutstanding(): boolean {
    for (const { kind } of this.#expected.values()) if (kind !== 'commits') return true
    return false
  }

  /** It was asked for, and the primary cannot give it. */
  lacks(id: string): boolean {
    return this.#givenUp.has(id)
  }

  /** Facts of a commit of this pull or of our store. */
  facts(id: CommitId): CommitFacts | undefined | Promise<CommitFacts | undefined> {
    return this.#commits.get(id) ?? this.options.readFacts(id)
  }

  /** Kept commits of this pull, in order of arrival: newest first. */
  keptCommits(): { readonly id: CommitId; readonly rootId: string }[] {
    return [...this.#commits].filter(([, c]) => c.kept).map(([id, c]) => ({ id, rootId: c.rootId }))
  }

  /** The object is here now: what it names is expected next. Only for objects that were accepted. */
  arrived(object: VerifiedObject): void | Promise<void> {
    const { id } = object.ref
    const expected = this.#expected.get(id)
    this.#expected.delete(id)
    switch (object.is) {
      case 'commit':
        return this.#commitArrived(object.commit, expected !== undefined)
      case 'fs':
        return expected && this.#fsArrived(object.fs, expected.base)
      case 'block':
        return
    }
  }

  /** A block, which names nothing else. */
  blockArrived(id: string): void {
    this.#expected.delete(id)
  }

  /** The primary cannot give it; the closure has a hole there. */
  giveUp(id: string): void {
    this.#expected.delete(id)
    this.#givenUp.add(id)
  }

  /** The tree of a commit begins to arrive, or, for null, all that has not begun. */
  beginTrees(commit: CommitId | null): void {
    if (commit === null) {
      for (const pulled of this.#commits.values()) this.#beginTree(pulled)
      return
    }
    const pulled = this.#commits.get(commit)
    if (pulled) this.#beginTree(pulled)
  }

  /** To be called when no tree is outstanding: every tree that began is whole. */
  treesArrived(): void {
    for (const pulled of this.#begun) pulled.treeDone = true
    this.#begun = []
  }

  /** Whether everything that `id` reaches within the kept history is here: then it may be the base of the next attempt. */
  async closed(id: CommitId): Promise<boolean> {
    const visited = new Set<CommitId>()
    const todo = [id]
    for (let next = todo.pop(); next; next = todo.pop()) {
      if (visited.has(next) || this.#givenUp.has(next)) continue
      visited.add(next)
      const pulled = this.#commits.get(next)
      if (!pulled) {
        if (!(await this.#isVouched(next))) return false
        continue
      }
      if (!pulled.kept) continue
      if (!pulled.treeDone) return false
      if (this.#follows(next, pulled.ctime)) todo.push(...pulled.parents)
    }
    return true
  }

  #follows(id: CommitId, ctime: number): boolean {
    return followsParents(this.options.truncateTime, ctime, id === this.options.want)
  }

  async #commitArrived(commit: Commit, required: boolean): Promise<void> {
    const { id, ctime, rootId, parentId, secondParentId } = commit
    this.#optional.delete(id)
    const parents = [parentId, secondParentId].filter(p => p !== null)
    const pulled: PulledCommit = { ctime, rootId, parents, kept: required, treeBegun: false, treeDone: false }
    this.#commits.set(id, pulled)
    await this.#lookAtParents(id, pulled)
  }

  async #lookAtParents(id: CommitId, pulled: PulledCommit): Promise<void> {
    for (const parent of pulled.parents) {
      if (pulled.kept && this.#follows(id, pulled.ctime)) await this.#requireCommit(parent)
      else if (!this.#commits.has(parent) && !this.#expected.has(parent)) this.#optional.add(parent)
    }
  }

  async #requireCommit(id: CommitId): Promise<void> {
    const pulled = this.#commits.get(id)
    if (pulled) {
      if (pulled.kept) return
      pulled.kept = true // it came as an older commit, and turns out to be owed through another branch
      return this.#lookAtParents(id, pulled)
    }
    if (this.#expected.has(id) || this.#givenUp.has(id) || (await this.#isVouched(id))) return
    this.#optional.delete(id)
    this.#want(id, { kind: 'commits', base: null })
  }

  async #isVouched(id: CommitId): Promise<boolean> {
    if (!this.#vouched) return false
    if (id === this.options.base?.commit) return true
    const ours = await this.options.readFacts(id)
    return ours !== undefined && (await this.#vouched.has(id))
  }

  #beginTree(pulled: PulledCommit): void {
    if (!pulled.kept || pulled.treeBegun) return
    pulled.treeBegun = true
    this.#begun.push(pulled)
    if (pulled.rootId === EMPTY_ID || pulled.rootId === this.#baseRoot) return
    this.#expect(pulled.rootId, { kind: 'fs', base: this.#baseRoot })
  }

  #expect(id: string, expected: Expected): void {
    if (expected.kind !== 'commits' && !this.#seen.add(id)) return
    this.#want(id, expected)
  }

  #want(id: string, expected: Expected): void {
    this.#expected.set(id, expected)
    this.#watcher?.({ kind: expected.kind, id })
  }

  #fsArrived(fs: FsObject, baseId: string | null): void | Promise<void> {
    const base = baseId === null || this.#bases.has(baseId) ? this.#bases.get(baseId ?? '') : this.#readBase(baseId)
    if (base instanceof Promise) return base.then(found => this.#expectBelow(fs, found))
    this.#expectBelow(fs, base)
  }

  #expectBelow(fs: FsObject, base: FsObject | undefined): void {
    if (fs.type === 'dir')
      for (const entry of newEntries(fs, base)) this.#expect(entry.id, { kind: 'fs', base: entry.base })
    else for (const block of newBlocks(fs, base)) this.#expect(block, { kind: 'blocks', base: null })
  }

  /** Damaged or missing here: then it vouches for nothing, and all below it is expected again. */
  async #readBase(id: string): Promise<FsObject | undefined> {
    const read = await this.options.store.read({ kind: 'fs', storeId: this.options.storeId, id })
    const fs = read.state === 'whole' && read.object.is === 'fs' ? read.object.fs : undefined
    if (this.#bases.size >= BASES_MAX) this.#bases.clear()
    this.#bases.set(id, fs)
    return fs
  }
}

/** Directories and files along the changed paths: some dozens in practice. */
const BASES_MAX = 1_000
