/** Whether what a backup holds is what it says: read from its files and database alone. */

import { hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { inflateSync } from 'node:zlib'
import { RawObjects } from '../support/raw-objects.js'
import { ServerActs } from '../support/server-acts.js'
import type { DatabaseConfig } from '../../src/shared/catalog/database-config.js'

export interface Leniency {
  readonly excused?: ReadonlyMap<string, ReadonlySet<string>>
  readonly headAlone?: (repo: string) => boolean
}

interface Owed {
  readonly repo: string
  readonly storeId: string
  readonly head: string
  readonly limit: number
}

/** Looks at a copy again and again: what was found whole is not looked at twice, for nothing is ever taken away. */
export class CopyCheck {
  readonly #objects: RawObjects
  readonly #acts: ServerActs
  readonly #whole = new Set<string>()

  constructor(dataDir: string, database: DatabaseConfig) {
    this.#objects = new RawObjects(dataDir)
    this.#acts = new ServerActs(dataDir, database)
  }

  /** Forgets what was found whole: for the last look. */
  forget(): void {
    this.#whole.clear()
  }

  heads(): Promise<Map<string, string>> {
    return headsIn(this.#acts)
  }

  /**
   * One sentence for each head whose kept history is not whole. `excused`: holes that were accepted there. `headAlone`:
   * the rule is another library's and may have grown wider since: only the latest state is owed for sure.
   */
  async broken({ excused = new Map(), headAlone = () => false }: Leniency = {}): Promise<string[]> {
    const problems: string[] = []
    // heads first: of a virtual library recorded in between, the row that names its store is there already
    const heads = await this.heads()
    const origins = await this.#origins()
    for (const [repo, head] of heads) {
      try {
        const storeId = origins.get(repo) ?? repo
        const limit = headAlone(repo) ? 0 : await this.#limit(repo, storeId)
        this.#expectWhole({ repo, storeId, head, limit }, excused.get(repo) ?? new Set())
      } catch (error) {
        problems.push(`${repo}, head ${head}: ${error instanceof Error ? error.message : String(error)}`)
      }
    }
    return problems
  }

  async #origins(): Promise<Map<string, string>> {
    const rows = await this.#acts.sql.select('SELECT repo_id, origin_repo FROM VirtualRepo')
    return new Map(rows.map(([repo, origin]) => [String(repo), String(origin)]))
  }

  #expectWhole({ repo, storeId, head, limit }: Owed, excused: ReadonlySet<string>): void {
    for (const { commit_id: id, root_id: root } of this.#objects.keptCommits(repo, head, limit)) {
      const key = `${repo} ${id}`
      if (this.#whole.has(key)) continue
      this.#expectTree(storeId, root, excused)
      this.#whole.add(key)
    }
  }

  /** The days are the origin's, valid-since the library's own. */
  async #limit(repo: string, storeId: string): Promise<number> {
    if (repo === storeId) return this.#acts.truncateTime(repo)
    const [origin, own] = [await this.#acts.truncateTime(storeId), await this.#acts.truncateTime(repo)]
    return origin === 0 ? 0 : Math.max(origin, own)
  }

  #expectTree(storeId: string, root: string, excused: ReadonlySet<string>): void {
    if (excused.size > 0) return // holes make the rest unreachable for this simple walk
    for (const [id, { kind, path }] of this.#objects.tree(storeId, root)) {
      const key = `${kind} ${storeId} ${id}`
      if (this.#whole.has(key)) continue
      const file = readFileSync(this.#objects.path(kind, storeId, id))
      const found = hash('sha1', kind === 'fs' ? inflateSync(file) : file, 'hex')
      if (found !== id) throw new Error(`${kind} ${id} of ${path} holds ${found}`)
      this.#whole.add(key)
    }
  }
}

export async function headsIn(acts: ServerActs): Promise<Map<string, string>> {
  const rows = await acts.sql.select(
    "SELECT b.repo_id, b.commit_id FROM Branch b JOIN Repo r ON r.repo_id = b.repo_id WHERE b.name = 'master'",
  )
  return new Map(rows.map(([repo, head]) => [String(repo), String(head)]))
}
