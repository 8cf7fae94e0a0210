/** Damage on the primary: whatever is whole is protected, whatever is not is named, and nothing good is lost to it. */

import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { runCommand } from '../support/command.js'
import {
  HARMS,
  WHATS,
  lacking,
  newLibrary,
  problemOf,
  putPlan,
  spoil,
  statusOf,
  twoVersions,
  victimsOf,
} from '../support/damage.js'
import { Pair } from '../support/pair.js'
import { RawObjects } from '../support/raw-objects.js'
import type { Harm, Versions, What } from '../support/damage.js'

interface Case extends Versions {
  readonly what: What
  readonly harm: Harm
  readonly repair: () => void
}

/** One library for each kind of object and each harm, and one that is whole, all written while the line is down. */
async function damagedLibraries(pair: Pair, place: 'head' | 'history'): Promise<{ cases: Case[]; whole: Versions }> {
  const combinations = WHATS.flatMap(what => HARMS.map(harm => ({ what, harm })))
  const libraries = []
  for (const { what, harm } of combinations)
    libraries.push({ what, harm, ...(await newLibrary(pair, `${what} ${harm}`)) })
  const wholeOne = await newLibrary(pair, 'Whole')
  await pair.sync(null)
  await pair.settle()
  pair.cutOff()
  const cases: Case[] = []
  for (const { what, harm, ...library } of libraries) {
    const versions = await twoVersions(pair, library)
    cases.push({
      ...versions,
      what,
      harm,
      repair: spoil(pair, versions.repo, versions.victims[place][what], harm),
    })
  }
  const whole = await twoVersions(pair, wholeOne)
  pair.reconnect()
  await pair.sync(null)
  await pair.settle()
  return { cases, whole }
}

/** Two commits beyond what the backup has, one object of them spoilt before it could look. */
async function oneDamaged(pair: Pair, place: 'head' | 'history', what: What, harm: Harm = 'bit-flipped') {
  const library = await newLibrary(pair, `${what} of ${place}`)
  await pair.sync(null)
  await pair.settle()
  pair.cutOff()
  const versions = await twoVersions(pair, library)
  const repair = spoil(pair, versions.repo, versions.victims[place][what], harm)
  pair.reconnect()
  await pair.sync(null)
  await pair.settle()
  return { ...versions, repair, victim: versions.victims[place][what] }
}

t.test(
  'damage (latest state): our head stays, each path is named, no other library waits, and a forced sync accepts what can be',
  async t => {
    await using pair = await Pair.start()
    const { cases, whole } = await damagedLibraries(pair, 'head')
    t.equal((await statusOf(pair, whole.repo)).head, whole.latest, 'no other library is held up')
    for (const { repo, what, harm, before, latest, victims } of cases) {
      await t.test(`${what}, ${harm}`, async t => {
        const { kind, id, path } = victims.head[what]
        const { state, head, failure, holes } = await statusOf(pair, repo)
        t.equal(state, 'failed')
        t.equal(head, before)
        t.equal((await pair.heads('backup')).get(repo), before)
        t.equal(failure?.code, harm === 'missing' ? 'OBJECT_MISSING' : 'OBJECT_CORRUPT')
        t.strictSame(failure?.damaged, [{ kind, id, problem: problemOf(harm), path, where: 'head' }])
        t.equal(holes, 0, 'nothing was accepted')
        t.strictSame(lacking(pair, repo, before), [], 'the head that is kept is whole')

        await pair.sync(repo, true)

        const forced = await statusOf(pair, repo)
        const followed = what === 'commit' ? { state: 'failed', head: before } : { state: 'synchronized', head: latest }
        t.match(forced, followed, 'without the commit there is no head to follow')
        if (what !== 'commit') t.equal(forced.holes, 1)
      })
    }
    t.equal((await pair.status()).counts.withHoles, HARMS.length * (WHATS.length - 1))
  },
)

t.test('damage (latest state): once the primary has the objects again, a sweep fills every hole by itself', async t => {
  await using pair = await Pair.start()
  const { cases } = await damagedLibraries(pair, 'head')
  for (const [i, { repo, repair }] of cases.entries()) {
    if (i % 2 === 0) await pair.sync(repo, true) // every other one was accepted in the meantime
    repair()
  }
  await pair.sync(null)
  for (const { repo, what, harm, latest } of cases) {
    const { state, head, holes } = await statusOf(pair, repo)
    t.strictSame({ state, head, holes }, { state: 'synchronized', head: latest, holes: 0 }, `${what}, ${harm}`)
    t.strictSame(lacking(pair, repo, latest), [])
  }
})

t.test(
  'damage (history): the latest state is protected at once, the library is failed with its hole, and a repair ends that',
  async t => {
    await using pair = await Pair.start()
    const { cases, whole } = await damagedLibraries(pair, 'history')
    t.equal((await statusOf(pair, whole.repo)).head, whole.latest)
    for (const { repo, what, harm, latest, victims, repair } of cases) {
      await t.test(`${what}, ${harm}`, async t => {
        const { kind, id, path } = victims.history[what]
        const { state, head, failure } = await statusOf(pair, repo)
        t.equal(state, 'failed')
        t.equal(head, latest)
        t.strictSame(lacking(pair, repo, latest), [], 'the latest state is whole')
        t.equal(failure?.code, harm === 'missing' ? 'OBJECT_MISSING' : 'OBJECT_CORRUPT')
        t.strictSame(failure?.damaged, [{ kind, id, problem: problemOf(harm), path, where: 'history' }])
        repair()
      })
    }
    await pair.sync(null)
    for (const { repo, what, harm, old } of cases) {
      const { state, holes } = await statusOf(pair, repo)
      t.strictSame({ state, holes }, { state: 'synchronized', holes: 0 }, `${what}, ${harm}`)
      t.strictSame(lacking(pair, repo, old), [], 'what history needs was brought too')
    }
  },
)

t.test('damage: one library with several damaged objects lists them all; whole siblings are there', async t => {
  await using pair = await Pair.start()
  const { repo } = await newLibrary(pair, 'Much damage')
  await pair.sync(null)
  await pair.settle()
  pair.cutOff()
  const writer = await pair.writer()
  const names = ['/a/one.md', '/a/two.md', '/b/three.md', '/c/d/four.md']
  const latest = await writer.commit(
    repo,
    names.map(path => ({ op: 'put', path, content: Buffer.from(`text of ${path}`) })),
  )
  const objects = new RawObjects(pair.primary.dataDir)
  const tree = objects.tree(repo, objects.commit(repo, latest).root_id)
  const find = (kind: 'fs' | 'blocks', path: string) => {
    const [id] = [...tree].find(([, object]) => object.kind === kind && object.path === path) ?? ['']
    return { kind, id, path }
  }
  const victims = [find('blocks', '/a/one.md'), find('fs', '/b/three.md'), find('fs', '/c/d/')]
  for (const [i, victim] of victims.entries()) spoil(pair, repo, victim, HARMS[i] as Harm)
  pair.reconnect()
  await pair.sync(null)

  const { failure } = await statusOf(pair, repo)
  t.strictSame(
    new Set(failure?.damaged.map(({ id, path }) => `${id} ${path}`)),
    new Set(victims.map(({ id, path }) => `${id} ${path}`)),
  )
  t.equal(failure?.damagedTotal, 3)
  const ours = new RawObjects(pair.backup.dataDir)
  t.ok(ours.has('blocks', repo, find('blocks', '/a/two.md').id), 'the sibling of a damaged file is here')
})

t.test(
  'damage: the command names what a forced sync skipped, and never calls such a library plain synchronized',
  async t => {
    await using pair = await Pair.start()
    const { repo, victim, repair } = await oneDamaged(pair, 'head', 'file object')

    const forced = await runCommand(pair, 'sync', '--force', repo)
    t.equal(forced.code, 0)
    t.match(forced.stdout + forced.stderr, /1 missing object/)
    const verbose = await runCommand(pair, 'status', '--verbose')
    t.match(verbose.stdout, /state: synchronized with 1 missing object\n/)
    t.match(verbose.stdout, String(victim.path), 'what was skipped is said')
    t.match(verbose.stdout, victim.id)

    repair()
    await pair.sync(null)
    t.match((await runCommand(pair, 'status', '--verbose')).stdout, /state: synchronized\n/)
  },
)

t.test('damage: a library that failed for damage follows new heads whose own tree is whole', async t => {
  await using pair = await Pair.start()
  const { repo, before } = await oneDamaged(pair, 'head', 'block')
  t.equal((await statusOf(pair, repo)).head, before)

  const next = await putPlan(pair, repo, 'a plan without damage')
  await pair.until('followed', async () => (await statusOf(pair, repo)).head === next)
  t.match(await statusOf(pair, repo), { state: 'failed', failure: { damaged: [{ where: 'history' }] } })

  const last = await putPlan(pair, repo, 'and one more')
  await pair.until('followed', async () => (await statusOf(pair, repo)).head === last)
  t.strictSame(lacking(pair, repo, last), [])

  const [events] = [await pair.sync(repo, true)]
  t.equal(events.at(-1)?.type, 'end')
  t.match(await statusOf(pair, repo), { state: 'synchronized', holes: 1 })
})

t.test(
  'damage: after a forced sync new damage is reported again, and new heads on whole trees are followed',
  async t => {
    await using pair = await Pair.start()
    const { repo } = await oneDamaged(pair, 'head', 'block')
    await pair.sync(repo, true)
    const elsewhere = await putPlan(pair, repo, 'another file', '/other/more.md')
    await pair.until('followed', async () => (await statusOf(pair, repo)).head === elsewhere)
    t.match(await statusOf(pair, repo), { state: 'synchronized', holes: 1 }, 'the accepted hole stays accepted')

    pair.cutOff()
    const latest = await putPlan(pair, repo, 'a second damaged file', '/other/second.md')
    const objects = new RawObjects(pair.primary.dataDir)
    const tree = objects.tree(repo, objects.commit(repo, latest).root_id)
    const [id] = [...tree].find(([, { kind, path }]) => kind === 'blocks' && path === '/other/second.md') ?? ['']
    spoil(pair, repo, { kind: 'blocks', id, path: null }, 'zero-length')
    pair.reconnect()
    await pair.sync(null)
    t.match(await statusOf(pair, repo), {
      state: 'failed',
      head: elsewhere,
      failure: { damaged: [{ id }], damagedTotal: 1 },
    })
  },
)

t.test('damage: what is whole here and bad on the primary is no hole, and is never overwritten', async t => {
  await using pair = await Pair.start()
  const { repo, before } = await newLibrary(pair, 'Good here')
  await pair.sync(null)
  await pair.settle()
  const { block, 'file object': file, directory } = victimsOf(new RawObjects(pair.primary.dataDir), repo, before)
  const ours = new RawObjects(pair.backup.dataDir)
  const good = readFileSync(ours.path('blocks', repo, block.id))
  spoil(pair, repo, block, 'bit-flipped')
  spoil(pair, repo, file, 'missing')
  spoil(pair, repo, directory, 'truncated')
  // without its state the backup vouches for nothing, and asks for all of it again
  await pair.backup.process?.stop()
  for (const name of ['state.db', 'state.db-wal', 'state.db-shm'])
    rmSync(join(pair.backup.dir, 'seaf-backup-state', name), { force: true })
  await pair.startBackup()
  await pair.sync(null)

  t.match(await statusOf(pair, repo), { state: 'synchronized', head: before, holes: 0, failure: null })
  t.strictSame(readFileSync(ours.path('blocks', repo, block.id)), good)
})

t.test('damage: what is bad here and whole on the primary is replaced when it is pulled again', async t => {
  await using pair = await Pair.start()
  const { repo, before } = await newLibrary(pair, 'Bad here')
  await pair.sync(null)
  await pair.settle()
  const { block } = victimsOf(new RawObjects(pair.primary.dataDir), repo, before)
  await pair.backup.process?.stop()
  writeFileSync(new RawObjects(pair.backup.dataDir).path('blocks', repo, block.id), 'rotten')
  for (const name of ['state.db', 'state.db-wal', 'state.db-shm'])
    rmSync(join(pair.backup.dir, 'seaf-backup-state', name), { force: true })
  await pair.startBackup()
  await pair.sync(null)
  t.match(await statusOf(pair, repo), { state: 'synchronized', holes: 0 })
  t.strictSame(lacking(pair, repo, before), [])
})

t.test('damage: an object that history owed and that its rule gave up since is no damage any more', async t => {
  await using pair = await Pair.start()
  const { repo, latest } = await oneDamaged(pair, 'history', 'block', 'missing')
  t.equal((await statusOf(pair, repo)).state, 'failed')
  const writer = await pair.writer()
  await writer.setHistory(repo, { limitDays: 0 })
  await pair.sync(null)
  t.match(await statusOf(pair, repo), { state: 'synchronized', head: latest, holes: 0, failure: null })
})
