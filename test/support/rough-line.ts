/** What a line does to the bytes that pass it: later, slower, or WebSocket messages again and out of order. For `Relay.roughness`. */

import { Transform } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { SEAL_BYTES } from '../../src/shared/wire/auth.js'
import type { Direction, Roughness } from './relay.js'

/** Half of a round trip; what follows is on its way meanwhile. */
export function delayed(ms: number): Transform {
  let last = Promise.resolve()
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const arrives = delay(ms)
      last = last.then(() => arrives).then(() => void this.push(chunk))
      done()
    },
    flush(done) {
      void last.then(() => done())
    },
  })
}

/** Of all connections that go through it together, as on one line. */
export class Bandwidth {
  #freeAt = 0

  constructor(private readonly bytesPerSecond: number) {}

  limited(): Transform {
    const pieceBytes = Math.max(1, Math.min(16_384, Math.floor(this.bytesPerSecond / 20)))
    // the closure keeps the line; a Transform has a `this` of its own
    const take = (bytes: number) => this.#take(bytes)
    return new Transform({
      transform(chunk: Buffer, _encoding, done) {
        const pass = async () => {
          for (let at = 0; at < chunk.byteLength && !this.destroyed; at += pieceBytes) {
            const piece = chunk.subarray(at, at + pieceBytes)
            await take(piece.byteLength)
            this.push(piece)
          }
        }
        void pass().then(() => done())
      },
    })
  }

  async #take(bytes: number): Promise<void> {
    const now = performance.now()
    this.#freeAt = Math.max(this.#freeAt, now) + (bytes / this.bytesPerSecond) * 1_000
    // below a timer's grain nothing is waited for; the debt is kept
    if (this.#freeAt - now > 2) await delay(this.#freeAt - now)
  }
}

/** Both directions with half of the round trip each, and `bytesPerSecond` each. */
export function longLine(roundTripMs: number, bytesPerSecond = Infinity): Roughness {
  const lines: Record<Direction, Bandwidth> = {
    toTarget: new Bandwidth(bytesPerSecond),
    fromTarget: new Bandwidth(bytesPerSecond),
  }
  return direction => {
    const late = delayed(roundTripMs / 2)
    if (bytesPerSecond === Infinity) return late
    return joined(lines[direction].limited(), late)
  }
}

/** Of each connection the first bytes pass at once, the rest more slowly than anything that works. */
export function slowAfter(bytes: number, bytesPerSecond: number): Transform {
  let free = bytes
  const slow = new Bandwidth(bytesPerSecond).limited()
  return new Transform({
    construct(done) {
      slow.on('data', (chunk: Buffer) => this.push(chunk))
      done()
    },
    transform(chunk: Buffer, _encoding, done) {
      const fast = chunk.subarray(0, free)
      free -= fast.byteLength
      if (fast.byteLength > 0) this.push(fast)
      const rest = chunk.subarray(fast.byteLength)
      if (rest.byteLength === 0 || slow.write(rest)) done()
      else slow.once('drain', () => done())
    },
    flush(done) {
      slow.once('end', () => done()) // an end does not overtake what was said before it
      slow.end()
    },
    destroy(error, done) {
      slow.destroy()
      done(error)
    },
  })
}

function joined(first: Transform, second: Transform): Transform {
  first.pipe(second)
  return new Transform({
    construct(done) {
      second.on('data', (chunk: Buffer) => this.push(chunk))
      done()
    },
    transform(chunk: Buffer, _encoding, done) {
      if (first.write(chunk)) done()
      else first.once('drain', () => done())
    },
    flush(done) {
      second.once('end', () => done())
      first.end()
    },
  })
}

/** A frame of a WebSocket's client, whole, as it was on the line. */
export type ClientFrame = Buffer

const TEXT = 1
/** For each text message of the client: what is sent in its place. */
export type Forgery = (frame: ClientFrame) => readonly ClientFrame[]

/** Somebody on the line who cannot read the token, and repeats, reorders or inserts what the agent once said. */
export function forged(act: Forgery): Transform {
  let bytes = Buffer.alloc(0)
  let upgraded = false
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes = Buffer.concat([bytes, chunk])
      const headEnd = upgraded ? 0 : bytes.indexOf('\r\n\r\n') + 4
      if (!upgraded && headEnd < 4) return done()
      if (!upgraded) this.push(bytes.subarray(0, headEnd))
      bytes = bytes.subarray(headEnd)
      upgraded = true
      for (let length = frameBytes(bytes); length <= bytes.byteLength; length = frameBytes(bytes)) {
        const frame = bytes.subarray(0, length)
        bytes = bytes.subarray(length)
        const isText = ((frame[0] ?? 0) & 0x0f) === TEXT
        for (const sent of isText ? act(Buffer.from(frame)) : [frame]) this.push(sent)
      }
      done()
    },
  })
}

/** Of the first frame, with its header and mask; Infinity: too little is here to tell. */
function frameBytes(bytes: Buffer): number {
  if (bytes.byteLength < 10) return Infinity // ours are longer
  const MASK_BYTES = 4
  const at = headBytes(bytes)
  const short = (bytes[1] ?? 0) & 0x7f
  const length = at === 2 ? short : at === 4 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2))
  return at + MASK_BYTES + length
}

/** Of the frame's type and length, which has three forms. */
function headBytes(frame: Buffer): number {
  const short = (frame[1] ?? 0) & 0x7f
  return short < 126 ? 2 : short === 126 ? 4 : 10
}

/** The message inside. */
export function textOf(frame: ClientFrame): Record<string, unknown> {
  const at = headBytes(frame)
  const mask = frame.subarray(at, at + 4)
  const text = frame.subarray(at + 4).map((byte, i) => byte ^ (mask[i % 4] ?? 0))
  return JSON.parse(Buffer.from(text).toString('utf8', SEAL_BYTES)) as Record<string, unknown>
}

/** Somebody on the line who writes other words of the same length over what was said, while `during` says so. */
export function overwritten(said: string, other: string, during: () => boolean = () => true): Transform {
  const [from, to] = [Buffer.from(said), Buffer.from(other)]
  if (from.byteLength !== to.byteLength) throw new Error('assertion failed: what is longer would be no forgery')
  let kept = Buffer.alloc(0)
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const bytes = Buffer.concat([kept, chunk])
      for (let at = bytes.indexOf(from); at >= 0 && during(); at = bytes.indexOf(from, at)) to.copy(bytes, at)
      const whole = bytes.byteLength - begunAtEnd(bytes, from)
      kept = bytes.subarray(whole)
      done(null, bytes.subarray(0, whole))
    },
    flush(done) {
      done(null, kept)
    },
  })
}

/** Bytes at the end with which `text` begins, and which may go on with the next chunk. */
function begunAtEnd(bytes: Buffer, text: Buffer): number {
  for (let length = Math.min(bytes.byteLength, text.byteLength - 1); length > 0; length--)
    if (bytes.subarray(-length).equals(text.subarray(0, length))) return length
  return 0
}
