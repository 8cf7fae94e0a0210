/**
 * Objects in Seafile's own directory layout: `<data>/storage/<kind>/<store id>/<2 hex>/<38 hex>`.
 *
 * A Seafile server, its fsck and its GC can use the directory as it is. Temp
 * files live under `<data>/tmpfiles/seaf-backup`, outside the object tree,
 * because Seafile's own lister takes every name in there for an object. File
 * work is synchronous: it runs in worker threads, where that is several times
 * faster than promises.
 */

import { closeSync, openSync, readdirSync, mkdirSync, rmSync, fstatSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { makeDirectory } from '../durable-directory.js'
import { systemCode } from '../errors.js'
import { DiskObjectBatch } from './disk-object-batch.js'
import { processSyncs } from './filesystem-sync.js'
import { NotWhatItsNameSays, verify } from './verify.js'
import type { FilesystemSyncs } from './filesystem-sync.js'
import type { ObjectKind, ObjectReader, ObjectRef, ObjectStore, ReadObject } from './object-store.js'

/** What a read of raw bytes gives: for whoever passes objects on without looking into them. */
export type RawRead =
  | { readonly state: 'read'; readonly bytes: Buffer }
  /** Larger than asked for: not read. */
  | { readonly state: 'large'; readonly size: number }
  | FailedRead

export type FailedRead = { readonly state: 'missing' } | { readonly state: 'unreadable'; readonly why: string }

/** A file that is read from its beginning to its end. */
export class OpenObject implements Disposable {
  readonly state = 'open'
  #at = 0

  constructor(
    private readonly fd: number,
    /** Bytes, when it was opened. */
    readonly size: number,
  ) {}

  /** Fills `target`, or what the file still has of it; 0 at its end. Throws what the disk says. */
  read(target: Buffer): number {
    const got = readSync(this.fd, target, 0, target.byteLength, this.#at)
    this.#at += got
    return got
  }

  [Symbol.dispose](): void {
    closeSync(this.fd)
  }
}

export class DiskObjectReader implements ObjectReader {
  readonly storage: string

  constructor(readonly dataDir: string) {
    this.storage = join(dataDir, 'storage')
  }

  path(ref: ObjectRef): string {
    return `${this.storage}/${ref.kind}/${ref.storeId}/${ref.id.slice(0, 2)}/${ref.id.slice(2)}`
  }

  read(ref: ObjectRef): ReadObject {
    return this.readAs(ref, this.path(ref))
  }

  /** Whether the file at `path`, wherever that is, is this object. */
  readAs(ref: ObjectRef, path: string): ReadObject {
    const raw = readPath(path)
    switch (raw.state) {
      case 'read':
        return asRead(ref, raw.bytes)
      case 'large':
        throw new RangeError('unreachable: no limit was given')
      case 'missing':
      case 'unreadable':
        return raw
    }
  }

  /** Unverified bytes; when there are more than `bytesMax`, only their number. */
  readRaw(ref: ObjectRef, bytesMax = Infinity): RawRead {
    return readPath(this.path(ref), bytesMax)
  }

  /** For a large object that is passed on in parts; its holder closes it. */
  open(ref: ObjectRef): OpenObject | FailedRead {
    return openPath(this.path(ref))
  }

  async *list(kind: ObjectKind, storeId: string): AsyncIterable<ObjectRef> {
    const dir = join(this.storage, kind, storeId)
    for (const prefix of namesIn(dir)) {
      if (!/^[0-9a-f]{2}$/.test(prefix)) continue
      for (const rest of namesIn(join(dir, prefix))) {
        // temp files of Seafile's servers stand beside objects; a valid name has exactly this form
        if (/^[0-9a-f]{38}$/.test(rest)) yield { kind, storeId, id: prefix + rest }
      }
    }
  }
}

export class DiskObjectStore extends DiskObjectReader implements ObjectStore {
  readonly tempDir: string
  /** Of the object tree: their entries were synced since they were made, so a batch need not do it again. */
  readonly settled = new DirectorySet()
  /** Of the object tree: they were there. An error for each new one costs more than the rest of storing an object. */
  readonly seen = new DirectorySet()

  /** `syncs`: in a thread those of the main one. */
  constructor(
    dataDir: string,
    readonly syncs: FilesystemSyncs = processSyncs,
  ) {
    super(dataDir)
    this.tempDir = join(dataDir, 'tmpfiles', 'seaf-backup')
  }

  /** Makes the directories and drops temp files that a killed process left. Once per process, before any batch. */
  prepare(): void {
    const kinds = ['commits', 'fs', 'blocks'].map(kind => join(this.storage, kind))
    for (const dir of [this.dataDir, this.storage, ...kinds]) makeDirectory(dir, 0o755)
    mkdirSync(this.tempDir, { recursive: true, mode: 0o700 })
    for (const name of readdirSync(this.tempDir)) rmSync(join(this.tempDir, name), { force: true })
  }

  openBatch(): DiskObjectBatch {
    return new DiskObjectBatch(this)
  }
}

/** A million libraries have 768 million directories: forgotten now and then, and synced or looked for once more. */
const DIRECTORIES_MAX = 10_000

export class DirectorySet extends Set<string> {
  override add(dir: string): this {
    if (this.size >= DIRECTORIES_MAX) this.clear()
    return super.add(dir)
  }
}

function openPath(path: string): OpenObject | FailedRead {
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch (error) {
    return failedRead(error)
  }
  try {
    return new OpenObject(fd, fstatSync(fd).size)
  } catch (error) {
    closeSync(fd)
    return failedRead(error)
  }
}

const POOLED_BYTES_MAX = 16 * 1024

function readPath(path: string, bytesMax = Infinity): RawRead {
  const opened = openPath(path)
  if (opened.state !== 'open') return opened
  using file = opened
  const { size } = file
  if (size > bytesMax) return { state: 'large', size }
  // a large one may be handed to another thread whole; memory of its own for each small one kept the collector busy
  const bytes = size > POOLED_BYTES_MAX ? Buffer.allocUnsafeSlow(size) : Buffer.allocUnsafe(size)
  let filled = 0
  try {
    while (filled < size) {
      const got = file.read(bytes.subarray(filled))
      if (got === 0) break // the file shrank under us: what is left will not verify
      filled += got
    }
  } catch (error) {
    return failedRead(error)
  }
  return { state: 'read', bytes: filled === size ? bytes : bytes.subarray(0, filled) }
}

/** What bytes that were read are, as the object that they should be. */
export function asRead(ref: ObjectRef, bytes: Buffer): ReadObject {
  try {
    return { state: 'whole', object: verify(ref, bytes) }
  } catch (error) {
    if (error instanceof NotWhatItsNameSays) return { state: 'corrupt', why: error.message }
    throw error
  }
}

function failedRead(error: unknown): FailedRead {
  const code = systemCode(error)
  if (code === 'ENOENT' || code === 'ENOTDIR') return { state: 'missing' }
  return { state: 'unreadable', why: code ?? String(error) }
}

function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir)
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return []
    throw error
  }
}
