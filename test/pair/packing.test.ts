/** On a slow line what can be packed is, after the line was measured; what arrives is what was sent. */

import { randomBytes } from 'node:crypto'
import t from 'tap'
import { Seeded } from '../../bench/data/seeded.js'
import { logLines } from '../../bench/data/text-files.js'
import { Pair } from '../support/pair.js'
import { sameBytes } from '../support/replica.js'
import { longLine } from '../support/rough-line.js'

const MB = 1024 * 1024
/** 160 Mbit/s. */
const SLOW = 20_000_000

/** Bytes that the agent sends for a new file. */
async function sentFor(pair: Pair, content: Buffer): Promise<number> {
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'New', owner: 'jo@example.com' })
  await pair.settle()
  const before = pair.primary.relay.bytesFromTarget
  await writer.commit(repo, [{ op: 'put', path: '/file', content }])
  await pair.settle()
  return pair.primary.relay.bytesFromTarget - before
}

t.test('packing: over a slow line a film costs its size, and text a fraction of it', async t => {
  await using pair = await Pair.start()
  pair.primary.relay.roughness = longLine(0, SLOW)
  pair.primary.relay.resetAll() // what is connected goes another way
  const film = await sentFor(pair, randomBytes(16 * MB))
  t.ok(film < 16.1 * MB, `${film} bytes for a film of 16 MiB`)
  const text = await sentFor(pair, logLines(new Seeded('packing'), 24 * MB))
  t.ok(text < 16 * MB, `${text} bytes for 24 MiB of text`)
  await sameBytes(t, pair)
})
