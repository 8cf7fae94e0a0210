/**
 * Whether one library on the disk is what its rows say: every object that it owes, read and compared with its name.
 *
 * For `seaf-backup-cmd verify`. Believes nothing that a sync noted: it starts at
 * `Branch` and reads files. Each object of a library is looked at once; what two
 * libraries share is looked at for each, because both lack it when it is gone.
 * Findings come as they are found, so memory holds the ids of one library, 20 bytes each,
 * and the entries that wait on one way down a tree.
 */

import { EMPTY_ID } from '../../shared/ids.js'
import { followsParents } from '../../shared/seafile/history-rule.js'
import { IdSet } from '../../shared/seafile/id-set.js'
import { isDirMode, isFileMode } from '../../shared/seafile/objects.js'
import type { CommitId, RepoId } from '../../shared/ids.js'
import type { Commit, FsObject } from '../../shared/seafile/objects.js'
import type { DiskObjectReader } from '../../shared/store/disk-object-store.js'
import type { ObjectKind, ObjectRef } from '../../shared/store/object-store.js'

export interface Finding {
  readonly kind: ObjectKind
  readonly id: string
  readonly problem: 'missing' | 'corrupt' | 'unreadable'
  /** Directories end with a slash; null: a commit. */
  readonly path: string | null
  /** Needed by the latest state, or by kept history alone. */
  readonly where: 'head' | 'history'
  /** What was found instead. */
  readonly why: string
}

export interface CheckedLibrary {
  readonly repo: RepoId
  readonly head: CommitId
  readonly storeId: RepoId
  readonly baseCommit: CommitId | null
  /** -1 all history, 0 the head alone, else Unix seconds (history-rule.ts). */
  readonly truncateTime: number
}

export interface CheckOptions {
  /** Kept history too, not the latest state alone. */
  readonly history: boolean
  /** Blocks are read and hashed; else it is enough that they are there and not empty. */
  readonly readData: boolean
}

export interface CheckCounts {
  commits: number
  fs: number
  blocks: number
  /** As they lie on the disk, of what was read. */
  bytes: number
}

/** A turn for others after so many objects; they are small, or it is one block. */
const OBJECTS_PER_TURN = 500

export class LibraryCheck {
  readonly counts: CheckCounts = { commits: 0, fs: 0, blocks: 0, bytes: 0 }
  readonly #seen = new IdSet()
  readonly #seenOfBase = new IdSet()
  #where: Finding['where'] = 'head'
  #sinceTurn = 0

  constructor(
    private readonly store: DiskObjectReader,
    private readonly library: CheckedLibrary,
    private readonly options: CheckOptions,
    /** Called now and then on the way. */
    private readonly onTurn: () => void | Promise<void>,
  ) {}

  async *findings(signal: AbortSignal): AsyncGenerator<Finding, void, undefined> {
    const { head, repo } = this.library
    const visited = new IdSet()
    const todo: CommitId[] = [head]
    for (let id = todo.shift(); id; id = todo.shift()) {
      if (!visited.add(id)) continue // parent chains can hold cycles
      this.#where = id === head ? 'head' : 'history'
      const commit = yield* this.#commit({ kind: 'commits', storeId: repo, id })
      if (!commit) continue
      yield* this.#tree(commit.rootId, signal)
      if (!this.options.history || !followsParents(this.library.truncateTime, commit.ctime, id === head)) continue
      for (const parent of [commit.parentId, commit.secondParentId]) if (parent) todo.push(parent)
    }
    if (this.options.history) yield* this.#base(signal)
  }

  /** Of a virtual library: its commit, directories and files, not its blocks (sync/base-tree.ts). */
  async *#base(signal: AbortSignal): AsyncGenerator<Finding, void, undefined> {
    const { baseCommit, storeId } = this.library
    if (baseCommit === null) return
    this.#where = 'history'
    const commit = yield* this.#commit({ kind: 'commits', storeId, id: baseCommit })
    if (commit) yield* this.#tree(commit.rootId, signal, { blocks: false })
  }

  *#commit(ref: ObjectRef): Generator<Finding, Commit | undefined, undefined> {
    const read = this.store.read(ref)
    this.counts.commits += 1
    if (read.state === 'whole' && read.object.is === 'commit') {
      this.counts.bytes += read.object.bytes.byteLength
      return read.object.commit
    }
    yield this.#finding(ref, null, read)
    return undefined
  }

  async *#tree(root: string, signal: AbortSignal, { blocks } = { blocks: true }): AsyncGenerator<Finding, void> {
    const todo = [{ id: root, path: '/' }]
    for (let next = todo.pop(); next; next = todo.pop()) {
      const { id, path } = next
      if (id === EMPTY_ID || (!blocks && this.#seen.has(id))) continue
      // a base tree leaves blocks out: its files are looked at again when somebody owes them
      if (!(blocks ? this.#seen : this.#seenOfBase).add(id)) continue
      await this.#turn(signal)
      const ref = { kind: 'fs', storeId: this.library.storeId, id } as const
      const read = this.store.read(ref)
      this.counts.fs += 1
      if (read.state !== 'whole' || read.object.is !== 'fs') {
        yield this.#finding(ref, path, read)
        continue
      }
      this.counts.bytes += read.object.bytes.byteLength
      const { fs } = read.object
      // one by one: as arguments of one call, some hundred thousand would not fit the stack
      if (fs.type === 'dir') for (const child of below(fs, path)) todo.push(child)
      else if (blocks) for (const block of fs.blocks) yield* this.#block(block, path)
    }
  }

  async *#block(id: string, path: string): AsyncGenerator<Finding, void> {
    if (!this.#seen.add(id)) return
    const ref = { kind: 'blocks', storeId: this.library.storeId, id } as const
    this.counts.blocks += 1
    const finding = this.options.readData ? this.#readBlock(ref, path) : this.#lookAtBlock(ref, path)
    if (finding) yield finding
    if (!this.options.readData) return
    await this.onTurn()
    await new Promise<void>(resolve => setImmediate(resolve))
  }

  #readBlock(ref: ObjectRef, path: string): Finding | undefined {
    const read = this.store.read(ref)
    if (read.state !== 'whole') return this.#finding(ref, path, read)
    this.counts.bytes += read.object.bytes.byteLength
    return undefined
  }

  #lookAtBlock(ref: ObjectRef, path: string): Finding | undefined {
    const read = this.store.readRaw(ref, 0)
    if (read.state === 'large') return undefined
    if (read.state === 'read') return this.#finding(ref, path, { state: 'corrupt', why: 'is empty' })
    return this.#finding(ref, path, read)
  }

  #finding(ref: ObjectRef, path: string | null, read: { readonly state: string; readonly why?: string }): Finding {
    const problem = read.state === 'missing' || read.state === 'unreadable' ? read.state : 'corrupt'
    const why = read.why ?? (problem === 'missing' ? 'is not there' : 'is another kind of object')
    return { kind: ref.kind, id: ref.id, problem, path, where: this.#where, why }
  }

  async #turn(signal: AbortSignal): Promise<void> {
    if (++this.#sinceTurn < OBJECTS_PER_TURN) return
    this.#sinceTurn = 0
    await this.onTurn()
    await new Promise<void>(resolve => setImmediate(resolve))
    signal.throwIfAborted()
  }
}

function below(dir: FsObject & { type: 'dir' }, path: string): { id: string; path: string }[] {
  return dir.entries.flatMap(({ id, name, mode }) => {
    if (isDirMode(mode)) return [{ id, path: `${path}${name}/` }]
    return isFileMode(mode) ? [{ id, path: path + name }] : []
  })
}
