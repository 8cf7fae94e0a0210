/** A steady primary: libraries whose trees stay as large as they are while their history grows. */

import { randomBytes } from 'node:crypto'
import { timedCatalog } from '../../scripts/local/timed-catalog.js'
import { LibraryWriter } from '../../src/shared/seafile/library-writer.js'
import type { TimedCatalog } from '../../scripts/local/timed-catalog.js'
import type { RepoId } from '../../src/shared/ids.js'
import type { Pair } from '../support/pair.js'
import type { Random } from '../kinds/random.js'

const FOLDERS = 10
const FILES_PER_FOLDER = 20
const SMALL_BYTES = 8_000
const LARGE_BYTES = 3_000_000
/** One commit in so many brings a large file. */
const LARGE_EVERY = 200

export interface Committed {
  readonly repo: RepoId
  readonly head: string
  /** By performance.now(): when Branch had moved. */
  readonly at: number
}

/** Its catalog is the pair's, which closes it. */
export class Load {
  commits = 0

  private constructor(
    private readonly writer: LibraryWriter,
    private readonly timed: TimedCatalog,
    private readonly repos: readonly RepoId[],
    private readonly random: Random,
  ) {}

  static async create(pair: Pair, libraries: number, random: Random): Promise<Load> {
    const timed = timedCatalog(await pair.catalog())
    const writer = new LibraryWriter({ dataDir: pair.primary.dataDir, catalog: timed.catalog })
    const repos: RepoId[] = []
    for (let n = 0; n < libraries; n++)
      repos.push(await writer.createLibrary({ name: `Soaked ${n}`, owner: `user${n % 50}@example.com` }))
    return new Load(writer, timed, repos, random)
  }

  async commit(): Promise<Committed> {
    const repo = this.repos[this.random.below(this.repos.length)] as RepoId
    const path = `/folder ${this.random.below(FOLDERS)}/file ${this.random.below(FILES_PER_FOLDER)}.bin`
    const bytes = this.random.below(LARGE_EVERY) === 0 ? LARGE_BYTES : 1 + this.random.below(SMALL_BYTES)
    const head = await this.writer.commit(repo, [{ op: 'put', path, content: randomBytes(bytes) }])
    this.commits += 1
    return { repo, head, at: this.timed.movedAt() }
  }
}
