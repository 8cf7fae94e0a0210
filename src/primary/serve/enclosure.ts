/**
 * A small change, sent along with the event that tells of it: the backup need not ask.
 *
 * What is enclosed is the delta from the new head's parent, as frames without END; the event's seal proves them. Whether
 * it fits the backup finds out: one that does not hold the parent, or keeps history under another rule, asks as
 * ever. So an enclosure that is not made, or made in vain, costs time and nothing else, and no more than a few
 * milliseconds are given to one: objects are read here in the main thread.
 */

import { storeIdOf } from '../../shared/catalog/library-tables.js'
import { DiskObjectReader, asRead } from '../../shared/store/disk-object-store.js'
import { CHUNK_BYTES, CHUNK_HEADER_BYTES } from '../../shared/wire/chunks.js'
import { FRAME } from '../../shared/wire/frames.js'
import { ENCLOSED_BYTES_MAX } from '../../shared/wire/sync-messages.js'
import { streamDelta } from './delta.js'
import { FrameWriter } from './frame-writer.js'
import { libraryFrame, truncateTimeOf } from './library-rules.js'
import type { CatalogReader } from '../../shared/catalog/catalog.js'
import type { CommitId, RepoId } from '../../shared/ids.js'
import type { ObjectRef, ReadObject } from '../../shared/store/object-store.js'
import type { RawRead } from '../../shared/store/disk-object-store.js'
import type { ConfKeepDays } from './library-rules.js'
import type { RateLimit } from './rate-limit.js'

/** More reads are no small change; a disk that is slow is left alone, and the thread goes on with its work. */
const READS_MAX = 64
const READING_MS_MAX = 10
/** Of one commit or fs object, as it lies on the disk. */
const READ_BYTES_MAX = 16 * 1024

export interface EnclosureParts {
  readonly catalog: CatalogReader
  readonly dataDir: string
  readonly confKeepDays: ConfKeepDays
  readonly rate: RateLimit
}

/** It is no small change after all. */
class TooMuch extends Error {}

class HastyReader extends DiskObjectReader {
  #reads = 0
  /** By path: a delta looks at its first and its last commit more than once. */
  readonly #known = new Map<string, ReadObject>()
  readonly #until = performance.now() + READING_MS_MAX

  override read(ref: ObjectRef): ReadObject {
    const path = this.path(ref)
    const read = this.#known.get(path) ?? this.#read(ref)
    this.#known.set(path, read)
    return read
  }

  #read(ref: ObjectRef): ReadObject {
    this.#expectTime()
    // a directory of 100,000 entries would hold up everything else here, and travels by itself anyway
    const raw = super.readRaw(ref, READ_BYTES_MAX)
    if (raw.state === 'large') throw new TooMuch()
    return raw.state === 'read' ? asRead(ref, raw.bytes) : raw
  }

  override readRaw(ref: ObjectRef, bytesMax?: number): RawRead {
    this.#expectTime()
    return super.readRaw(ref, bytesMax)
  }

  #expectTime(): void {
    this.#reads += 1
    if (this.#reads > READS_MAX || performance.now() > this.#until) throw new TooMuch()
  }
}

export class Enclosures {
  readonly #room = Buffer.allocUnsafeSlow(CHUNK_BYTES)
  #isBusy = false

  constructor(private readonly parts: EnclosureParts) {}

  /** Null: this head is not sent along, one is being made already, or the line has no room. Rejects with what the database says. */
  async of(repo: RepoId, head: CommitId, signal: AbortSignal): Promise<Buffer | null> {
    if (this.#isBusy || !this.parts.rate.isOpen) return null
    this.#isBusy = true
    try {
      return await this.#make(repo, head, signal)
    } catch (error) {
      if (error instanceof TooMuch) return null
      throw error
    } finally {
      this.#isBusy = false
    }
  }

  async #make(repo: RepoId, head: CommitId, signal: AbortSignal): Promise<Buffer | null> {
    const { catalog, dataDir, confKeepDays, rate } = this.parts
    const library = await catalog.read(repo, signal)
    // a virtual library's base commit is the origin's, moves with it, and has to be asked for anyway
    if (library?.rows.head !== head || library.rows.virtual) return null
    const objects = new HastyReader(dataDir)
    const base = parentOf(repo, head, objects)
    if (base === null) return null
    const truncateTime = truncateTimeOf(library, confKeepDays)
    const chunks: Buffer[] = []
    const out = new FrameWriter(
      null,
      chunk => void chunks.push(Buffer.from(chunk)),
      () => this.#room,
    )
    await out.json(FRAME.library, libraryFrame(library, confKeepDays, { truncateTime, base }))
    const of = { repo, storeId: storeIdOf(library.rows), want: head, base }
    await streamDelta({ ...of, truncateTime, haveSince: truncateTime, commitsAlone: false }, objects, out)
    if (out.absent > 0) return null // damage, or GC: found out where it can be asked again
    await out.flush()
    const [chunk] = chunks
    if (!chunk || chunks.length > 1 || chunk.byteLength > ENCLOSED_BYTES_MAX) return null
    rate.spend(chunk.byteLength)
    return chunk.subarray(CHUNK_HEADER_BYTES)
  }
}

/** What the backup is likely to hold: the head before this one. */
function parentOf(repo: RepoId, head: CommitId, objects: DiskObjectReader): CommitId | null {
  const read = objects.read({ kind: 'commits', storeId: repo, id: head })
  if (read.state !== 'whole' || read.object.is !== 'commit') return null
  const { parentId } = read.object.commit
  if (parentId === null) return null
  const parent = objects.read({ kind: 'commits', storeId: repo, id: parentId })
  return parent.state === 'whole' ? parentId : null
}
