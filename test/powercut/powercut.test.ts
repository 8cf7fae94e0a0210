/** A small backup recorded, the power cut some hundred times, the copy verified each time. `npm run powercut` does it at length. */

import t from 'tap'
import { Random } from '../kinds/random.js'
import { replay, summary } from './replay.js'
import { startOnCrashStates } from './starts.js'
import { WITHOUT, judgeOf, scratchDirectory } from './story.js'
import { cannotTrace } from './traced-process.js'
import { SMALL, record } from './workload.js'

const CUTS = 300
const PROOF_CUTS = 300
const STARTS = 2

t.test(
  'power cut: whatever was not synced is gone, torn or zeros, and no head, checkpoint or acknowledgement is without its objects',
  { skip: cannotTrace() },
  async t => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 1e9)
    t.comment(`SEED=${seed}`)
    const random = new Random(seed)
    await using scratch = await scratchDirectory()
    await using recorded = await record(SMALL, random)
    const { recording } = recorded
    t.strictSame(recording.differences(), [], 'the model sees what is on the disk: the trace is whole')

    const judge = await judgeOf(recorded, scratch.path)
    const { violations, ...figures } = replay(recording, judge, { random, cuts: CUTS })
    t.strictSame(summary(violations), [], JSON.stringify(figures))

    for (const [name, ignored] of Object.entries(WITHOUT)) {
      const options = { random, ignored, cuts: PROOF_CUTS, untilFirst: true }
      const proof = replay(recording, await judgeOf(recorded, scratch.path), options)
      t.ok(proof.violations.length > 0, `the syncs of ${name} left out are found missing`)
    }

    const { problems } = await startOnCrashStates(recorded, STARTS, random)
    t.strictSame(problems, [], `a daemon started on ${STARTS} of them ends with the same copy`)
  },
)
