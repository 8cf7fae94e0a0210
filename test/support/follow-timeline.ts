/** Forty-five steps that a real server, its GC, its fsck and its administrator went through, followed by the real pair. */

import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { extractFixture, fixturesMissing, referenceCheck } from './fixtures.js'
import { mariadbInstalled } from './mariadb.js'
import { Pair } from './pair.js'
import { figures } from './replica.js'
import { filesBelow, testDatabase } from './sides.js'
import { Timeline } from './timeline.js'
import type { Test } from 'tap'
import type { Engine } from './sides.js'
import type { TimelineStep } from './timeline.js'

async function openTimeline(t: Test): Promise<Timeline> {
  const dir = await mkdtemp(join(tmpdir(), 'sbt-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  await mkdir(dir, { recursive: true })
  await extractFixture('timeline-sqlite', dir)
  return Timeline.open(dir)
}

const timelineMissing = ({ engine }: Way): string | false =>
  fixturesMissing() || (engine === 'mysql' && !mariadbInstalled() && 'mariadbd is not installed')

export interface Way {
  readonly title: string
  readonly engine: Engine
  /** So many steps at once, while the agent is down. */
  readonly stride: number
  /** A daemon is killed while each step is laid, the backup's and the primary's in turn. */
  readonly kill: boolean
}

export function timelineTests(ways: readonly Way[]): void {
  for (const way of ways) {
    const title = `timeline: 45 steps, ${way.title}: each library is where the rules want it, nothing is lost`
    t.test(title, { skip: timelineMissing(way) }, t => followTimeline(t, way))
  }
}

/** Follows all steps and asserts after each look; then forces what needs the operator. */
async function followTimeline(t: Test, { engine, stride, kill }: Way): Promise<void> {
  const timeline = await openTimeline(t)
  await using ours = await testDatabase(engine)
  await using pair = await Pair.start({
    backup: ours.database ? { database: ours.database } : {},
    prepare: dir => timeline.apply(0, dir),
  })
  const kept = new Set<string>()
  const heads = new Map<string, Set<string>>()
  for (const step of timeline.steps) {
    if (stride > 1) await pair.primary.process?.kill()
    if (step.step > 0) await timeline.apply(step.step, pair.primary.dir)
    if (step.step % stride !== 0 && step.step !== timeline.steps.length - 1) continue
    if (stride > 1) await pair.startPrimary()
    if (kill) await killOne(pair, step.step)
    timeline.follow(step)
    await pair.until(`at step ${step.step}`, () => headsFollowed(pair, timeline))
    await pair.sync(null)
    await expectStates(t, pair, timeline, step)
    await expectFigures(t, pair, timeline, step)
    await expectNothingGone(t, pair, kept, step)
    for (const [repo, { head }] of timeline.states) heads.set(repo, (heads.get(repo) ?? new Set()).add(head))
  }
  await expectLogged(t, pair, heads)
  await forceAll(t, pair, timeline)
}

async function killOne(pair: Pair, step: number): Promise<void> {
  if (step % 2 === 0) {
    await pair.backup.process?.kill()
    await pair.startBackup()
  } else {
    await pair.primary.process?.kill()
    await pair.startPrimary()
  }
  await pair.until('swept again', async () => {
    const { primary } = await pair.status()
    return primary.problem === null && primary.lastSweepAgoMs !== null
  })
}

/** Whatever the primary loses by GC, purge, rewind or deletion: what was here once is here. */
async function expectNothingGone(t: Test, pair: Pair, kept: Set<string>, step: TimelineStep): Promise<void> {
  const now = new Set(await filesBelow(join(pair.backup.dataDir, 'storage')))
  t.strictSame(
    [...kept].filter(file => !now.has(file)),
    [],
    `step ${step.step}: every object of before is still here`,
  )
  for (const file of now) kept.add(file)
}

async function expectLogged(t: Test, pair: Pair, heads: ReadonlyMap<string, ReadonlySet<string>>): Promise<void> {
  for (const [repo, expected] of heads) {
    const logged = new Set((await pair.headLog(repo)).map(entry => entry.head))
    t.strictSame(
      [...expected].filter(head => !logged.has(head)),
      [],
      `${repo}: every head is in its log`,
    )
  }
}

/** The operator's word: all live libraries equal the primary, and what was displaced stays in the log. */
async function forceAll(t: Test, pair: Pair, timeline: Timeline): Promise<void> {
  const step = timeline.steps.at(-1) as TimelineStep
  const stuck = [...timeline.states].filter(([, state]) => state.state === 'failed')
  t.ok(stuck.length > 0, 'some need the operator')
  for (const [repo, before] of stuck) {
    await pair.sync(repo, true)
    const [newest] = await pair.headLog(repo)
    t.match(newest, { displaced: before.head, cause: 'forced' }, `${repo}: the displaced head is in the log`)
    timeline.adopt(repo, step)
  }
  await expectStates(t, pair, timeline, step)
  await expectFigures(t, pair, timeline, step)
}

async function headsFollowed(pair: Pair, timeline: Timeline): Promise<boolean> {
  const heads = await pair.heads('backup')
  return [...timeline.states].every(([repo, { head }]) => heads.get(repo as never) === head)
}

async function expectStates(t: Test, pair: Pair, timeline: Timeline, step: TimelineStep): Promise<void> {
  let libraries = (await pair.status()).libraries
  // a hint that came late, or a start, makes us look once more: in the answer that is judged nothing is under way
  await pair.until('at rest', async () => {
    libraries = (await pair.status()).libraries
    return libraries.every(({ state }) => state !== 'syncing' && state !== 'waiting')
  })
  const found = libraries.map(({ id, head, state, failure, deletedOnPrimary }) => [
    id,
    {
      head,
      state,
      code: failure?.code ?? null,
      deletedOnPrimary,
      ...(failure?.code === 'INTERNAL' && { why: failure.message }),
    },
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
