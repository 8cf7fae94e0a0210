/** Everything that one or several traced processes did to a directory, from what was there before. */

import { existsSync, lstatSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { DirectoryNode, DiskModel, FileNode } from './disk-model.js'
import { isKept, readTrace } from './trace.js'
import type { Ignored } from './disk-model.js'
import type { Operation } from './trace.js'
import type { TracedProcess } from './traced-process.js'

/** Path below the root, and bytes; null: a directory. Parents first. */
type Snapshot = ReadonlyMap<string, Buffer | null>

export class Recording {
  readonly #before: Snapshot
  readonly operations: Operation[] = []
  #lines = 0

  /** What is below `root` now counts as durable. */
  constructor(readonly root: string) {
    this.#before = snapshot(root)
  }

  /** Once it has ended, and before the next one starts: what it had begun is looked up on the disk. */
  async add(process: TracedProcess): Promise<void> {
    const { operations, perhaps } = await readTrace(process.traceFile, this.root, this.#lines)
    const done = [...operations, ...perhaps.filter(happened)]
    for (const operation of done) this.operations.push(operation)
    this.#lines = Math.max(this.#lines, ...done.slice(-1).map(({ at }) => at)) + 1
  }

  /** Before the first operation. */
  model(ignored?: Ignored): DiskModel {
    const model = new DiskModel(this.root, ignored)
    for (const [path, bytes] of this.#before) model.lay(join(this.root, path), bytes)
    return model
  }

  /** What the model sees at the end and the disk does not have, or the other way round: nothing, or the trace is not whole. */
  differences(): string[] {
    const model = this.model()
    for (const operation of this.operations) model.apply(operation)
    const seen = new Map(liveFiles(model.root))
    const real = snapshot(this.root)
    const differences = [...seen.keys()].filter(path => !real.has(path)).map(path => `${path}: not on the disk`)
    for (const [path, bytes] of real) {
      const file = seen.get(path)
      if (file === undefined) differences.push(`${path}: not in the model`)
      else if (bytes !== null && !(file instanceof FileNode && file.live().equals(bytes)))
        differences.push(`${path}: other bytes`)
    }
    return differences
  }
}

/** Whether a call that had only begun when its process was killed took effect. Of a sync the worse is believed. */
function happened(operation: Operation): boolean {
  switch (operation.kind) {
    case 'open':
      return operation.create && existsSync(operation.path)
    case 'mkdir':
      return existsSync(operation.path)
    case 'rename':
      return !existsSync(operation.from)
    case 'unlink':
    case 'rmdir':
      return !existsSync(operation.path)
    case 'write': {
      if (!existsSync(operation.path)) return false
      const { offset, bytes } = operation
      return readFileSync(operation.path)
        .subarray(offset, offset + bytes.byteLength)
        .equals(bytes)
    }
    case 'truncate':
      return existsSync(operation.path) && lstatSync(operation.path).size === operation.size
    case 'link':
      return existsSync(operation.path)
    case 'sync':
    case 'syncAll':
    case 'said':
      return false
  }
}

function snapshot(root: string, below = '', into = new Map<string, Buffer | null>()): Snapshot {
  for (const entry of readdirSync(join(root, below), { withFileTypes: true })) {
    const path = below === '' ? entry.name : `${below}/${entry.name}`
    if (!isKept(`${root}/${path}`)) continue
    if (entry.isDirectory()) snapshot(root, path, into.set(path, null))
    else if (entry.isFile()) into.set(path, readFileSync(join(root, path)))
  }
  return into
}

function* liveFiles(directory: DirectoryNode, below = ''): Generator<[string, FileNode | DirectoryNode]> {
  for (const [name, node] of directory.live) {
    yield [below + name, node]
    if (node instanceof DirectoryNode) yield* liveFiles(node, `${below}${name}/`)
  }
}
