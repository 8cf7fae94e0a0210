/** Commits on a primary, and how long each takes to be the head on the backup. */

import { setTimeout as delay } from 'node:timers/promises'
import { LibraryWriter } from '../src/shared/seafile/library-writer.js'
import { timedCatalog } from '../scripts/local/timed-catalog.js'
import { never } from '../test/support/pair.js'
import type { TimedCatalog } from '../scripts/local/timed-catalog.js'
import type { CatalogReader } from '../src/shared/catalog/catalog.js'
import type { RepoId } from '../src/shared/ids.js'
import type { Change } from '../src/shared/seafile/library-writer.js'
import type { Pair } from '../test/support/pair.js'

const LOOK_EVERY_MS = 0.5

export interface Committed {
  readonly repo: RepoId
  readonly head: string
  /** By performance.now(): when Branch had moved. */
  readonly at: number
}

export class Committing {
  private constructor(
    readonly writer: LibraryWriter,
    private readonly timed: TimedCatalog,
  ) {}

  /** As the Seafile server of the pair's primary; its catalog is the pair's, which closes it. */
  static async on(pair: Pair): Promise<Committing> {
    const timed = timedCatalog(await pair.catalog())
    return new Committing(new LibraryWriter({ dataDir: pair.primary.dataDir, catalog: timed.catalog }), timed)
  }

  async commit(repo: RepoId, changes: readonly Change[]): Promise<Committed> {
    const head = await this.writer.commit(repo, changes)
    return { repo, head, at: this.timed.movedAt() }
  }
}

/** Milliseconds from the commit on the primary until `here` has its head. */
export async function arrival({ repo, head, at }: Committed, here: CatalogReader): Promise<number> {
  while ((await here.heads(never)).get(repo) !== head) await delay(LOOK_EVERY_MS)
  return performance.now() - at
}
