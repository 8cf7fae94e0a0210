/** The store alone, the power cut after each of its operations: what a commit promised is there, whoever placed it. */

import { hash } from 'node:crypto'
import { mkdtemp, mkdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { Random } from '../kinds/random.js'
import { FileNode } from './disk-model.js'
import { Recording } from './recording.js'
import { replay, summary } from './replay.js'
import { STEP_NAMES } from './store-steps.js'
import { TracedProcess, cannotTrace } from './traced-process.js'
import type { CrashState } from './crash-state.js'
import type { Ignored } from './disk-model.js'

const PROGRAM = fileURLToPath(new URL('./store-steps.js', import.meta.url))
const CUTS = 100
const seed = Number(process.env['SEED'] ?? Date.now() % 1e9)
const skip = cannotTrace()

async function recorded(name: string): Promise<Recording> {
  const dir = await mkdtemp(join(tmpdir(), 'sbp-store-'))
  try {
    const root = join(dir, 'backup')
    await mkdir(join(root, 'seafile-data'), { recursive: true })
    const recording = new Recording(root)
    const traced = new TracedProcess(join(dir, 'trace'), PROGRAM, [join(root, 'seafile-data'), name])
    if ((await traced.ended) !== 0) throw new Error(traced.text())
    await recording.add(traced)
    return recording
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

/** A promise is the path of an object; whatever else is said is of a `sync` that failed. */
const PROMISE = /\/[0-9a-f]{2}\/[0-9a-f]{38}$/

function* lost(state: CrashState, said: readonly string[]): Generator<string> {
  for (const path of said
    .join('')
    .split('\n')
    .filter(line => PROMISE.test(line))) {
    const file = state.find(path)
    const id = path.split('/').slice(-2).join('')
    if (!(file instanceof FileNode)) yield `${path} was promised and is not there`
    else if (hash('sha1', state.content(file).bytes, 'hex') !== id) yield `${path} has other bytes`
  }
}

for (const name of STEP_NAMES) {
  t.test(
    `power cut: ${name}, and whatever was not synced is gone: nothing that a commit promised`,
    { skip },
    async t => {
      t.comment(`SEED=${seed}`)
      const recording = await recorded(name)
      const whole = replay(recording, lost, { random: new Random(seed), cuts: CUTS })
      t.strictSame(summary(whole.violations), [], `${whole.cuts} cuts, ${whole.states} crash states`)

      const everySync: Ignored = () => true
      const without = replay(recording, lost, { random: new Random(seed), ignored: everySync, untilFirst: true })
      t.ok(without.violations.length > 0, 'with no sync at all something is lost')
    },
  )
}
