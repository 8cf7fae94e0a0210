/** Inputs that once failed or could have, and a short run of every decoder. The seed is printed; SEED=n runs one again. */

import { readFileSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { judge } from './decoder.js'
import { DECODERS, decoderNamed } from './decoders.js'
import { inputOf, play } from './play.js'
import type { CorpusEntry } from './play.js'

const CORPUS = fileURLToPath(new URL('../../../test/fuzz/corpus/', import.meta.url)) // from dist/test/fuzz
const CASES = 1_000

const entries = readdirSync(CORPUS)
  .toSorted()
  .map(file => ({ file, entry: JSON.parse(readFileSync(`${CORPUS}${file}`, 'utf8')) as CorpusEntry }))

t.test('corpus: every input that once failed is refused with a code or decoded to what is promised', async t => {
  t.ok(entries.length > 40, `${entries.length} inputs`)
  for (const { file, entry } of entries) {
    const decoder = decoderNamed(entry.decoder)
    const input = inputOf(entry)
    const { problem } = await judge(decoder, { input })
    t.equal(problem, null, `${file}: ${entry.did}`)
    if (entry.must === undefined) continue
    const outcome = await Promise.resolve()
      .then(() => decoder.decode(input))
      .then(
        () => 'decode',
        () => 'refuse',
      )
    t.equal(outcome, entry.must, `${file} is ${entry.must}d`)
  }
})

t.test('corpus: files are named by the decoder that they are for', async t => {
  for (const { file, entry } of entries) t.ok(file.startsWith(`${entry.decoder}--`), file)
})

const seed = Number(process.env['SEED'] ?? Date.now() % 1e9)
for (const decoder of DECODERS) {
  t.test(`fuzz: ${decoder.name} refuses with a code, or gives what it promises, whatever it is sent`, async t => {
    const { cases, found } = await play(decoder, { cases: CASES, seed })
    t.equal(found, undefined, `${cases} cases, SEED=${seed}`)
  })
}
