/** What runs for Seafile's other tables: dumps, the archive of the binlog between them, a look at MySQL's own replica. */

import { ArchiveDuty } from './binlog/archive-duty.js'
import { DumpDuty } from './dumps/dump-duty.js'
import { DumpStore } from './dumps/dump-store.js'
import { takeApart } from './dumps/take-apart.js'
import { ReplicaWatch } from './replica-watch.js'
import type { BackupConfig } from '../shared/config.js'
import type { Log } from '../shared/log.js'
import type { BinlogSource } from './binlog/take-binlog.js'
import type { TakeDump } from './dumps/take-apart.js'
import type { PrimaryAddress } from './sync/primary-client.js'

export interface OtherTablesParts {
  readonly client: BinlogSource
  /** A dump is taken over connections of its own. */
  readonly primary: PrimaryAddress
  readonly log: Log
  readonly onDeath: (error: unknown) => void
}

export class OtherTables implements AsyncDisposable {
  readonly #running = new AsyncDisposableStack()
  /** Null: it is off. */
  readonly archive: ArchiveDuty | null
  readonly dumps: DumpDuty
  /** Null: there is none to be watched. */
  readonly replica: ReplicaWatch | null

  constructor(config: BackupConfig, { client, primary, log, onDeath }: OtherTablesParts) {
    const { stateDir, archiveBinlog, binlogIntervalMs: intervalMs, keepBinlogMs: keepMs, replica } = config
    const store = new DumpStore(stateDir)
    store.prepare()
    const archiving = { source: client, stateDir, dumps: store, intervalMs, keepMs, log, onDeath }
    this.archive = this.#running.use(archiveBinlog ? new ArchiveDuty(archiving) : null)
    const { dumpSchedule: schedule, keepDumps: keep } = config
    const take = afterArchive(takeApart(primary, stateDir), this.archive)
    this.dumps = this.#running.use(new DumpDuty({ take, store, schedule, keep, log, onDeath }))
    this.replica = this.#running.use(replica && new ReplicaWatch({ replica, log, onDeath }))
  }

  /** What waits for the primary need not wait for its next attempt. */
  primaryIsBack(): void {
    this.dumps.primaryIsBack()
    this.archive?.primaryIsBack()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running.disposeAsync()
  }
}

/** The archive is begun before: the position of a dump lies in it. */
const afterArchive =
  (take: TakeDump, archive: ArchiveDuty | null): TakeDump =>
  async (cause, onBytes, signal) => {
    if (archive) await archive.begun(signal)
    return take(cause, onBytes, signal)
  }
