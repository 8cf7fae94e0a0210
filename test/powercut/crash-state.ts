/**
 * What may be on the disk after a power cut: everything durable, and of the rest what one choice keeps.
 *
 *   dropped   nothing that was not synced
 *   all       everything, as if the cut had come later
 *   journal   all entries of directories up to the last sync of anything, as ext4 does; no unsynced data
 *   random    of each directory the first few entries, of each file some of the unsynced pages: kept, dropped, torn
 *             at 512 bytes, or zeros where the file had grown
 */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DirectoryNode, FileNode, appliedAll, entryApplied } from './disk-model.js'
import type { Random } from '../kinds/random.js'
import type { DataOp, DiskModel, EntryOp, Node } from './disk-model.js'
import type { Operation } from './trace.js'

export type Choice = 'dropped' | 'all' | 'journal' | 'random'

const PAGE = 4096
const SECTOR = 512

export interface Content {
  /** Equal keys, equal bytes. */
  readonly key: string
  readonly bytes: Buffer
}

let unique = 0

export class CrashState {
  readonly #entries = new Map<DirectoryNode, Map<string, Node>>()
  readonly #contents = new Map<FileNode, Content>()
  readonly #underWay = new Map<FileNode, DataOp[]>()

  /** `underWay`: calls that had begun at the cut and not ended. */
  constructor(
    readonly model: DiskModel,
    private readonly choice: Choice,
    private readonly random: Random,
    underWay: readonly Operation[] = [],
  ) {
    const kept: { readonly directory: DirectoryNode; readonly op: EntryOp }[] = []
    for (const directory of model.dirtyDirectories)
      for (const op of this.#keptEntries(directory.queue)) kept.push({ directory, op })
    kept.sort((a, b) => a.op.at - b.op.at)
    for (const { directory, op } of kept) entryApplied(this.#own(directory), op, from => this.#own(from))
    if (choice === 'random') for (const operation of underWay) if (random.chance(0.5)) this.#perhaps(operation)
  }

  entries(directory: DirectoryNode): ReadonlyMap<string, Node> {
    return this.#entries.get(directory) ?? directory.durable
  }

  find(path: string): Node | undefined {
    if (path === this.model.rootPath) return this.model.root
    let node: Node | undefined = this.model.root
    for (const name of path.slice(this.model.rootPath.length + 1).split('/'))
      node = node instanceof DirectoryNode ? this.entries(node).get(name) : undefined
    return node
  }

  content(file: FileNode): Content {
    const found = this.#contents.get(file) ?? this.#chosen(file)
    this.#contents.set(file, found)
    return found
  }

  /** Of every file, with its path below the root. */
  *files(directory = this.model.root, below = ''): Generator<[path: string, file: FileNode]> {
    for (const [name, node] of this.entries(directory)) {
      if (node instanceof FileNode) yield [below + name, node]
      else yield* this.files(node, `${below}${name}/`)
    }
  }

  /** Onto a real disk. */
  layOut(to: string, directory = this.model.root): void {
    mkdirSync(to, { recursive: true })
    for (const [name, node] of this.entries(directory)) {
      if (node instanceof FileNode) writeFileSync(join(to, name), this.content(node).bytes, { mode: 0o600 })
      else this.layOut(join(to, name), node)
    }
  }

  #keptEntries(queue: readonly EntryOp[]): readonly EntryOp[] {
    switch (this.choice) {
      case 'dropped':
        return []
      case 'all':
        return queue
      case 'journal':
        return queue.filter(({ at }) => at < this.model.journalAt)
      case 'random':
        return queue.slice(0, this.random.below(queue.length + 1))
    }
  }

  #own(directory: DirectoryNode): Map<string, Node> {
    let entries = this.#entries.get(directory)
    if (!entries) this.#entries.set(directory, (entries = new Map(directory.durable)))
    return entries
  }

  /** A call that had only begun: an entry is moved or not, data is there as any that is not synced. */
  #perhaps(operation: Operation): void {
    if (operation.kind === 'write') {
      const file = this.model.find(operation.path)
      if (!(file instanceof FileNode)) return
      const { at, offset, bytes } = operation
      this.#underWay.set(file, [...(this.#underWay.get(file) ?? []), { at, offset, bytes }])
    } else if (operation.kind === 'rename' || operation.kind === 'unlink') {
      const place = (path: string) => this.find(path.slice(0, path.lastIndexOf('/')))
      const nameOf = (path: string) => path.slice(path.lastIndexOf('/') + 1)
      const from = operation.kind === 'rename' ? operation.from : operation.path
      const [source, target] = [place(from), place(operation.path)]
      if (!(source instanceof DirectoryNode) || !(target instanceof DirectoryNode)) return
      const node = this.entries(source).get(nameOf(from))
      if (!node) return
      this.#own(source).delete(nameOf(from))
      if (operation.kind === 'rename') this.#own(target).set(nameOf(operation.path), node)
    }
  }

  #chosen(file: FileNode): Content {
    const pending = [...file.pending, ...(this.#underWay.get(file) ?? [])]
    const key = `${file.id}:${file.version}`
    if (pending.length === 0 || this.choice === 'dropped' || this.choice === 'journal')
      return { key, bytes: file.durable }
    if (this.choice === 'all') return { key: `${key}+${pending.at(-1)?.at}`, bytes: appliedAll(file.durable, pending) }
    const kept = pending.flatMap(op => this.#tornOf(op, file.durable.byteLength))
    if (kept.length === 0) return { key, bytes: file.durable }
    return { key: `${key}?${unique++}`, bytes: appliedAll(file.durable, kept) }
  }

  /** Page by page. `size`: up to there the disk has had other bytes, which a lost write leaves. */
  #tornOf(op: DataOp, size: number): DataOp[] {
    if (op.bytes === undefined) return this.random.chance(0.5) ? [op] : []
    // most crashes lose all or nothing of a write, so the rare ones do not hide them
    if (this.random.chance(0.3)) return this.random.chance(0.5) ? [op] : []
    const { at, offset, bytes } = op
    const parts: DataOp[] = []
    for (let start = 0; start < bytes.byteLength;) {
      const end = Math.min(bytes.byteLength, (Math.floor((offset + start) / PAGE) + 1) * PAGE - offset)
      const page = bytes.subarray(start, end)
      const fate = this.random.pick(['kept', 'kept', 'dropped', 'zeros', 'torn'] as const)
      if (fate === 'kept') parts.push({ at, offset: offset + start, bytes: page })
      else if (fate === 'torn') parts.push({ at, offset: offset + start, bytes: this.#firstSectors(page) })
      else if (fate === 'zeros' && offset + start >= size)
        parts.push({ at, offset: offset + start, bytes: Buffer.alloc(page.byteLength) })
      start = end
    }
    return parts
  }

  #firstSectors(page: Buffer): Buffer {
    return page.subarray(0, this.random.below(Math.ceil(page.byteLength / SECTOR)) * SECTOR)
  }
}
