/**
 * Many objects made durable together.
 *
 * A name appears in the object tree only after its bytes are durable: temp
 * files first, then fsync (few objects) or one `sync -f` (many), then the
 * renames, then the directories. So a power cut at any instant leaves under
 * each name the whole object or nothing, and `commit` is the one point where
 * durability is promised. While one full batch is being synced the next is
 * written: the disk and the CPU work at the same time, and never more than two
 * batches wait.
 *
 * A block that another library holds is shared instead of written: as a clone
 * where the filesystem has them, else by a hard link, as Seafile itself does for
 * copies between libraries. Nobody changes an object in place (Seafile and this
 * store replace by rename), so that one name never changes what another shows;
 * a bad sector under the bytes is one for both, and `verify` names both.
 */

import {
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { randomBytes } from 'node:crypto'
import { dirname } from 'node:path'
import { BackupError, systemCode } from '../errors.js'
import { storeError, syncFd, syncPath } from './durable-file.js'
import type { DiskObjectStore } from './disk-object-store.js'
import { BlockVerifier } from './verify.js'
import type { IncomingBlock, ObjectBatch, ObjectRef } from './object-store.js'
import type { VerifiedObject } from './verify.js'

/** Up to here one fsync an object is quicker than starting `sync -f` (0.2 ms against 2-3 ms here, shared by the journal). */
const FSYNC_OBJECTS_MAX = 48
/** One `sync -f` for so many: beyond about 1,000 nothing is gained, and a crash loses more. */
const BATCH_OBJECTS_MAX = 2_000
const BATCH_BYTES_MAX = 64 * 1024 * 1024

/**
 * Given to the kernel at once. 8 MiB in one call cost ten times as much as in 32 here (Linux 6.18, ext4: 2.4 s a GB
 * against 0.24), as if it made room for all of it and then filled it.
 */
const WRITE_BYTES = 256 * 1024

interface Written {
  readonly temp: string
  readonly path: string
  /** Open while few objects are in the batch, for their fsync; -1 once closed. */
  fd: number
  readonly isShared?: boolean
}

export class DiskObjectBatch implements ObjectBatch {
  readonly #store: DiskObjectStore
  readonly #prefix = randomBytes(6).toString('hex')
  #count = 0
  #written: Written[] = []
  #bytes = 0
  /** Begun, and not whole yet. */
  readonly #coming = new Set<Written>()
  /** Paths of objects that were there already; no more are noted than would be synced one by one. */
  #found: string[] = []
  #renamedInBulk = false
  /** As many as had failed before anything was written. */
  readonly #failedSyncs: number
  #flushing: Promise<void> | undefined
  #failure: Error | undefined

  constructor(store: DiskObjectStore) {
    this.#store = store
    this.#failedSyncs = store.syncs.failed
  }

  put(object: VerifiedObject): void | Promise<void> {
    if (this.#failure) throw storeError('store objects', this.#failure)
    if (this.#isHere(object.ref)) return this.found(object.ref)
    const file = this.#create(object.ref)
    this.#written.push(file)
    this.#append(file, object.bytes)
    return this.#flushIfFull()
  }

  begin(ref: ObjectRef): IncomingBlock {
    if (this.#failure) throw storeError('store objects', this.#failure)
    if (this.#isHere(ref)) return { write() {}, end: () => this.found(ref) }
    const file = this.#create(ref)
    const verifier = new BlockVerifier(ref)
    this.#coming.add(file)
    return {
      write: part => {
        verifier.update(part)
        this.#append(file, part)
      },
      end: () => {
        this.#coming.delete(file)
        try {
          verifier.end()
        } catch (error) {
          drop(file)
          throw error
        }
        this.#written.push(file)
        return this.#flushIfFull()
      },
    }
  }

  /** What is there and whole stays; what is there and damaged is replaced by what is verified. */
  #isHere(ref: ObjectRef): boolean {
    return existsSync(this.#store.path(ref)) && this.#store.read(ref).state === 'whole'
  }

  async share(ref: ObjectRef, from: ObjectRef): Promise<VerifiedObject | undefined> {
    if (this.#failure) throw storeError('store objects', this.#failure)
    const [theirs, temp] = [this.#store.path(from), this.#newTemp()]
    const isShared = shareFile(theirs, temp)
    // verified is what gets the name, not what had the other name a moment ago
    const read = this.#store.readAs(ref, isShared ? temp : theirs)
    if (read.state !== 'whole') {
      if (isShared) rmSync(temp)
      return undefined
    }
    if (isShared) {
      const file: Written = { temp, path: this.#store.path(ref), fd: -1, isShared }
      this.#written.push(file)
      file.fd = openSync(temp, 'r')
      await this.#flushIfFull()
    } else await this.put(read.object)
    return read.object
  }

  found(ref: ObjectRef): void {
    if (this.#found.length <= FSYNC_OBJECTS_MAX) this.#found.push(this.#store.path(ref))
  }

  async commit(signal: AbortSignal): Promise<void> {
    try {
      await this.#flushing
      this.#throwIfFailed()
      signal.throwIfAborted()
      const count = this.#written.length + this.#found.length
      if (count <= FSYNC_OBJECTS_MAX && !this.#renamedInBulk) await this.#commitFew()
      else {
        this.#startFlush()
        await this.#flushing
        this.#throwIfFailed()
        await this.#sync() // the last renames, and what was found
        this.#renamedInBulk = false
        this.#found = []
      }
    } catch (error) {
      await this.discard()
      if (signal.aborted) throw error
      throw storeError('make objects durable', error)
    }
  }

  #throwIfFailed(): void {
    if (this.#failure) throw this.#failure
  }

  async discard(): Promise<void> {
    await this.#flushing
    for (const file of [...this.#written, ...this.#coming]) drop(file)
    this.#coming.clear()
    this.#written = []
    this.#found = []
    this.#bytes = 0
  }

  #create(ref: ObjectRef): Written {
    const temp = this.#newTemp()
    const fd = openSync(temp, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600)
    return { temp, path: this.#store.path(ref), fd }
  }

  #append({ fd, path }: Written, bytes: Buffer): void {
    try {
      for (let done = 0; done < bytes.byteLength;)
        done += writeSync(fd, bytes, done, Math.min(WRITE_BYTES, bytes.byteLength - done))
    } catch (error) {
      this.#failure = asError(error)
      throw storeError(`write ${path.slice(this.#store.storage.length + 1)}`, error)
    }
    this.#bytes += bytes.byteLength
  }

  #newTemp(): string {
    return `${this.#store.tempDir}/${this.#prefix}-${this.#count++}`
  }

  #flushIfFull(): void | Promise<void> {
    this.#closeIfMany()
    if (this.#written.length < BATCH_OBJECTS_MAX && this.#bytes < BATCH_BYTES_MAX) return
    const before = this.#flushing
    this.#startFlush()
    return before
  }

  #closeIfMany(): void {
    if (this.#written.length > FSYNC_OBJECTS_MAX) this.#closeAll()
  }

  #closeAll(): void {
    for (let i = this.#written.length - 1; i >= 0; i--) {
      const file = this.#written[i]
      if (!file || file.fd < 0) return // the ones before were closed the last time
      closeSync(file.fd)
      file.fd = -1
    }
  }

  async #commitFew(): Promise<void> {
    const [batch, found] = [this.#written, this.#found]
    await Promise.all([...batch.map(file => syncFd(file.fd)), ...found.map(syncPath)])
    for (const file of batch) this.#place(file)
    await this.#syncDirectories([...batch.map(file => file.path), ...found])
    for (const file of batch) closeSync(file.fd)
    this.#written = []
    this.#found = []
    this.#bytes = 0
  }

  /** Those with the objects' names, and those above: another batch may have made one and not synced it yet. */
  async #syncDirectories(paths: readonly string[]): Promise<void> {
    const { storage, settled } = this.#store
    const changed = new Set(paths.map(path => dirname(path)))
    const unsettled = new Set<string>()
    for (const prefix of changed)
      for (let dir = prefix; dir !== storage && !settled.has(dir); dir = dirname(dir)) unsettled.add(dir)
    for (const dir of unsettled) changed.add(dirname(dir))
    await Promise.all([...changed].map(syncPath))
    for (const dir of unsettled) settled.add(dir)
  }

  #startFlush(): void {
    const before = this.#flushing
    const batch = this.#written
    this.#closeAll()
    this.#written = []
    this.#bytes = 0
    this.#renamedInBulk = true
    this.#flushing = this.#flush(before, batch).catch((error: unknown) => {
      this.#failure ??= asError(error)
      for (const file of batch) drop(file)
    })
  }

  async #flush(before: Promise<void> | undefined, batch: readonly Written[]): Promise<void> {
    await before
    this.#throwIfFailed()
    if (batch.length > 0) await this.#sync()
    for (const file of batch) this.#place(file)
  }

  async #sync(): Promise<void> {
    const { syncs, storage } = this.#store
    await syncs.sync(storage)
    if (syncs.failed === this.#failedSyncs) return
    throw new BackupError('STORE_IO', 'make objects durable: a sync of the filesystem failed since they were written')
  }

  #place(file: Written): void {
    const directory = dirname(file.path)
    if (!this.#store.seen.has(directory)) this.#makeDirectory(directory)
    try {
      renameSync(file.temp, file.path)
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error
      this.#makeDirectory(directory) // somebody took it away
      renameSync(file.temp, file.path)
    }
    // between two names of one file a rename does nothing: another pull has linked it meanwhile
    if (file.isShared) rmSync(file.temp, { force: true })
  }

  #makeDirectory(dir: string): void {
    this.#store.seen.add(dir)
    const first = mkdirSync(dir, { recursive: true, mode: 0o755 })
    if (first === undefined) return
    for (let made = dir; made.length >= first.length; made = dirname(made)) this.#store.settled.delete(made)
  }
}

/** False where neither a clone nor a hard link can be had. */
function shareFile(from: string, to: string): boolean {
  try {
    copyFileSync(from, to, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL)
    return true
  } catch {
    // most filesystems have none
  }
  try {
    linkSync(from, to)
    if (lstatSync(to).isFile()) return true
    rmSync(to) // somebody keeps objects behind symbolic links: a second link might lead nowhere
  } catch {
    // another filesystem, too many links, or nothing there
  }
  return false
}

/** Never throws: a disk that turned read-only must not hide the failure that led here. What stays goes at the next start. */
function drop(file: Written): void {
  const { fd } = file
  file.fd = -1
  try {
    if (fd >= 0) closeSync(fd)
    rmSync(file.temp, { force: true })
  } catch {
    // `prepare` removes it
  }
}

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)))
