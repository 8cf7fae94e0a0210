import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { overdue } from '../../../src/backup/control/overdue.js'
import { LibraryStates, lagMs } from '../../../src/backup/state/library-state.js'
import { openStateDb } from '../../../src/backup/state/state-db.js'
import type { Test } from 'tap'
import type { OverdueInput } from '../../../src/backup/control/overdue.js'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const NOW = 100 * HOUR
const REPO = '3f1c09aa-0000-4000-8000-000000000001' as never
const HEAD = 'c'.repeat(40) as never
const DIGEST = 'd'.repeat(64)

/** All is well, but for what differs. */
const input = (differs: Partial<OverdueInput> = {}): OverdueInput => ({
  rpoMs: 2 * HOUR,
  heardAt: NOW - 2_000,
  agents: [],
  sweep: { intervalMs: HOUR, succeededAt: NOW - HOUR, owedSince: undefined },
  libraries: [],
  dumps: null,
  binlog: null,
  replica: null,
  ...differs,
})
const what = (differs: Partial<OverdueInput>) => overdue(input(differs), NOW).map(late => late.what)

async function openStates(t: Test): Promise<LibraryStates> {
  const dir = await mkdtemp(join(tmpdir(), 'seaf-backup-overdue-'))
  const db = openStateDb(dir)
  t.teardown(() => {
    db.close()
    return rm(dir, { recursive: true, force: true })
  })
  return new LibraryStates(db)
}

t.test('overdue: a sweep that hangs or fails is late once rpo is over, however young the last good one is', async t => {
  const sweep = { intervalMs: HOUR, succeededAt: NOW - 30 * MINUTE, owedSince: NOW - 6 * MINUTE }
  t.strictSame(what({ rpoMs: 5 * MINUTE, sweep }), ['sweep'])
  t.strictSame(what({ rpoMs: 10 * MINUTE, sweep }), [])
})

t.test('overdue: sweeps that fail since an hour after the last good one are late when that is rpo ago', async t => {
  const sweep = { intervalMs: HOUR, succeededAt: NOW - 2 * HOUR - 1, owedSince: NOW - HOUR }
  t.match(overdue(input({ sweep }), NOW), [{ what: 'sweep', forMs: 2 * HOUR + 1, message: /2 h 0 min/ }])
  t.strictSame(what({ sweep: { ...sweep, succeededAt: NOW - 2 * HOUR } }), [])
})

t.test('overdue: a sweep loop that does not even begin is late', async t => {
  t.strictSame(what({ sweep: { intervalMs: HOUR, succeededAt: NOW - 3 * HOUR, owedSince: undefined } }), ['sweep'])
})

t.test('overdue: between two sweeps an rpo shorter than their interval is no alarm', async t => {
  t.strictSame(what({ rpoMs: MINUTE }), [])
})

t.test('overdue: since the start nothing was heard and nothing swept, both count from the start', async t => {
  const sweep = { intervalMs: HOUR, succeededAt: undefined, owedSince: 0 }
  t.match(overdue(input({ heardAt: undefined, sweep }), NOW), [
    { what: 'primary', forMs: NOW },
    { what: 'sweep', forMs: NOW },
  ])
})

t.test('overdue: a source with an old position is deaf, and one that never had any since it connected', async t => {
  const agent = { address: '10.0.0.7', source: 'mysql-binlog', degraded: null, connectedForMs: 50 * HOUR }
  const agents = [
    { ...agent, positionAgoMs: 2 * HOUR },
    { ...agent, positionAgoMs: 2 * HOUR + 1, degraded: 'no such file' },
    { ...agent, positionAgoMs: null },
  ]
  t.match(overdue(input({ agents }), NOW), [
    { what: 'source', forMs: 2 * HOUR + 1, message: /10\.0\.0\.7.*: no such file$/ },
    { what: 'source', forMs: 50 * HOUR },
  ])
})

t.test('overdue: within ten seconds neither silence nor an old position is judged, however short rpo is', async t => {
  const agents = [
    { address: '::1', source: 'sqlite-watch', degraded: null, connectedForMs: HOUR, positionAgoMs: 8_000 },
  ]
  t.strictSame(what({ rpoMs: 1_000, agents, heardAt: NOW - 10_000 }), [])
  t.strictSame(what({ rpoMs: 1_000, agents, heardAt: NOW - 10_001 }), ['primary'])
})

t.test('overdue: a library that a sweep found behind has waited since then, though its lag is not known', async t => {
  const states = await openStates(t)
  for (const hours of [5, 3, 1]) states.listed({ repo: REPO, head: HEAD, digest: DIGEST }, NOW - hours * HOUR)
  const library = states.ensure(REPO)
  t.equal(lagMs(library, NOW), null)
  t.match(overdue(input({ libraries: states.all() as never }), NOW), [
    { what: 'library', forMs: 5 * HOUR, message: /library 3f1c09aa-.* 5 h 0 min/ },
  ])

  states.checkpoint(library, { commit: HEAD, since: -1 }, []) // something of it is here, and stays
  states.gone(library)
  t.strictSame(what({ libraries: states.all() as never }), [], 'deleted on the primary: nothing to wait for')
})

t.test('overdue: of many libraries the one that has waited longest is named and the others are counted', async t => {
  const states = await openStates(t)
  for (const n of [1, 2, 3]) {
    const repo = `3f1c09aa-0000-4000-8000-00000000000${n}` as never
    states.listed({ repo, head: HEAD, digest: DIGEST }, NOW - n * 1.5 * HOUR)
  }
  const libraries = [...states.all()]
  t.match(overdue(input({ libraries }), NOW), [{ what: 'library', message: /000000000003 .*, and 1 more$/ }])
})

t.test('overdue: a dump that has been due for longer than rpo, with why there is none', async t => {
  const problem = { code: 'DUMP_FAILED' as const, message: 'run mariadb-dump: it warned', nextStep: 'mend it' }
  const dumps = {
    scheduled: true,
    kept: 0,
    damaged: 0,
    newest: null,
    nextAt: NOW,
    running: false,
    owedForMs: 2 * HOUR + 1,
    problem,
  }
  t.match(overdue(input({ dumps }), NOW), [
    { what: 'dump', forMs: 2 * HOUR + 1, message: /none.*it warned/, nextStep: 'mend it' },
  ])
  t.strictSame(what({ dumps: { ...dumps, owedForMs: 2 * HOUR } }), [], 'within rpo it is only tried again')
  t.strictSame(what({ dumps: { ...dumps, owedForMs: null } }), [])
})

t.test(
  'overdue: an archive of the binlog that stands still, and none where there never was one to archive',
  async t => {
    const problem = { code: 'STORE_FULL' as const, message: 'write 1.binlog: no space', nextStep: 'make room' }
    const none = { archiving: true, since: null, upTo: null, at: null, behindMs: null, gaps: [], problem: null }
    const stands = { ...none, since: 1, upTo: 2, at: 2, behindMs: 2 * HOUR + 1, problem }
    t.match(overdue(input({ binlog: stands }), NOW), [
      { what: 'binlog', forMs: 2 * HOUR + 1, message: /no space/, nextStep: 'make room' },
    ])
    t.strictSame(what({ binlog: { ...stands, behindMs: 2 * HOUR } }), [])
    t.strictSame(what({ binlog: { ...stands, archiving: false } }), [])
    t.strictSame(what({ binlog: none }), [])
    t.strictSame(what({ binlog: { ...none, problem } }), ['binlog'], 'one that could not even be begun')
    const unavailable = { ...problem, code: 'BINLOG_UNAVAILABLE' as const }
    t.strictSame(what({ binlog: { ...none, problem: unavailable } }), [], 'dumps are all that was promised')
    t.strictSame(what({ binlog: { ...stands, problem: unavailable } }), ['binlog'], 'it was there, and is no more')
  },
)

t.test('overdue: a replica that is not well, at once', async t => {
  const replica = {
    url: 'mysql://w@h:3306/',
    asked: true,
    behindSeconds: null,
    problem: 'it applies nothing',
    problemForMs: 7,
  }
  t.match(overdue(input({ replica }), NOW), [
    { what: 'replica', forMs: 7, message: /mysql:\/\/w@h:3306\/.*applies nothing/ },
  ])
  t.strictSame(what({ replica: { ...replica, problem: null, problemForMs: null } }), [])
})
