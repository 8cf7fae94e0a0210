import fc from 'fast-check'
import t from 'tap'
import { BackupError, errorCodes } from '../../../src/shared/errors.js'
import {
  decodeControlError,
  decodeDumpEvent,
  decodeStatusReport,
  decodeSyncEvent,
  decodeSyncRequest,
} from '../../../src/shared/wire/control-codec.js'
import { PHOTOS } from '../../support/control.js'
import type { DumpEvent, LibraryStatus, StatusReport, SyncEvent } from '../../../src/shared/wire/control-messages.js'

const bytes = (value: unknown) => Buffer.from(JSON.stringify(value))

const count = fc.nat()
const orNull = <T>(some: fc.Arbitrary<T>) => fc.option(some, { nil: null })
const code = fc.constantFrom(...errorCodes())
const text = fc.string({ unit: 'grapheme' })
const id = fc.uuid().map(uuid => uuid.toLowerCase())
const problem = { code, message: text, nextStep: text }

const progress = fc.record({ objects: count, bytes: count, objectsWanted: count, bytesWanted: count, elapsedMs: count })
const damaged = fc.record({
  kind: fc.constantFrom('commits' as const, 'fs' as const, 'blocks' as const),
  id: text,
  problem: fc.constantFrom('missing' as const, 'corrupt' as const, 'unreadable' as const),
  path: orNull(text),
  where: fc.constantFrom('head' as const, 'history' as const),
})
const failure = fc.record({
  ...problem,
  retrying: fc.boolean(),
  retryInMs: orNull(count),
  damaged: fc.array(damaged, { maxLength: 3 }),
  damagedTotal: count,
})
const library: fc.Arbitrary<LibraryStatus> = fc.record({
  id,
  name: orNull(text),
  owner: orNull(text),
  state: fc.constantFrom('waiting', 'syncing', 'synchronized', 'failed'),
  deletedOnPrimary: fc.boolean(),
  head: orNull(text),
  primaryHead: orNull(text),
  lagMs: orNull(count),
  recordedAt: orNull(count),
  holes: count,
  skipped: fc.array(damaged, { maxLength: 3 }),
  sizeBytes: orNull(count),
  changedAt: orNull(count),
  failure: orNull(failure),
  progress: orNull(progress),
})
const ids = fc.array(id, { maxLength: 3 })
const dump = fc.record({ id: text, at: count, bytes: count, tables: count, rows: count })
const statusReport: fc.Arbitrary<StatusReport> = fc.record(
  {
    version: text,
    at: count,
    primary: fc.record({
      url: text,
      reachable: orNull(fc.boolean()),
      lastContactAgoMs: orNull(count),
      lastSweepAgoMs: orNull(count),
      agentsConnected: count,
      agents: fc.array(
        fc.record({
          address: text,
          source: orNull(text),
          positionAgoMs: orNull(count),
          degraded: orNull(text),
          connectedForMs: count,
        }),
        { maxLength: 3 },
      ),
      problem: orNull(fc.record(problem)),
    }),
    overdue: fc.array(fc.record({ what: text, forMs: count, message: text, nextStep: text }), { maxLength: 3 }),
    counts: fc.record({
      total: count,
      synchronized: count,
      waiting: count,
      syncing: count,
      failed: count,
      deletedOnPrimary: count,
      withHoles: count,
    }),
    syncing: ids,
    failed: ids,
    dumps: orNull(
      fc.record({
        scheduled: fc.boolean(),
        kept: count,
        damaged: count,
        newest: orNull(dump),
        nextAt: orNull(count),
        running: fc.boolean(),
        owedForMs: orNull(count),
        problem: orNull(fc.record(problem)),
      }),
    ),
    binlog: orNull(
      fc.record({
        archiving: fc.boolean(),
        since: orNull(count),
        upTo: orNull(count),
        at: orNull(count),
        behindMs: orNull(count),
        gaps: fc.array(fc.record({ at: count, why: text }), { maxLength: 2 }),
        problem: orNull(fc.record(problem)),
      }),
    ),
    replica: orNull(
      fc.record({
        url: text,
        asked: fc.boolean(),
        behindSeconds: orNull(count),
        problem: orNull(text),
        problemForMs: orNull(count),
      }),
    ),
    promotion: orNull(
      fc.record({ stops: fc.array(text), librariesLacking: count, librariesDeleted: count, tablesAt: orNull(count) }),
    ),
    drill: orNull(fc.record({ at: count, ok: fc.boolean(), problem: orNull(text), okAt: orNull(count) })),
    libraries: fc.array(library, { maxLength: 3 }),
  },
  {
    requiredKeys: [
      'version',
      'at',
      'primary',
      'overdue',
      'counts',
      'syncing',
      'failed',
      'dumps',
      'binlog',
      'replica',
      'drill',
      'promotion',
    ],
  },
)
const controlError = fc.record({ ...problem, candidates: ids }, { requiredKeys: ['code', 'message', 'nextStep'] })
const event: fc.Arbitrary<SyncEvent> = fc.oneof(
  fc.record({ type: fc.constant('started' as const), library: orNull(id), libraries: count }),
  fc.record({ type: fc.constant('progress' as const), librariesDone: count, progress }),
  fc.record({ type: fc.constant('library' as const), library }),
  fc.record({ type: fc.constant('end' as const), synchronized: count, failed: count }),
  fc.record({ type: fc.constant('error' as const), error: controlError }),
)
const dumpEvent: fc.Arbitrary<DumpEvent> = fc.oneof(
  fc.record({ type: fc.constant('progress' as const), bytes: count }),
  fc.record({ type: fc.constant('end' as const), dump }),
  fc.record({ type: fc.constant('error' as const), error: controlError }),
)

const DECODERS = [
  {
    name: 'a request',
    code: 'BAD_REQUEST',
    decode: decodeSyncRequest,
    good: fc.constant({ library: null, force: false }),
  },
  { name: 'a status report', code: 'PROTOCOL_BROKEN', decode: decodeStatusReport, good: statusReport },
  { name: 'a sync event', code: 'PROTOCOL_BROKEN', decode: decodeSyncEvent, good: event },
  { name: 'a dump event', code: 'PROTOCOL_BROKEN', decode: decodeDumpEvent, good: dumpEvent },
  { name: 'a refusal', code: 'PROTOCOL_BROKEN', decode: decodeControlError, good: controlError },
] as const

for (const { name, code, decode, good } of DECODERS) {
  const refusesOrDecodes = (input: Uint8Array) => {
    try {
      decode(input)
    } catch (error) {
      return error instanceof BackupError && error.code === code
    }
    return true
  }

  t.test(`control: ${name} of any bytes or any JSON is decoded or refused with ${code}`, async t => {
    t.equal(fc.check(fc.property(fc.uint8Array(), refusesOrDecodes)).failed, false)
    t.equal(fc.check(fc.property(fc.jsonValue(), value => refusesOrDecodes(bytes(value)))).failed, false)
  })

  t.test(`control: ${name} with one field spoilt is decoded or refused with ${code}`, async t => {
    const spoilt = fc.property(good as fc.Arbitrary<object>, fc.nat(), fc.jsonValue(), (message, at, wrong) => {
      const names = Object.keys(message)
      return refusesOrDecodes(bytes({ ...message, [names[at % names.length] ?? 'type']: wrong }))
    })
    t.equal(fc.check(spoilt).failed, false)
  })
}

t.test('control: a status report of a daemon from before rpo was known has no agents and nothing overdue', async t => {
  for (const value of fc.sample(statusReport, 5)) {
    const { overdue: _overdue, ...old } = value
    const { agents: _agents, ...primary } = value.primary
    const report = decodeStatusReport(bytes({ ...old, primary }))
    t.strictSame([report.overdue, report.primary.agents], [[], []])
  }
})

t.test('control: what one side writes is what the other reads', async t => {
  const same = <T>(some: fc.Arbitrary<T>, decode: (input: Uint8Array) => T) => {
    for (const value of fc.sample(some, 25)) {
      t.strictSame(decode(bytes(value)), JSON.parse(bytes(value).toString()))
    }
  }
  same(statusReport, decodeStatusReport)
  same(event, decodeSyncEvent)
  same(dumpEvent, decodeDumpEvent)
  same(controlError, decodeControlError)
})

t.test('control: a library is asked for by an id or its beginning, in any case, and by nothing else', async t => {
  t.match(decodeSyncRequest(bytes({ library: PHOTOS.toUpperCase(), force: true })), { library: PHOTOS, force: true })
  t.match(decodeSyncRequest(bytes({ library: null, force: false })), { library: null })
  for (const library of ['', '../..', 'x'.repeat(10), `${PHOTOS}0`, 5, undefined]) {
    t.throws(() => decodeSyncRequest(bytes({ library, force: false })), { code: 'BAD_REQUEST' })
  }
})

t.test('control: fields of a newer daemon are left out', async t => {
  const decoded = decodeSyncEvent(bytes({ type: 'end', synchronized: 1, failed: 0, duration: 5 }))
  t.strictSame(decoded, { type: 'end', synchronized: 1, failed: 0 })
})
