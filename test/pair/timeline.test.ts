/** Forty-five steps that a real server, its GC, its fsck and its administrator went through, followed live by the real pair. */

import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { extractFixture, fixturesMissing, referenceCheck } from '../support/fixtures.js'
import { mariadbInstalled } from '../support/mariadb.js'
import { Pair } from '../support/pair.js'
import { figures } from '../support/replica.js'
import { testDatabase } from '../support/sides.js'
import { Timeline } from '../support/timeline.js'
import type { Test } from 'tap'
import type { Engine } from '../support/sides.js'
import type { TimelineStep } from '../support/timeline.js'

async function openTimeline(t: Test): Promise<Timeline> {
  const dir = await mkdtemp(join(tmpdir(), 'sbt-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  await mkdir(dir, { recursive: true })
  await extractFixture('timeline-sqlite', dir)
  return Timeline.open(dir)
}

const noMariadb = (engine: Engine) => engine === 'mysql' && !mariadbInstalled() && 'mariadbd is not installed'

for (const engine of ['sqlite', 'mysql'] as const) {
  const title = `timeline (backup: ${engine}): after each step every library is where the rules want it`
  t.test(title, { skip: fixturesMissing() || noMariadb(engine) }, async t => {
    const timeline = await openTimeline(t)
    await using ours = await testDatabase(engine)
    await using pair = await Pair.start({
      backup: ours.database ? { database: ours.database } : {},
      prepare: dir => timeline.apply(0, dir),
    })
    for (const step of timeline.steps) {
      if (step.step > 0) await timeline.apply(step.step, pair.primary.dir)
      timeline.follow(step)
      await pair.until(`at step ${step.step}`, () => headsFollowed(pair, timeline))
      await pair.sync(null)
      await expectStates(t, pair, timeline, step)
      await expectFigures(t, pair, timeline, step)
    }
  })
}

async function headsFollowed(pair: Pair, timeline: Timeline): Promise<boolean> {
  const heads = await pair.heads('backup')
  return [...timeline.states].every(([repo, { head }]) => heads.get(repo as never) === head)
}

async function expectStates(t: Test, pair: Pair, timeline: Timeline, step: TimelineStep): Promise<void> {
  const { libraries } = await pair.status()
  const found = libraries.map(({ id, head, state, failure, deletedOnPrimary }) => [
    id,
    { head, state, code: failure?.code ?? null, deletedOnPrimary },
  ])
  t.strictSame(
    Object.fromEntries(found.sort()),
    Object.fromEntries([...timeline.states].sort()),
    `step ${step.step}, ${step.name}: ${step.did}`,
  )
}

/** Of the libraries that are followed. What is damaged on the primary was replicated while it was whole. */
async function expectFigures(t: Test, pair: Pair, timeline: Timeline, step: TimelineStep): Promise<void> {
  const expected = await timeline.expected(step)
  const { libraries } = await referenceCheck(pair.backup.dataDir, pair.backup.database, step.as_of)
  const byId = new Map(libraries.map(library => [library.id, library]))
  for (const theirs of expected.libraries) {
    const state = timeline.states.get(theirs.id)
    const ours = byId.get(theirs.id)
    if (state?.code) continue
    if (theirs.corrupt === null)
      t.strictSame(figures(ours), figures(theirs), `step ${step.step}: ${theirs.kind} is equal`)
    else t.equal(ours?.corrupt, null, `step ${step.step}: ${theirs.kind}, damaged on the primary, is whole here`)
  }
}
