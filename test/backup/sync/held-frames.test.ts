/** What an answer says and cannot prove by itself is heard when it is proved, and not before; who changes it on its way is not heard. */

import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { PrimaryClient } from '../../../src/backup/sync/primary-client.js'
import { FRAME, FRAME_HEADER_BYTES } from '../../../src/shared/wire/frames.js'
import { SEGMENT_BYTES, SEGMENT_FRAMES } from '../../../src/shared/wire/stream-seal.js'
import { FakePrimary, rowsOf } from '../../support/fake-primary.js'
import { idOf } from '../../support/objects.js'
import { TOKEN, never } from '../../support/pair.js'
import { newRepo } from '../../support/taken-over.js'
import type { Test } from 'tap'
import type { Answer } from '../../support/fake-primary.js'

const CHANGED = { code: 'PROTOCOL_BROKEN', message: /changed on its way/ }
const commit = (name: string) => Buffer.concat([Buffer.from(idOf(name), 'hex'), Buffer.from(`of ${name}`)])
const NAMES = ['one', 'two', 'three', 'four'] as const

/** Hears one answer to a delta; `heard` is what was acted on, of commits their text. */
async function hear(t: Test, delta: (answer: Answer, heard: readonly string[]) => Promise<void>) {
  const repo = newRepo()
  const fake = await FakePrimary.start()
  const client = new PrimaryClient({ urls: [`http://127.0.0.1:${fake.port}`], syncTokens: [TOKEN], ca: null })
  t.teardown(async () => {
    await client[Symbol.asyncDispose]()
    await fake[Symbol.asyncDispose]()
  })
  const heard: string[] = []
  fake.lies.set(repo, { head: idOf('head'), delta: answer => delta(answer, heard) })
  const asking = client.source().delta(
    { repo, have: null, haveSince: -1, commitsAlone: false },
    ({ type, payload }) => {
      const name = Object.entries(FRAME).find(([, value]) => value === type)?.[0] ?? ''
      heard.push(type === FRAME.commit ? payload.toString('utf8', 20) : name)
    },
    never,
  )
  const outcome = await asking.then(
    () => undefined,
    (error: unknown) => error,
  )
  return { heard, outcome }
}

/** A delta of four commits, each proved by itself, as somebody on the line passes it on. */
const segmented =
  (onLine: (segments: Buffer[]) => Buffer[]) =>
  async (answer: Answer): Promise<void> => {
    const segments = NAMES.map(name => Buffer.concat([answer.said(FRAME.commit, commit(name)), answer.proof()]))
    for (const bytes of onLine(segments)) await answer.raw(bytes)
    await answer.end()
  }

const flipped = (bytes: Buffer, at: number): Buffer => {
  const copy = Buffer.from(bytes)
  copy[at] = (copy[at] ?? 0) ^ 1
  return copy
}

t.test('held frames: what is passed on as it was said is heard, in its order', async t => {
  const { heard, outcome } = await hear(
    t,
    segmented(all => all),
  )
  t.equal(outcome, undefined)
  t.strictSame(
    heard,
    NAMES.map(name => `of ${name}`),
  )
})

const FORGERIES: Readonly<Record<string, (segments: Buffer[]) => Buffer[]>> = {
  'one letter of a commit': all => all.with(1, flipped(all[1] as Buffer, FRAME_HEADER_BYTES + 22)),
  'the id of a commit': all => all.with(1, flipped(all[1] as Buffer, FRAME_HEADER_BYTES)),
  'the proof': all => all.with(1, flipped(all[1] as Buffer, (all[1]?.byteLength ?? 0) - 1)),
  'a segment left out': all => all.toSpliced(1, 1),
  'a segment twice': all => all.toSpliced(1, 0, all[0] as Buffer),
  'two segments in the other order': all => [all[0], all[2], all[1], all[3]] as Buffer[],
  'a commit put before another, with no proof of its own': all =>
    all.with(1, Buffer.concat([(all[2] as Buffer).subarray(0, -37), all[1] as Buffer])),
}

for (const [what, forge] of Object.entries(FORGERIES))
  t.test(`held frames: ${what} ends the answer, and nothing of it or behind it is heard`, async t => {
    const { heard, outcome } = await hear(t, segmented(forge))
    t.match(outcome, CHANGED)
    t.strictSame(heard, ['of one'])
  })

t.test('held frames: the last segment left out is noticed at the end', async t => {
  const { heard, outcome } = await hear(
    t,
    segmented(all => all.slice(0, -1)),
  )
  t.match(outcome, CHANGED)
  t.equal(heard.length, 3)
})

t.test('held frames: of an answer that was cut off only what was proved is heard', async t => {
  const { heard, outcome } = await hear(t, async (answer, heard) => {
    await answer.raw(Buffer.concat([answer.said(FRAME.commit, commit('one')), answer.proof()]))
    await answer.raw(answer.said(FRAME.commit, commit('two')))
    await answer.raw(answer.said(FRAME.fs, commit('an object that proves itself')))
    while (!heard.includes('fs')) await delay(1)
    answer.cut()
  })
  t.match(outcome, { code: 'PRIMARY_UNREACHABLE' })
  t.strictSame(heard, ['of one', 'fs'])
})

t.test('held frames: what proves itself does not wait, and what does not stays in its order', async t => {
  const { heard, outcome } = await hear(t, async answer => {
    await answer.raw(answer.said(FRAME.commit, commit('one')))
    await answer.raw(answer.said(FRAME.block, commit('block')))
    await answer.raw(answer.said(FRAME.trees))
    await answer.raw(answer.said(FRAME.commit, commit('two')))
    await answer.raw(answer.proof())
    await answer.end()
  })
  t.equal(outcome, undefined)
  t.strictSame(heard, ['block', 'of one', 'trees', 'of two'])
})

const UNPROVED: Readonly<Record<string, (answer: Answer) => Promise<void>>> = {
  'small frames': answer => answer.raw(answer.said(FRAME.trees)),
  'commits of some kilobytes': answer => answer.raw(answer.said(FRAME.commit, Buffer.alloc(10_000))),
  'a frame larger than any commit': answer => answer.raw(answer.said(FRAME.commit, Buffer.alloc(18 * 1024 * 1024))),
  'large frames': answer => answer.raw(answer.said(FRAME.commit, Buffer.alloc(2 * SEGMENT_BYTES))),
}

for (const [what, say] of Object.entries(UNPROVED))
  t.test(`held frames: ${what} without end and without a proof are refused, none of them heard`, async t => {
    let said = 0
    const { heard, outcome } = await hear(t, async answer => {
      for (; answer.open && said < 100 * SEGMENT_FRAMES; said++) await say(answer)
    })
    t.match(outcome, { code: 'PROTOCOL_BROKEN', message: /without a proof/ })
    t.strictSame(heard, [])
  })

t.test('held frames: an end before the proof, and a proof of nothing, are refused', async t => {
  const repo = newRepo()
  const early = await hear(t, async answer => {
    await answer.library(rowsOf(repo, idOf('head')))
    await answer.raw(answer.said(FRAME.commit, commit('one')))
    await answer.raw(answer.said(FRAME.end, Buffer.from(JSON.stringify({ mac: '0'.repeat(64), changed: false }))))
  })
  t.match(early.outcome, { code: 'PROTOCOL_BROKEN', message: /before the proof/ })
  t.strictSame(early.heard, ['library'])
  const twice = await hear(t, async answer => {
    await answer.raw(answer.said(FRAME.trees))
    const proof = answer.proof()
    await answer.raw(Buffer.concat([proof, proof]))
  })
  t.match(twice.outcome, { code: 'PROTOCOL_BROKEN', message: /proof of nothing/ })
})

t.test('held frames: payloads of all sizes, over many segments, are heard as they were said', async t => {
  const sizes = [0, 1, 100, 4_000, 5_000, SEGMENT_BYTES - 30, 3_000_000, 10, 9_000, 40_000]
  const texts = sizes.flatMap((size, n) => ['a', 'b', 'c'].map(letter => letter.repeat(size) + n))
  const { heard, outcome } = await hear(t, async answer => {
    for (const [n, text] of texts.entries()) {
      await answer.raw(answer.said(FRAME.commit, Buffer.concat([Buffer.alloc(20), Buffer.from(text)])))
      if (text.length > 4_000 || n % 3 === 2) await answer.raw(answer.proof())
    }
    await answer.end()
  })
  t.equal(outcome, undefined)
  t.equal(heard.length, texts.length)
  for (const [n, text] of texts.entries()) t.ok(heard[n] === text, `${text.length} bytes`)
})
