/** What the demo sees from outside: the backup's own database, and the answers of its daemon. */

import { setTimeout as delay } from 'node:timers/promises'
import { openCatalogReader } from '../../src/shared/catalog/open-catalog.js'
import { silentLog } from '../../src/shared/log.js'
import type { CatalogReader } from '../../src/shared/catalog/catalog.js'
import type { RepoId } from '../../src/shared/ids.js'
import type { StatusReport } from '../../src/shared/wire/control-messages.js'
import type { ControlClient } from '../cmd/client.js'
import type { Side } from './stage.js'

/** Far below what is measured. */
const LOOK_EVERY_MS = 0.5
/** Anything here takes seconds; past this something is broken. */
const PATIENCE_MS = 120_000

export const never = new AbortController().signal

export const openSide = (side: Side): Promise<CatalogReader> =>
  openCatalogReader({ type: 'sqlite', path: `${side.dataDir}/seafile.db` }, silentLog)

/** Resolves when `reader` shows `head`, with the time it was seen, by `performance.now()`. */
export async function headSeen(reader: CatalogReader, repo: RepoId, head: string): Promise<number> {
  const until = performance.now() + PATIENCE_MS
  for (;;) {
    const heads = await reader.heads(never)
    const now = performance.now()
    if (heads.get(repo) === head) return now
    if (now > until) throw new Error(`head ${head} of ${repo} did not arrive`)
    await delay(LOOK_EVERY_MS)
  }
}

/** Resolves when every library has been looked at: synchronized, or failed for a reason of its own. */
export async function settled(
  client: ControlClient,
  {
    onWait = () => {},
    patienceMs = PATIENCE_MS,
  }: { onWait?: (status: StatusReport) => void; patienceMs?: number } = {},
): Promise<StatusReport> {
  const until = performance.now() + patienceMs
  for (;;) {
    const status = await client.status({ libraries: true }, never)
    const retrying = (status.libraries ?? []).some(({ failure }) => failure?.retrying)
    const { waiting, syncing } = status.counts
    if (status.primary.lastSweepAgoMs !== null && waiting + syncing === 0 && !retrying) return status
    if (performance.now() > until)
      throw new Error(`not settled: ${JSON.stringify(status.primary.problem ?? status.counts)}`)
    onWait(status)
    await delay(20)
  }
}

/** Bytes stored by the syncs that run now. */
export async function bytesUnderWay(client: ControlClient): Promise<number> {
  const { libraries = [] } = await client.status({ libraries: true }, never)
  return libraries.reduce((sum, { progress }) => sum + (progress?.bytes ?? 0), 0)
}
