/** What each commit needs, read from the primary's own files: the backup is never asked what it should have. */

import { RawObjects } from '../support/raw-objects.js'

/** A directory of the object tree, below seafile-data, and the names that must be in it. */
export type Needed = ReadonlyMap<string, readonly string[]>

export class Closures {
  readonly #objects: RawObjects
  readonly #known = new Map<string, Needed>()

  constructor(primaryDataDir: string) {
    this.#objects = new RawObjects(primaryDataDir)
  }

  /** The whole history of a commit, each with its tree. */
  of(repo: string, storeId: string, head: string): Needed {
    return this.#once(`${repo} ${storeId} ${head}`, add => {
      for (const { commit_id: id, root_id: root } of this.#objects.keptCommits(repo, head, -1)) {
        add('commits', repo, id)
        for (const [object, { kind }] of this.#objects.tree(storeId, root)) add(kind, storeId, object)
      }
    })
  }

  /** Of a virtual library's base: the commit alone, and of its tree no blocks. */
  ofBase(origin: string, commit: string): Needed {
    return this.#once(`base ${origin} ${commit}`, add => {
      add('commits', origin, commit)
      const { root_id: root } = this.#objects.commit(origin, commit)
      for (const [object, { kind }] of this.#objects.tree(origin, root)) if (kind === 'fs') add(kind, origin, object)
    })
  }

  #once(key: string, list: (add: (kind: string, storeId: string, id: string) => void) => void): Needed {
    const known = this.#known.get(key)
    if (known) return known
    const needed = new Map<string, string[]>()
    list((kind, storeId, id) => {
      const directory = `storage/${kind}/${storeId}/${id.slice(0, 2)}`
      const names = needed.get(directory)
      if (names) names.push(id.slice(2))
      else needed.set(directory, [id.slice(2)])
    })
    this.#known.set(key, needed)
    return needed
  }
}
