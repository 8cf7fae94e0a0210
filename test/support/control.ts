/** A control API with a target that answers what the test says, on a socket of its own. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startControlApi } from '../../src/backup/control/control-api.js'
import { BackupError } from '../../src/shared/errors.js'
import { silentLog } from '../../src/shared/log.js'
import type { ControlTarget } from '../../src/backup/control/control-api.js'
import type {
  LibraryFailure,
  LibraryStatus,
  StatusReport,
  SyncProgress,
} from '../../src/shared/wire/control-messages.js'

export const PHOTOS = '3f1c09aa-0000-4000-8000-000000000001'
export const NOTES = '3f1c09bb-0000-4000-8000-000000000002'
export const MUSIC = 'a0000000-0000-4000-8000-000000000003'
const HEAD = 'c'.repeat(40)

export const library = (id: string, differs: Partial<LibraryStatus> = {}): LibraryStatus => ({
  id,
  name: 'Photos',
  owner: 'jo@example.com',
  state: 'synchronized',
  deletedOnPrimary: false,
  head: HEAD,
  primaryHead: HEAD,
  lagMs: 0,
  recordedAt: Date.UTC(2026, 0, 2, 3, 4, 5, 6),
  holes: 0,
  skipped: [],
  sizeBytes: 1_048_576,
  changedAt: Date.UTC(2026, 0, 2, 3, 4, 5),
  failure: null,
  progress: null,
  ...differs,
})

export const failure = (differs: Partial<LibraryFailure> = {}): LibraryFailure => ({
  code: 'OBJECT_CORRUPT',
  message: 'pull library 3f1c09bb: block 9be1d0c2 holds 77aa01f3',
  nextStep: 'run seaf-fsck on the primary',
  retrying: false,
  retryInMs: null,
  damaged: [],
  damagedTotal: 0,
  ...differs,
})

export const progress = (differs: Partial<SyncProgress> = {}): SyncProgress => ({
  objects: 100,
  bytes: 1_048_576,
  objectsWanted: 300,
  bytesWanted: 3_145_728,
  elapsedMs: 1_000,
  ...differs,
})

export function report(
  libraries: readonly LibraryStatus[],
  primary: Partial<StatusReport['primary']> = {},
  overdue: StatusReport['overdue'] = [],
): StatusReport {
  const ids = (state: string) => libraries.filter(l => l.state === state).map(l => l.id)
  return {
    version: '0.1.0',
    at: Date.UTC(2026, 0, 2),
    primary: {
      url: 'https://primary.example.com/',
      reachable: true,
      lastContactAgoMs: 20,
      lastSweepAgoMs: 60_000,
      agentsConnected: 1,
      agents: [],
      problem: null,
      ...primary,
    },
    overdue,
    counts: {
      total: libraries.length,
      synchronized: ids('synchronized').length,
      waiting: ids('waiting').length,
      syncing: ids('syncing').length,
      failed: ids('failed').length,
      deletedOnPrimary: libraries.filter(l => l.deletedOnPrimary).length,
      withHoles: libraries.filter(l => l.holes > 0).length,
    },
    syncing: ids('syncing'),
    failed: ids('failed'),
    dumps: null,
    binlog: null,
    replica: null,
    drill: null,
    promotion: null,
    libraries,
  }
}

/** Knows the given libraries; a sync of one ends at once, as it stands. */
export function controlTarget(status: StatusReport, differs: Partial<ControlTarget> = {}): ControlTarget {
  const known = status.libraries ?? []
  const { libraries: _libraries, ...short } = status
  return {
    status: ({ libraries }) => (libraries ? status : short),
    resolve(prefix) {
      const candidates = known.map(l => l.id).filter(id => id.startsWith(prefix))
      const [only] = candidates
      if (only === undefined) throw new BackupError('LIBRARY_UNKNOWN', `find library ${prefix}: there is none`)
      if (candidates.length === 1) return only
      const message = `find library ${prefix}: ${candidates.length} begin so`
      throw new BackupError('LIBRARY_AMBIGUOUS', message, { candidates })
    },
    headLog: () => [],
    dump: async () => ({ id: '20260102T000000Z', at: status.at, bytes: 1, tables: 1, rows: 1 }),
    sync: async id => known.find(l => l.id === id) ?? library(id),
    syncAll: async () => ({
      synchronized: status.counts.synchronized,
      failed: status.counts.failed,
      failedLibraries: known.filter(l => l.state === 'failed'),
    }),
    ...differs,
  }
}

export interface ControlHost extends AsyncDisposable {
  readonly stateDir: string
  readonly socketPath: string
  /** Ends the API alone; the directory stays. */
  stop(): Promise<void>
}

export async function startControl(target: ControlTarget): Promise<ControlHost> {
  const stateDir = await mkdtemp(join(tmpdir(), 'seaf-backup-control-'))
  const socketPath = join(stateDir, 'control.sock')
  const api = await startControlApi({ socketPath, target, log: silentLog })
  let stopped: Promise<void> | undefined
  const stop = () => (stopped ??= Promise.resolve(api[Symbol.asyncDispose]()))
  return {
    stateDir,
    socketPath,
    stop,
    async [Symbol.asyncDispose]() {
      await stop()
      await rm(stateDir, { recursive: true, force: true })
    },
  }
}
