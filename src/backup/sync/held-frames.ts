/**
 * Frames of an answer that cannot prove themselves, until their PROOF comes: a commit would be kept under its name, a
 * head judged, before anybody knew who said so. What proves itself by its name passes them by; that it may, the sender
 * proves what it hangs on first (docs/PROTOCOL.md). Held are less than 64 KiB, and one frame more.
 */

import { timingSafeEqual } from 'node:crypto'
import { sameProof } from '../../shared/wire/auth.js'
import { broken, frameHeader } from '../../shared/wire/frames.js'
import { PROOF_BYTES } from '../../shared/wire/stream-seal.js'
import type { Frame } from '../../shared/wire/frames.js'
import type { EndFrame } from '../../shared/wire/sync-messages.js'
import type { StreamSeal } from '../../shared/wire/stream-seal.js'

/** A commit has 16 MiB at most (verify.ts), a piece of a dump or binlog one. */
const FRAME_BYTES_MAX = 17 * 1024 * 1024
/** Room for what is held, at first, and the most that is kept for the next segment: a piece of a dump or binlog fits. */
const ROOM_BYTES_FIRST = 8 * 1024
const ROOM_BYTES_KEPT = 2 * 1024 * 1024

/** Of one answer. Payloads lie in memory that is used again: gigabytes of a dump would make the collector work. */
export class HeldFrames {
  #held: Frame[] = []
  #room = Buffer.alloc(0)
  #used = 0

  constructor(private readonly seal: StreamSeal) {}

  /** Copies it. What was proved before is not to be read any more. @throws BackupError PROTOCOL_BROKEN for more than is held */
  hold({ type, payload }: Frame): void {
    if (this.seal.isFull || payload.byteLength > FRAME_BYTES_MAX) throw broken('more than it may say without a proof')
    this.seal.add(frameHeader(type, payload.byteLength), payload)
    this.#held.push({ type, payload: this.#copied(payload) })
  }

  /** What the payload of a PROOF proves, in its order. @throws BackupError PROTOCOL_BROKEN */
  proved(proof: Buffer): readonly Frame[] {
    if (!this.seal.isOpen) throw broken('a proof of nothing')
    if (proof.byteLength !== PROOF_BYTES || !timingSafeEqual(this.seal.close(), proof)) throw changedOnItsWay()
    const held = this.#held
    this.#held = []
    this.#used = 0
    if (this.#room.byteLength > ROOM_BYTES_KEPT) this.#room = Buffer.alloc(0)
    return held
  }

  /** @throws BackupError PROTOCOL_BROKEN when something is not proved, or was left out */
  expectEnd({ mac, changed }: EndFrame): void {
    if (this.seal.isOpen) throw broken('an end before the proof of what it said')
    if (!sameProof(this.seal.end(changed), mac)) throw changedOnItsWay()
  }

  #copied(payload: Buffer): Buffer {
    if (payload.byteLength > this.#room.byteLength - this.#used) {
      // what is held already stays where it is
      this.#room = Buffer.allocUnsafeSlow(Math.max(ROOM_BYTES_FIRST, 2 * this.#room.byteLength, payload.byteLength))
      this.#used = 0
    }
    const copy = this.#room.subarray(this.#used, this.#used + payload.byteLength)
    this.#used += payload.copy(copy)
    return copy
  }
}

const changedOnItsWay = () => broken('an answer that was changed on its way')
