/** A whole answer, as the backup hears it: what cannot prove itself is heard when it is proved, whatever was done to it. */

import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { HeldFrames } from '../../src/backup/sync/held-frames.js'
import { authKey } from '../../src/shared/wire/auth.js'
import { FRAME, FrameReader, broken, frameHeader, provesItself } from '../../src/shared/wire/frames.js'
import { StreamSeal } from '../../src/shared/wire/stream-seal.js'
import { decodeEndFrame } from '../../src/shared/wire/sync-messages.js'
import { buffer } from '../shared/wire/support.js'
import { byteCases, coded, record } from './decoder.js'
import type { Frame } from '../../src/shared/wire/frames.js'
import type { Decoder } from './decoder.js'

const KEY = authKey('0123456789abcdef0123456789abcdef01234567')
const NONCE = 'f'.repeat(32)

const encoded = ({ type, payload }: Frame): Buffer => Buffer.concat([frameHeader(type, payload.byteLength), payload])
const copied = ({ type, payload }: Frame): Frame => ({ type, payload: Buffer.from(payload) })
const isFree = ({ type }: Frame): boolean => provesItself(type)

const said = record<Frame>({
  type: fc.constantFrom(FRAME.library, FRAME.commit, FRAME.fs, FRAME.block, FRAME.trees, FRAME.absent),
  payload: buffer({ maxLength: 60 }),
})
type Segment = readonly Frame[]
const segments = fc.array(fc.array(said, { minLength: 1, maxLength: 4 }), { maxLength: 4 })

/** As an agent sends it: of each segment its frames and a PROOF, and the END. */
function sealed(all: readonly Segment[]): Buffer[] {
  const seal = new StreamSeal(KEY, NONCE)
  const parts = all.map(frames => {
    for (const { type, payload } of frames.filter(frame => !isFree(frame)))
      seal.add(frameHeader(type, payload.byteLength), payload)
    return Buffer.concat([...frames.map(encoded), ...(seal.isOpen ? [seal.proof()] : [])])
  })
  const payload = Buffer.from(JSON.stringify({ mac: seal.end(false), changed: false }))
  return [...parts, encoded({ type: FRAME.end, payload })]
}

/** Segments left out, doubled and moved; rarely as they were. */
const rearranged = segments.chain(all => {
  const parts = sealed(all)
  return fc.array(fc.constantFrom(...parts), { maxLength: 6 }).map(some => Buffer.concat(some))
})

/** In the words of docs/PROTOCOL.md. */
const proofOf = (frames: Segment, number: number): Buffer =>
  createHmac('sha256', KEY)
    .update(`segment\n${NONCE}\n${number}\n`)
    .update(Buffer.concat(frames.map(encoded)))
    .digest()

function hear(input: Buffer): Frame[] {
  const held = new HeldFrames(new StreamSeal(KEY, NONCE))
  const heard: Frame[] = []
  let number = 0
  let ended = false
  for (const frame of new FrameReader().push(input)) {
    if (ended) throw broken('frames after the end')
    if (frame.type === FRAME.end) {
      held.expectEnd(decodeEndFrame(frame.payload))
      ended = true
    } else if (frame.type === FRAME.proof) {
      const frames = held.proved(frame.payload).map(copied)
      if (!proofOf(frames, number++).equals(frame.payload)) throw new Error('heard what was not proved')
      heard.push(...frames)
    } else if (isFree(frame)) heard.push(copied(frame))
    else held.hold(frame)
  }
  if (!ended) throw broken('an answer that was cut off')
  return heard
}

/** What proves itself passes the rest of its segment by. */
const inOrder = (frames: Segment): Frame[] => [...frames.filter(isFree), ...frames.filter(frame => !isFree(frame))]

export const STREAM_DECODER: Decoder = {
  name: 'proved-stream',
  cases: byteCases(
    segments,
    all => Buffer.concat(sealed(all)),
    all => all.flatMap(inOrder),
    rearranged,
  ),
  decode: hear,
  refuses: coded('PROTOCOL_BROKEN'),
  right: (heard: readonly Frame[], input) =>
    heard.reduce((sum, { payload }) => sum + payload.byteLength, 0) <= input.byteLength,
}
