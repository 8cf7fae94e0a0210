/**
 * A file system that promises no more than POSIX does, with what is durable kept apart from what is only seen.
 *
 * The data of a file is durable up to the last fsync of that file; an entry of
 * a directory (create, rename, unlink, mkdir) up to the last fsync of that
 * directory. A rename is old or new, and durable with the directory that it
 * leads to. A sync covers what had ended before it began. Lost entries of one
 * directory are always its last ones; of two directories either may be ahead.
 */

import { dirname, basename } from 'node:path'
import type { Operation } from './trace.js'

export interface DataOp {
  readonly at: number
  readonly offset: number
  /** Undefined: the file was cut or extended to `offset`. */
  readonly bytes: Buffer | undefined
}

export interface EntryOp {
  readonly at: number
  readonly name: string
  /** Null: the name was taken away. */
  readonly node: Node | null
  /** Where a rename came from. */
  readonly from?: { readonly directory: DirectoryNode; readonly name: string }
}

export class FileNode {
  durable: Buffer = Buffer.alloc(0)
  /** Counts what was made durable. */
  version = 0
  pending: DataOp[] = []
  /** As last named. */
  path = ''

  constructor(readonly id: number) {}

  live(): Buffer {
    return appliedAll(this.durable, this.pending)
  }
}

export class DirectoryNode {
  readonly live = new Map<string, Node>()
  readonly durable = new Map<string, Node>()
  queue: EntryOp[] = []

  constructor(readonly id: number) {}
}

export type Node = FileNode | DirectoryNode

/** Which syncs do nothing: for the proof that a missing one is found. */
export type Ignored = (path: string | null, isDirectory: boolean) => boolean

export class DiskModel {
  readonly root = new DirectoryNode(0)
  readonly dirtyFiles = new Set<FileNode>()
  readonly dirtyDirectories = new Set<DirectoryNode>()
  /** When the last sync that counts began: an ext4-like journal has all entries until then. */
  journalAt = -1
  #ids = 1

  constructor(
    readonly rootPath: string,
    private readonly ignored: Ignored = () => false,
  ) {}

  /** What was there before anything was recorded: durable. A null is a directory. */
  lay(path: string, bytes: Buffer | null): void {
    const parent = this.#directory(dirname(path))
    const node = bytes === null ? new DirectoryNode(this.#ids++) : new FileNode(this.#ids++)
    if (node instanceof FileNode && bytes) Object.assign(node, { durable: bytes, path })
    parent.live.set(basename(path), node)
    parent.durable.set(basename(path), node)
  }

  apply(operation: Operation): void {
    switch (operation.kind) {
      case 'open':
        return this.#open(operation)
      case 'write':
        return this.#data(operation.path, { at: operation.at, offset: operation.offset, bytes: operation.bytes })
      case 'truncate':
        return this.#data(operation.path, { at: operation.at, offset: operation.size, bytes: undefined })
      case 'rename':
        return this.#rename(operation)
      case 'link':
        return this.#entry(operation.path, this.#expect(operation.from), operation.at)
      case 'mkdir':
        return this.#entry(operation.path, new DirectoryNode(this.#ids++), operation.at)
      case 'unlink':
      case 'rmdir':
        return this.#entry(operation.path, null, operation.at)
      case 'sync':
        return this.#sync(operation.path, operation.begun)
      case 'syncAll':
        return this.#syncAll(operation.begun)
      case 'said':
        return
    }
  }

  find(path: string): Node | undefined {
    if (path === this.rootPath) return this.root
    let node: Node | undefined = this.root
    for (const name of path.slice(this.rootPath.length + 1).split('/'))
      node = node instanceof DirectoryNode ? node.live.get(name) : undefined
    return node
  }

  #expect(path: string): Node {
    const node = this.find(path)
    if (!node) throw new Error(`${path} is not there`)
    return node
  }

  #directory(path: string): DirectoryNode {
    const node = this.#expect(path)
    if (!(node instanceof DirectoryNode)) throw new Error(`${path} is no directory`)
    return node
  }

  #open({ path, create, truncate, at }: Operation & { kind: 'open' }): void {
    const node = this.find(path)
    if (!node && create) this.#entry(path, new FileNode(this.#ids++), at)
    if (node && truncate) this.#data(path, { at, offset: 0, bytes: undefined })
  }

  #data(path: string, op: DataOp): void {
    const node = this.find(path)
    if (!(node instanceof FileNode)) return // unlinked while open: nobody will read it
    node.pending.push(op)
    this.dirtyFiles.add(node)
  }

  #entry(path: string, node: Node | null, at: number): void {
    if (node instanceof FileNode) node.path = path
    this.#queue(this.#directory(dirname(path)), { at, name: basename(path), node })
  }

  #rename({ from, path, at }: Operation & { kind: 'rename' | 'link' }): void {
    const node = this.#expect(from)
    const source = { directory: this.#directory(dirname(from)), name: basename(from) }
    if (node instanceof FileNode) node.path = path
    this.#queue(this.#directory(dirname(path)), { at, name: basename(path), node, from: source })
  }

  #queue(directory: DirectoryNode, op: EntryOp): void {
    entryApplied(directory.live, op, from => from.live)
    directory.queue.push(op)
    this.dirtyDirectories.add(directory)
  }

  #sync(path: string, begun: number): void {
    const node = this.find(path)
    if (!node || this.ignored(path, node instanceof DirectoryNode)) return
    this.journalAt = begun
    if (node instanceof FileNode) this.#fileSynced(node, begun)
    else this.#directorySynced(node, begun)
  }

  #syncAll(begun: number): void {
    if (this.ignored(null, false)) return
    this.journalAt = begun
    for (const file of [...this.dirtyFiles]) this.#fileSynced(file, begun)
    const ops = [...this.dirtyDirectories].flatMap(directory => directory.queue.map(op => ({ directory, op })))
    const done = ops.filter(({ op }) => op.at < begun).sort((a, b) => a.op.at - b.op.at)
    for (const { directory, op } of done) entryApplied(directory.durable, op, from => from.durable)
    for (const directory of [...this.dirtyDirectories]) this.#keep(directory, op => op.at >= begun)
  }

  #fileSynced(file: FileNode, begun: number): void {
    const done = file.pending.filter(op => op.at < begun)
    if (done.length > 0) {
      file.durable = appliedAll(file.durable, done)
      file.version += 1
      file.pending = file.pending.filter(op => op.at >= begun)
    }
    if (file.pending.length === 0) this.dirtyFiles.delete(file)
  }

  #directorySynced(directory: DirectoryNode, begun: number): void {
    for (const op of directory.queue.filter(op => op.at < begun)) {
      entryApplied(directory.durable, op, from => from.durable)
      const from = op.from?.directory
      // the name that it came by is gone with it: nothing of that is left to be lost
      if (from && from !== directory) this.#keep(from, other => other.name !== op.from?.name || other.at > op.at)
    }
    this.#keep(directory, op => op.at >= begun)
  }

  #keep(directory: DirectoryNode, stays: (op: EntryOp) => boolean): void {
    directory.queue = directory.queue.filter(stays)
    if (directory.queue.length === 0) this.dirtyDirectories.delete(directory)
  }
}

/** In one view of the directories: as seen, as durable, or as after a crash. */
export function entryApplied(
  entries: Map<string, Node>,
  { name, node, from }: EntryOp,
  entriesOf: (directory: DirectoryNode) => Map<string, Node>,
): void {
  if (node === null) entries.delete(name)
  else entries.set(name, node)
  if (!from) return
  const source = entriesOf(from.directory)
  if (source.get(from.name) === node) source.delete(from.name)
}

/** Beyond the end zeros fill the gap. */
export function appliedAll(content: Buffer, ops: readonly DataOp[]): Buffer {
  const ends = ops.map(({ offset, bytes }) => offset + (bytes?.byteLength ?? 0))
  const result = Buffer.alloc(Math.max(content.byteLength, ...ends))
  content.copy(result)
  let size = content.byteLength
  for (const { offset, bytes } of ops) {
    if (bytes === undefined) {
      result.fill(0, Math.min(offset, size), Math.max(offset, size))
      size = offset
    } else {
      bytes.copy(result, offset)
      size = Math.max(size, offset + bytes.byteLength)
    }
  }
  return result.subarray(0, size)
}
