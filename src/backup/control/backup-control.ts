/**
 * What the command can ask of the daemon. Answers from the first moment on: before everything runs it says so.
 */

import { BackupError, asBackupError, isAbort } from '../../shared/errors.js'
import { VERSION } from '../../shared/version.js'
import { ARCHIVE_OFF } from '../binlog/archive-duty.js'
import { lastDrill } from '../drill/drill-record.js'
import { findLibrary } from '../find-library.js'
import { promotionForecast } from '../promote/forecast.js'
import { behindOrFailed, libraryStatus, statusReport } from './status.js'
import type { Contact } from '../state/contact.js'
import type { DatabaseConfig } from '../../shared/catalog/database-config.js'
import type { RepoId } from '../../shared/ids.js'
import type {
  DumpStatus,
  HeadLogEntry,
  LibraryStatus,
  StatusReport,
  SyncProgress,
} from '../../shared/wire/control-messages.js'
import type { OtherTables } from '../other-tables.js'
import type { Subscriber } from '../hints/subscriber.js'
import type { Sweep } from '../hints/sweep.js'
import type { Library, LibraryStates } from '../state/library-state.js'
import type { SyncEngine } from '../sync/sync-engine.js'
import type { ControlTarget, SyncOptions } from './control-api.js'

/** Failures that a person gets to read at once; the rest is counted. */
const FAILED_LISTED_MAX = 1_000

interface Parts {
  readonly engine: SyncEngine
  readonly sweep: Sweep
  readonly subscriber: Subscriber
  readonly tables: OtherTables
}

export class BackupControl implements ControlTarget {
  #parts: Parts | undefined
  #promoted: BackupError | undefined

  constructor(
    private readonly states: LibraryStates,
    private readonly options: {
      readonly primaryUrl: string
      readonly rpoMs: number
      readonly sweepIntervalMs: number
      readonly stateDir: string
      readonly database: DatabaseConfig
      readonly contact: Contact
    },
  ) {}

  /** From now on whoever asks for work hears why there is none. */
  promoted(why: BackupError): void {
    this.#promoted = why
  }

  attach(parts: Parts): void {
    this.#parts = parts
  }

  status(options: { libraries: boolean }): StatusReport {
    const parts = this.#parts
    const { primaryUrl, rpoMs, sweepIntervalMs, database, contact } = this.options
    const libraries = [...this.states.all()]
    const dump = parts?.tables.dumps.newest() ?? null
    const binlog = parts ? (parts.tables.archive?.status(dump) ?? ARCHIVE_OFF) : null
    return statusReport(
      {
        version: VERSION,
        primaryUrl,
        rpoMs,
        libraries,
        agents: parts?.subscriber.agents() ?? [],
        dumps: parts?.tables.dumps.status() ?? null,
        binlog,
        replica: parts?.tables.replica?.status() ?? null,
        drill: lastDrill(this.options.stateDir),
        promotion: parts
          ? promotionForecast({ libraries, dump, binlog, database, rpoMs, heardUntil: contact.until })
          : null,
        agentHeardAt: parts?.subscriber.heardAt,
        // before it runs one is owed, since the start of the process
        sweep: parts?.sweep ?? { intervalMs: sweepIntervalMs, succeededAt: undefined, owedSince: 0 },
        line: parts ? parts.engine.line : this.#starting(),
      },
      options,
    )
  }

  headLog(library: string, limit: number): HeadLogEntry[] {
    return this.states.headLog(library as RepoId, limit)
  }

  resolve(idOrPrefix: string): string {
    if (this.states.get(idOrPrefix.toLowerCase() as RepoId)) return idOrPrefix.toLowerCase()
    return findLibrary(
      [...this.states.all()].map(({ repo }) => repo),
      idOrPrefix,
    )
  }

  async sync(
    id: string,
    options: SyncOptions,
    onProgress: (progress: SyncProgress) => void,
    signal: AbortSignal,
  ): Promise<LibraryStatus> {
    const { engine, sweep } = this.#running()
    const library = this.states.ensure(id as RepoId)
    if (engine.line) await sweep.now(signal) // says why, if the line is still broken
    try {
      await engine.request(library.repo, { ...options, onProgress }, signal)
    } catch (error) {
      if (isAbort(error)) throw error
      const problem = asBackupError(error)
      // a failure that belongs to the library is in its status; any other is the answer
      if (library.failure?.code !== problem.code) throw problem
    }
    return libraryStatus(library)
  }

  async syncAll(
    options: SyncOptions,
    onProgress: (done: number, libraries: number, progress: SyncProgress) => void,
    signal: AbortSignal,
  ): Promise<{ synchronized: number; failed: number; failedLibraries: LibraryStatus[] }> {
    const { engine, sweep } = this.#running()
    await sweep.now(signal) // what the primary has now is what "all" means
    const all = [...this.states.all()].filter(library => !library.deleted)
    const behind = all.filter(library => options.full || behindOrFailed(library) || engine.has(library.repo))
    const progress = new Map<Library, SyncProgress>()
    const startedAt = performance.now()
    let done = all.length - behind.length
    const report = () => onProgress(done, all.length, sum(progress.values(), performance.now() - startedAt))
    const failed: Library[] = []
    await Promise.all(
      behind.map(async library => {
        const onOne = (p: SyncProgress) => {
          progress.set(library, p)
          report()
        }
        try {
          await engine.request(library.repo, { ...options, onProgress: onOne }, signal)
        } catch (error) {
          if (isAbort(error)) throw error
          if (!library.deleted) failed.push(library)
        }
        done += 1
        report()
      }),
    )
    return {
      synchronized: all.length - failed.length,
      failed: failed.length,
      failedLibraries: failed.slice(0, FAILED_LISTED_MAX).map(library => libraryStatus(library)),
    }
  }

  dump(onBytes: (bytes: number) => void, signal: AbortSignal): Promise<DumpStatus> {
    return this.#running().tables.dumps.now(onBytes, signal)
  }

  #running(): Parts {
    if (!this.#parts) throw this.#starting()
    return this.#parts
  }

  #starting(): BackupError {
    if (this.#promoted) return this.#promoted
    return new BackupError('DATABASE_DOWN', 'start: the daemon waits for the database of the backup; see its log')
  }
}

function sum(parts: Iterable<SyncProgress>, elapsedMs: number): SyncProgress {
  const total = { objects: 0, bytes: 0, objectsWanted: 0, bytesWanted: 0, elapsedMs: Math.round(elapsedMs) }
  for (const part of parts) {
    total.objects += part.objects
    total.bytes += part.bytes
    total.objectsWanted += part.objectsWanted
    total.bytesWanted += part.bytesWanted
  }
  return total
}
