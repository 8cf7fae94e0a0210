/**
 * Where frames become stored objects: expected, verified, put, and what they name expected next.
 *
 * Large blocks are only named in a delta; they are fetched here, a few requests
 * at a time, after a look at our own store: what is there and whole never
 * travels again, nor does what another library holds. The stream that names them is held back while too many wait.
 */

import { FRAME, broken, decodeAbsent, frameId } from '../../shared/wire/frames.js'
import { ID_BYTES } from '../../shared/ids.js'
import { INLINE_BLOCK_BYTES_MAX } from '../../shared/wire/sync-messages.js'
import { NotWhatItsNameSays, verify } from '../../shared/store/verify.js'
import { FetchPlaces } from './concurrency.js'
import { primaryChanged } from './same-rules.js'
import type { RepoId } from '../../shared/ids.js'
import type { IncomingBlock, ObjectBatch, ObjectKind, ObjectRef, ObjectStore } from '../../shared/store/object-store.js'
import type { VerifiedObject } from '../../shared/store/verify.js'
import type { SyncProgress } from '../../shared/wire/control-messages.js'
import type { Absent, Frame } from '../../shared/wire/frames.js'
import type { EndFrame, WantedObject } from '../../shared/wire/sync-messages.js'
import type { BlockIndex } from '../state/block-index.js'
import type { Hole } from './damage.js'
import type { Frontier } from './frontier.js'
import type { PullEvents } from './pull.js'
import type { PullSource } from './primary-client.js'

/** One request for blocks: enough bytes to fill a long line, few enough that a broken one loses little. */
const FETCH_BYTES = 32 * 1024 * 1024
const FETCH_OBJECTS = 256
/** By name, in one request. */
export const ASK_OBJECTS = 1_000
const PROGRESS_MS = 200

interface NamedBlock {
  readonly id: string
  readonly size: number
}

/** Of one answer: the large block that is coming, if one is. */
interface Coming {
  /** Bytes; 0: none is. */
  left: number
  ref?: ObjectRef
  /** Undefined: nobody expects it. */
  block?: IncomingBlock | undefined
  /** Came, and were something else: once is damage, twice a sender who keeps our disk busy. */
  readonly corrupt: Set<string>
}

export interface IntakeOptions {
  readonly repo: RepoId
  readonly storeId: RepoId
  readonly client: PullSource
  readonly store: ObjectStore
  readonly blocks: BlockIndex
  readonly frontier: Frontier
  readonly events: PullEvents
  readonly signal: AbortSignal
}

const KIND_OF = { [FRAME.commit]: 'commits', [FRAME.fs]: 'fs', [FRAME.block]: 'blocks' } as const

/** Objects that seaf-gc took while they were asked for are no damage: the library is asked for anew, under its new rules. */
export function expectUnchanged(end: EndFrame, repo: RepoId): void {
  if (end.changed) throw primaryChanged(repo)
}

export class ObjectIntake implements AsyncDisposable {
  readonly #options: IntakeOptions
  readonly #batch: ObjectBatch
  readonly #holes = new Map<string, Hole>()
  /** Came, and were not what their names say: asked for once more before they are called corrupt. */
  readonly #corrupt = new Set<string>()
  #named: NamedBlock[] = []
  #namedBytes = 0
  readonly #fetches = new Set<Promise<void>>()
  readonly #fetchPlaces = new FetchPlaces()
  readonly #stop = new AbortController()
  /** Of the stream that is no answer to a question of ours. */
  readonly #stream: Coming = { left: 0, corrupt: new Set() }
  #fetchFailure: Error | undefined
  readonly #stored = { objects: 0, bytes: 0 }
  readonly #found = { objects: 0, bytes: 0 }
  #progressAt = 0
  readonly #startedAt = performance.now()

  constructor(options: IntakeOptions) {
    this.#options = options
    this.#batch = options.store.openBatch()
  }

  /** Stored by this pull: objects, and their bytes as they lie on the disk. */
  get stored(): { readonly objects: number; readonly bytes: number } {
    return { ...this.#stored }
  }

  /** Stored by this pull, or found whole: what a checkpoint saves from being read once more. */
  get done(): { readonly objects: number; readonly bytes: number } {
    const [stored, found] = [this.#stored, this.#found]
    return { objects: stored.objects + found.objects, bytes: stored.bytes + found.bytes }
  }

  holes(): Hole[] {
    return [...this.#holes.values()]
  }

  /** A COMMIT, FS or BLOCK frame. What was not expected is dropped: it may be here already, or be nobody's. */
  object(frame: Frame, from = this.#stream): void | Promise<void> {
    if (frame.partOf !== undefined) return this.#part(frame.payload, frame.partOf, from)
    const kind = KIND_OF[frame.type as keyof typeof KIND_OF]
    const id = frameId(frame.payload)
    if (!this.#options.frontier.accepts(kind, id)) return
    const object = this.#verified(kind, id, frame.payload.subarray(ID_BYTES))
    if (!object) return
    const putting = this.#batch.put(object)
    this.#count(this.#stored, object.bytes.byteLength)
    this.#note(object.ref, object.bytes.byteLength)
    const next = this.#options.frontier.arrived(object)
    if (putting || next) return Promise.all([putting, next]).then(() => undefined)
  }

  #part(part: Buffer, partOf: number, from: Coming): void | Promise<void> {
    const { frontier, storeId } = this.#options
    if (from.left === 0) {
      from.ref = { kind: 'blocks', storeId, id: frameId(part) }
      from.left = partOf - ID_BYTES
      from.block = frontier.accepts('blocks', from.ref.id) ? this.#batch.begin(from.ref) : undefined
      return
    }
    from.left -= part.byteLength
    from.block?.write(part)
    if (from.left > 0 || !from.block || !from.ref) return
    return this.#whole(from, { ref: from.ref, block: from.block, bytes: partOf - ID_BYTES })
  }

  #whole(
    { corrupt }: Coming,
    { ref, block, bytes }: { readonly ref: ObjectRef; readonly block: IncomingBlock; readonly bytes: number },
  ): void | Promise<void> {
    let putting: void | Promise<void>
    try {
      putting = block.end()
    } catch (error) {
      if (!(error instanceof NotWhatItsNameSays)) throw error
      if (corrupt.has(ref.id)) throw broken('a block twice that is not what its name says')
      corrupt.add(ref.id)
      this.#corrupt.add(ref.id)
      return
    }
    this.#count(this.#stored, bytes)
    this.#note(ref, bytes)
    this.#options.frontier.blockArrived(ref.id)
    return putting
  }

  /** A block that only its name came of, to be fetched if it is not here. `size` 0: not known. */
  blockRef(block: NamedBlock): void | Promise<void> {
    if (!this.#options.frontier.expects('blocks', block.id)) return
    this.#named.push(block)
    this.#namedBytes += block.size
    if (this.#named.length >= FETCH_OBJECTS || this.#namedBytes >= FETCH_BYTES) return this.#startFetch()
  }

  /** The sender cannot give it. Of what is not owed (older commits) nothing is noted. */
  absent({ kind, id, problem }: Absent): void | Promise<void> {
    if (this.#options.frontier.expects(kind, id)) return this.#lacks({ kind, id, problem })
  }

  /** Is here already: durable too once this is committed. */
  found(object: VerifiedObject): void | Promise<void> {
    this.#batch.found(object.ref)
    this.#count(this.#found, object.bytes.byteLength)
    this.#note(object.ref, object.bytes.byteLength)
    return this.#options.frontier.arrived(object)
  }

  /** Resolves when every named block is here or given up. */
  async drained(): Promise<void> {
    while (this.#named.length > 0 || this.#fetches.size > 0) {
      if (this.#named.length > 0) await this.#startFetch()
      await Promise.all(this.#fetches)
      this.#throwIfFailed()
    }
    this.#throwIfFailed()
  }

  /** Asks for these by name: afterwards each is here, or a hole. */
  async askFor(wanted: readonly WantedObject[]): Promise<void> {
    const { client, repo, frontier, signal } = this.#options
    for (let at = 0; at < wanted.length; at += ASK_OBJECTS) {
      const objects = wanted.slice(at, at + ASK_OBJECTS)
      this.#corrupt.clear()
      const end = await client.objects({ repo, objects }, this.#answers(), signal)
      expectUnchanged(end, repo)
      for (const { kind, id } of objects) {
        if (!frontier.expects(kind, id)) continue
        if (!this.#corrupt.has(id)) throw broken('an answer that leaves out what was asked for')
        await this.#lacks({ kind, id, problem: 'corrupt' })
      }
    }
  }

  commit(): Promise<void> {
    return this.#batch.commit(this.#options.signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#fetches)
    await this.#batch.discard()
  }

  /** A hole, unless it is here: pulled before seaf-gc or damage took it from the primary. */
  async #lacks(hole: Hole): Promise<void> {
    const { store, repo, storeId, frontier } = this.#options
    const { kind, id } = hole
    const read = await store.read({ kind, storeId: kind === 'commits' ? repo : storeId, id })
    if (read.state === 'whole') return this.found(read.object)
    frontier.giveUp(id)
    this.#holes.set(id, hole)
  }

  #verified(kind: ObjectKind, id: string, bytes: Buffer): VerifiedObject | undefined {
    const storeId = kind === 'commits' ? this.#options.repo : this.#options.storeId
    try {
      return verify({ kind, storeId, id }, bytes)
    } catch (error) {
      if (!(error instanceof NotWhatItsNameSays)) throw error
      this.#corrupt.add(id)
      return undefined
    }
  }

  #answers(): (frame: Frame) => void | Promise<void> {
    const coming: Coming = { left: 0, corrupt: new Set() }
    return frame => this.#answer(frame, coming)
  }

  #answer(frame: Frame, coming: Coming): void | Promise<void> {
    switch (frame.type) {
      case FRAME.commit:
      case FRAME.fs:
      case FRAME.block:
        return this.object(frame, coming)
      case FRAME.absent:
        return this.absent(decodeAbsent(frame.payload))
      case FRAME.alive:
        return
      default:
        throw broken(`a frame of type ${frame.type} among single objects`)
    }
  }

  async #startFetch(): Promise<void> {
    this.#throwIfFailed()
    while (this.#fetches.size >= this.#fetchPlaces.count) {
      if (this.#named.length < FETCH_OBJECTS && this.#namedBytes < FETCH_BYTES) return
      await Promise.race(this.#fetches)
      this.#throwIfFailed()
    }
    const blocks = this.#named
    this.#named = []
    this.#namedBytes = 0
    if (blocks.length === 0) return
    const fetch: Promise<void> = this.#fetch(blocks)
      .catch(
        (error: unknown) => void (this.#fetchFailure ??= error instanceof Error ? error : new Error(String(error))),
      )
      .finally(() => this.#fetches.delete(fetch))
    this.#fetches.add(fetch)
  }

  async #fetch(blocks: readonly NamedBlock[]): Promise<void> {
    const { store, storeId, client, repo, signal } = this.#options
    const wanted: WantedObject[] = []
    for (const block of blocks) {
      const { id } = block
      const read = await store.read({ kind: 'blocks', storeId, id })
      if (read.state === 'whole') await this.found(read.object)
      else if (!(await this.#share(block))) wanted.push({ kind: 'blocks', id })
      await new Promise<void>(resolve => setImmediate(resolve)) // reading back 8 MB: let others have their turn
    }
    if (wanted.length === 0) return
    const both = AbortSignal.any([signal, this.#stop.signal])
    const end = await client.objects({ repo, objects: wanted }, this.#answers(), both)
    this.#fetchPlaces.fetched(end)
    expectUnchanged(end, repo)
    // what did not come, or came corrupt, is still expected and will be asked for by name
  }

  /** Only what the primary says it has of this library: a name that somebody made up must not open another's blocks. */
  async #share({ id, size }: NamedBlock): Promise<boolean> {
    const { blocks, storeId } = this.#options
    const other = size === 0 ? undefined : blocks.find(id)
    if (other === undefined || other === storeId) return false
    const ref = { kind: 'blocks', storeId, id } as const
    const object = await this.#batch.share(ref, { ...ref, storeId: other })
    if (!object) return false
    this.#count(this.#found, object.bytes.byteLength)
    this.#note(object.ref, object.bytes.byteLength)
    await this.#options.frontier.arrived(object)
    return true
  }

  /** Smaller blocks travel with the delta: nobody looks for them. */
  #note(ref: ObjectRef, bytes: number): void {
    if (ref.kind === 'blocks' && bytes > INLINE_BLOCK_BYTES_MAX)
      this.#options.blocks.note(ref.id, this.#options.storeId)
  }

  #throwIfFailed(): void {
    if (this.#fetchFailure !== undefined) throw this.#fetchFailure
  }

  #count(where: { objects: number; bytes: number }, bytes: number): void {
    where.objects += 1
    where.bytes += bytes
    const now = performance.now()
    if (now - this.#progressAt < PROGRESS_MS) return
    this.#progressAt = now
    this.#options.events.progress(this.#progress(now))
  }

  #progress(now: number): SyncProgress {
    return {
      ...this.done,
      objectsWanted: this.#options.frontier.size,
      bytesWanted: this.#namedBytes,
      elapsedMs: Math.round(now - this.#startedAt),
    }
  }
}
