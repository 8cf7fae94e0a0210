/**
 * Objects on the wire: one HTTP body of many frames, so that a million small objects cost one request.
 *
 *   frame    = type (1 byte) length (4 bytes, big-endian) payload
 *
 *   LIBRARY   JSON, first: the rows and rules that the answer is about
 *   COMMIT FS BLOCK    id (20 bytes), then the object file's own bytes
 *   BLOCK_REF id (20), size (4, big-endian): a block to be asked for by itself
 *   ABSENT    kind (1), id (20), problem (1), reason (UTF-8): wanted, and not to be had
 *   TREES     empty: no more commits, trees follow
 *   TREE      id (20): the tree of this commit begins
 *   ALIVE     empty: the sender is working; nothing to send yet
 *   DUMP PART DUMPED FAILED  of a dump of the database: dump-messages.ts
 *   BINLOG LOG_FILE LOGGED   of its binlog: binlog-messages.ts
 *   PROOF     a MAC of the frames since the last one that do not prove themselves: stream-seal.ts
 *   END       JSON, last: a MAC that says how many PROOFs came before it
 *
 * A stream that ends without END was cut, by the network or by an error at the sender.
 * FS and BLOCK frames prove themselves by their names; nothing else of the
 * answer is acted on until its PROOF has come. Until END has come and its MAC
 * is right, nothing of the answer may move a head.
 */

import { ID_BYTES } from '../ids.js'
import { BackupError } from '../errors.js'
import type { ObjectKind } from '../store/object-store.js'

export const FRAME = {
  library: 1,
  commit: 2,
  fs: 3,
  block: 4,
  blockRef: 5,
  absent: 6,
  trees: 7,
  tree: 8,
  alive: 9,
  end: 10,
  dump: 11,
  part: 12,
  dumped: 13,
  failed: 14,
  binlog: 15,
  logFile: 16,
  logged: 17,
  proof: 18,
} as const

export type FrameType = (typeof FRAME)[keyof typeof FRAME]

const TYPES = new Set<number>(Object.values(FRAME))
export const FRAME_HEADER_BYTES = 5
/** A client's blocks are 10 MiB at most and a server's `fixed_block_size` is some MiB; a larger frame is not ours. */
export const FRAME_BYTES_MAX = 256 * 1024 * 1024

export interface Frame {
  readonly type: FrameType
  readonly payload: Buffer
  /** Of a BLOCK that comes in parts, its length: first comes its id, then its bytes, until all have come. */
  readonly partOf?: number
}

/** A name tells whether the content is right, or there is nothing to be proved: these are in no segment (stream-seal.ts). */
export const provesItself = (type: FrameType): boolean =>
  type === FRAME.fs || type === FRAME.block || type === FRAME.alive || type === FRAME.proof || type === FRAME.end

export function frameHeader(type: FrameType, payloadBytes: number): Buffer {
  if (payloadBytes > FRAME_BYTES_MAX) throw new RangeError(`a frame of ${payloadBytes} bytes`)
  const header = Buffer.allocUnsafe(FRAME_HEADER_BYTES)
  header[0] = type
  header.writeUInt32BE(payloadBytes, 1)
  return header
}

const KINDS: readonly ObjectKind[] = ['commits', 'fs', 'blocks']
const PROBLEMS = ['missing', 'corrupt', 'unreadable'] as const
export type Problem = (typeof PROBLEMS)[number]

export interface Absent {
  readonly kind: ObjectKind
  readonly id: string
  readonly problem: Problem
  readonly reason: string
}

/** Long enough for any reason we write, short enough for a log. */
const REASON_BYTES_MAX = 200

export function encodeAbsent({ kind, id, problem, reason }: Absent): Buffer {
  const text = Buffer.from(reason.slice(0, REASON_BYTES_MAX), 'utf8').subarray(0, REASON_BYTES_MAX)
  return Buffer.concat([
    Buffer.from([KINDS.indexOf(kind)]),
    Buffer.from(id, 'hex'),
    Buffer.from([PROBLEMS.indexOf(problem)]),
    text,
  ])
}

export function decodeAbsent(payload: Buffer): Absent {
  const kind = KINDS[payload[0] ?? 255]
  const problem = PROBLEMS[payload[1 + ID_BYTES] ?? 255]
  if (!kind || !problem || payload.byteLength > 2 + ID_BYTES + REASON_BYTES_MAX) throw broken('an ABSENT frame')
  const reason = payload.subarray(2 + ID_BYTES).toString('utf8')
  return { kind, id: idAt(payload, 1), problem, reason: reason.replace(/[^\x20-\x7e]/g, '?') }
}

/** A stranger's text for a log or a terminal: no control character, and none that turns the direction of writing. */
export const printable = (text: string): string => text.replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, '?')

export function encodeBlockRef(id: string, size: number): Buffer {
  const payload = Buffer.allocUnsafe(ID_BYTES + 4)
  payload.write(id, 'hex')
  payload.writeUInt32BE(Math.min(size, 0xffffffff), ID_BYTES)
  return payload
}

export function decodeBlockRef(payload: Buffer): { readonly id: string; readonly size: number } {
  if (payload.byteLength !== ID_BYTES + 4) throw broken('a BLOCK_REF frame')
  return { id: idAt(payload, 0), size: payload.readUInt32BE(ID_BYTES) }
}

/** The id that a COMMIT, FS, BLOCK or TREE frame begins with. */
export function frameId(payload: Buffer): string {
  return idAt(payload, 0)
}

function idAt(payload: Buffer, at: number): string {
  if (payload.byteLength < at + ID_BYTES) throw broken('a frame too short for its id')
  return payload.toString('hex', at, at + ID_BYTES)
}

/** A JSON payload, as an object; what its fields are is for the caller to check. */
export function decodeJson(payload: Buffer, what: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(payload.toString('utf8'))
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  } catch {
    // falls through: what a stranger sent is not quoted
  }
  throw broken(`${what} that is no JSON object`)
}

export const broken = (what: string): BackupError =>
  new BackupError('PROTOCOL_BROKEN', `read the other side's answer: it sent ${what}`)

/** Payloads from here on are gathered in one place that is used again: gigabytes of blocks pass through a few megabytes. */
const LARGE_BYTES = 512 * 1024
/** What is gathered for one payload at first: a length may be announced that never comes. */
const LARGE_BYTES_FIRST = 8 * 1024 * 1024 + ID_BYTES
/** More is not kept for the next one. */
const LARGE_BYTES_KEPT = 16 * 1024 * 1024

/**
 * Cuts a byte stream into frames. Small ones are cut from the chunks or joined once; a large one is gathered as it
 * comes. A payload is good until the next frame is asked for: whoever keeps one copies it.
 */
export class FrameReader {
  /** Of a block that is given in parts: what has yet to come. */
  #partsLeft = 0
  #chunks: Buffer[] = []
  #bytes = 0
  #needed = FRAME_HEADER_BYTES
  #type: FrameType | undefined
  #large = Buffer.alloc(0)
  /** Of a large payload that is coming; 0 else. */
  #gathered = 0
  /** What came last came in it, if that is nobody else's. */
  #memory: ArrayBufferLike | undefined
  /** What came before came in these. */
  #behind: ArrayBufferLike[] = []
  #givesBack: boolean

  /**
   * `ofSocket`: what is pushed lies in memory of a socket, which nobody else uses and which is given back as soon as
   * its frames are done with; and large blocks are given in parts as they come, not gathered.
   */
  constructor(private readonly ofSocket = false) {
    this.#givesBack = ofSocket
  }

  /** Nothing is given back any more: of what is pushed from here on, parts may be used elsewhere. */
  keepMemory(): void {
    this.#givesBack = false
  }

  /** Throws PROTOCOL_BROKEN at the first byte that cannot be ours. */
  *push(chunk: Buffer): Iterable<Frame> {
    this.#follow(chunk)
    this.#chunks.push(chunk)
    this.#bytes += chunk.byteLength
    for (;;) {
      if (this.ofSocket && this.#type === FRAME.block && this.#needed >= LARGE_BYTES) {
        if (this.#partsLeft === 0 && this.#bytes < ID_BYTES) return
        if (this.#bytes === 0) return
        yield this.#nextPart(this.#needed)
        continue
      }
      if (this.#type !== undefined && this.#needed >= LARGE_BYTES) this.#gather(this.#needed)
      if (this.#gathered + this.#bytes < this.#needed) return
      if (this.#type === undefined) {
        this.#readHeader(this.#take(FRAME_HEADER_BYTES))
      } else {
        const payload = this.#gathered > 0 ? this.#large.subarray(0, this.#needed) : this.#take(this.#needed)
        const frame = { type: this.#type, payload }
        this.#type = undefined
        this.#needed = FRAME_HEADER_BYTES
        this.#gathered = 0
        yield frame
        if (this.#large.byteLength > LARGE_BYTES_KEPT) this.#large = Buffer.alloc(0)
      }
    }
  }

  /** True between frames: a stream that ends elsewhere was cut. */
  get atBoundary(): boolean {
    return this.#bytes === 0 && this.#type === undefined
  }

  /** Of a part that may be of Node's pool, which others use too, the memory is left alone. */
  #follow(chunk: Buffer): void {
    const isOwn = this.#givesBack && (chunk.byteLength > Buffer.poolSize / 2 || chunk.buffer === this.#memory)
    if (this.#memory && this.#memory !== chunk.buffer) this.#behind.push(this.#memory)
    this.#memory = isOwn ? chunk.buffer : undefined
    if (this.#bytes === 0) this.#giveBack()
  }

  /**
   * What is behind was copied, or was of frames that are done with. Left to the collector, gigabytes of it made it walk
   * the heap again and again, for a third of a first copy's CPU time.
   */
  #giveBack(): void {
    if (this.#behind.length === 0) return
    for (const memory of this.#behind)
      if (this.#givesBack && memory instanceof ArrayBuffer && !memory.detached) memory.transfer(0)
    this.#behind = []
  }

  #nextPart(partOf: number): Frame {
    const first = this.#partsLeft === 0
    const [chunk] = this.#chunks
    const payload = this.#take(first ? ID_BYTES : Math.min(chunk?.byteLength ?? 0, this.#partsLeft))
    this.#partsLeft = (first ? partOf : this.#partsLeft) - payload.byteLength
    if (this.#partsLeft === 0) {
      this.#type = undefined
      this.#needed = FRAME_HEADER_BYTES
    }
    return { type: FRAME.block, payload, partOf }
  }

  /** Puts what has come of a large payload where it belongs. Room grows with what comes, never with what is announced. */
  #gather(length: number): void {
    while (this.#bytes > 0 && this.#gathered < length) {
      const first = this.#chunks[0] as Buffer
      const part = this.#take(Math.min(first.byteLength, length - this.#gathered))
      const filled = this.#gathered + part.byteLength
      if (filled > this.#large.byteLength) this.#grow(Math.max(filled, Math.min(length, this.#nextRoom)))
      part.copy(this.#large, this.#gathered)
      this.#gathered = filled
    }
  }

  get #nextRoom(): number {
    return Math.max(LARGE_BYTES_FIRST, 2 * this.#large.byteLength)
  }

  #grow(bytes: number): void {
    const grown = Buffer.allocUnsafeSlow(bytes)
    this.#large.copy(grown, 0, 0, this.#gathered)
    this.#large = grown
  }

  #readHeader(header: Buffer): void {
    const type = header[0] as FrameType
    const length = header.readUInt32BE(1)
    if (!TYPES.has(type)) throw broken(`a frame of unknown type ${type}`)
    if (length > FRAME_BYTES_MAX) throw broken(`a frame of ${length} bytes`)
    this.#type = type
    this.#needed = length
  }

  #take(count: number): Buffer {
    const first = this.#chunks[0] ?? Buffer.alloc(0)
    this.#bytes -= count
    if (first.byteLength >= count) {
      if (first.byteLength === count) this.#chunks.shift()
      else this.#chunks[0] = first.subarray(count)
      return first.subarray(0, count)
    }
    const joined = Buffer.allocUnsafeSlow(count)
    let filled = 0
    let used = 0
    while (filled < count) {
      const chunk = this.#chunks[used] as Buffer
      const part = Math.min(chunk.byteLength, count - filled)
      chunk.copy(joined, filled, 0, part)
      filled += part
      if (part < chunk.byteLength) this.#chunks[used] = chunk.subarray(part)
      else used += 1
    }
    this.#chunks.splice(0, used) // once: shifting chunk by chunk is quadratic
    this.#giveBack()
    return joined
  }
}
