/** What the daemon reads of its command, and the command of its daemon. */

import fc from 'fast-check'
import { isErrorCode, errorCodes } from '../../src/shared/errors.js'
import { isRepoId } from '../../src/shared/ids.js'
import {
  decodeControlError,
  decodeHeadLog,
  decodeStatusReport,
  decodeSyncEvent,
  decodeSyncRequest,
} from '../../src/shared/wire/control-codec.js'
import { failure, library, progress, report } from '../support/control.js'
import { coded, jsonCases, record } from './decoder.js'
import type {
  ControlError,
  HeadLogEntry,
  LibraryStatus,
  StatusReport,
  SyncEvent,
  SyncRequest,
} from '../../src/shared/wire/control-messages.js'
import type { Decoder } from './decoder.js'

const broken = coded('PROTOCOL_BROKEN')
const text = fc.string({ unit: 'grapheme', maxLength: 60 })
const count = fc.maxSafeNat()
const orNull = <T>(some: fc.Arbitrary<T>) => fc.option(some, { nil: null })
const id = fc.uuid()

const problem = { code: fc.constantFrom(...errorCodes()), message: text, nextStep: text }
const controlError: fc.Arbitrary<ControlError> = fc.record(
  { ...problem, candidates: fc.array(id, { maxLength: 3 }) },
  { requiredKeys: ['code', 'message', 'nextStep'], noNullPrototype: true },
)
const damagedObject = record({
  kind: fc.constantFrom('commits' as const, 'fs' as const, 'blocks' as const),
  id: text,
  problem: fc.constantFrom('missing' as const, 'corrupt' as const, 'unreadable' as const),
  path: orNull(text),
  where: fc.constantFrom('head' as const, 'history' as const),
})
const libraryFailure = fc
  .tuple(record(problem), fc.array(damagedObject, { maxLength: 2 }), orNull(count))
  .map(([one, damaged, retryInMs]) => failure({ ...one, damaged, retryInMs }))

const libraryStatus: fc.Arbitrary<LibraryStatus> = fc
  .tuple(id, orNull(text), orNull(libraryFailure), fc.array(damagedObject, { maxLength: 2 }), count, fc.boolean())
  .map(([repo, name, failed, skipped, n, busy]) =>
    library(repo, {
      name,
      failure: failed,
      skipped,
      holes: n,
      lagMs: busy ? n : null,
      progress: busy ? progress({ objects: n }) : null,
    }),
  )

const statusReport: fc.Arbitrary<StatusReport> = fc
  .tuple(fc.array(libraryStatus, { maxLength: 3 }), text, count, orNull(record(problem)))
  .map(([libraries, words, n, wrong]) =>
    report(
      libraries,
      {
        problem: wrong,
        lastSweepAgoMs: n,
        agents: [{ address: words, source: words, positionAgoMs: n, degraded: null, connectedForMs: n }],
      },
      [{ what: 'primary', forMs: n, message: words, nextStep: words }],
    ),
  )

export const syncRequest: fc.Arbitrary<SyncRequest> = record({
  library: orNull(fc.tuple(id, fc.integer({ min: 1, max: 36 })).map(([whole, length]) => whole.slice(0, length))),
  force: fc.boolean(),
  full: fc.boolean(),
})

const syncEvent: fc.Arbitrary<SyncEvent> = fc.oneof(
  record({ type: fc.constant('started' as const), library: orNull(id), libraries: count }),
  record({
    type: fc.constant('progress' as const),
    librariesDone: count,
    progress: count.map(bytes => progress({ bytes })),
  }),
  record({ type: fc.constant('library' as const), library: libraryStatus }),
  record({ type: fc.constant('end' as const), synchronized: count, failed: count }),
  record({ type: fc.constant('error' as const), error: controlError }),
)

const headLogEntry: fc.Arbitrary<HeadLogEntry> = record({
  head: text,
  displaced: orNull(text),
  relation: fc.constantFrom('new', 'forward', 'revisit', 'unproven', 'rewound', 'diverged', 'same'),
  cause: fc.constantFrom('push', 'sweep', 'manual', 'forced'),
  primaryHadAt: orNull(count),
  recordedAt: count,
})

const isError = ({ code, message, nextStep }: ControlError): boolean =>
  isErrorCode(code) && typeof message === 'string' && typeof nextStep === 'string'

/** No number below 0, none that JSON cannot say, no hole where a field should be. */
function isPlain(value: unknown): boolean {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return true
  if (typeof value === 'number') return value >= 0 && value <= Number.MAX_SAFE_INTEGER
  return typeof value === 'object' && Object.values(value).every(isPlain)
}

export const CONTROL_DECODERS: readonly Decoder[] = [
  {
    name: 'control-request',
    cases: jsonCases(syncRequest),
    decode: decodeSyncRequest,
    refuses: coded('BAD_REQUEST'),
    right: ({ library: asked, force, full }: SyncRequest) =>
      (asked === null || /^[0-9a-f-]{1,36}$/.test(asked)) && typeof force === 'boolean' && typeof full === 'boolean',
  },
  {
    name: 'status-report',
    cases: jsonCases(statusReport),
    decode: decodeStatusReport,
    refuses: broken,
    right: (value: StatusReport) => isPlain(value) && [...value.syncing, ...value.failed].every(isRepoId),
  },
  { name: 'sync-event', cases: jsonCases(syncEvent), decode: decodeSyncEvent, refuses: broken, right: isPlain },
  {
    name: 'head-log',
    cases: jsonCases(record({ entries: fc.array(headLogEntry, { maxLength: 3 }) }), ({ entries }) => entries),
    decode: decodeHeadLog,
    refuses: broken,
    right: isPlain,
  },
  {
    name: 'control-error',
    cases: jsonCases(controlError),
    decode: decodeControlError,
    refuses: broken,
    right: (error: ControlError) => isPlain(error) && isError(error),
  },
]
