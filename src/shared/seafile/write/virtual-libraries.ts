/**
 * Virtual libraries (sub-folders shared as libraries of their own), kept in step with their origin.
 *
 * Both sides are libraries with heads, over one store. After a commit on either
 * side the server merges the other in the background: three trees, where
 * `VirtualRepo.base_commit` is the origin's commit at the last merge. When the
 * folder was renamed in the origin, its virtual library follows. Facts:
 * seafile-server's server/virtual-repo.c.
 */

import { posix } from 'node:path'
import { BackupError } from '../../errors.js'
import { short } from '../../ids.js'
import { describeTreeChanges } from './describe.js'
import { treeChanges } from './tree-changes.js'
import { TreeEdit } from './tree-edit.js'
import { mergeTrees } from './tree-merge.js'
import type { LibraryRows } from '../../catalog/catalog.js'
import type { CommitId, FsId, RepoId } from '../../ids.js'
import type { OpenLibrary, Publisher } from './publish.js'

/** What a merge found, and so did. `folder gone`: the origin, or the folder in it, is no more; nothing is done. */
export type VirtualMerge = 'equal' | 'virtual updated' | 'origin updated' | 'both updated' | 'folder gone'

type VirtualRow = NonNullable<LibraryRows['virtual']>

/** A merge of one library can make others of the same origin stale; beyond this somebody else keeps writing. */
const MERGES_PER_LIBRARY_MAX = 4

export class VirtualLibraries {
  readonly #publisher: Publisher
  /** Virtual library to origin, of the whole installation; read once, when first needed. */
  #origins: Promise<Map<RepoId, RepoId>> | undefined

  constructor(publisher: Publisher) {
    this.#publisher = publisher
  }

  /** Makes a library that was just created known as virtual. */
  async add(virtual: RepoId, origin: RepoId): Promise<void> {
    const origins = await this.#known()
    origins.set(virtual, origin)
  }

  /** Merges what a commit in `repo` makes stale: its origin, or its virtual libraries. */
  async propagate(repo: RepoId): Promise<void> {
    const origins = await this.#known()
    const origin = origins.get(repo)
    const family = [...origins].filter(([, of]) => of === (origin ?? repo)).map(([virtual]) => virtual)
    const stale = new Set(origin ? [repo] : family)
    for (let merges = 0; merges < family.length * MERGES_PER_LIBRARY_MAX; merges++) {
      const [virtual] = stale
      if (!virtual) return
      stale.delete(virtual)
      if (!(await this.#exists(virtual))) {
        origins.delete(virtual) // its owner deleted it since it was made known
        continue
      }
      const merge = await this.merge(virtual)
      if (merge !== 'origin updated' && merge !== 'both updated') continue
      for (const other of family) if (other !== virtual) stale.add(other)
    }
  }

  /** Brings a virtual library and its folder in the origin together. Rejects as `Publisher.publish` does. */
  async merge(virtual: RepoId): Promise<VirtualMerge> {
    const library = await this.#publisher.open(virtual)
    if (!library.rows.virtual) {
      throw new BackupError('BAD_REQUEST', `merge library ${short(virtual)}: it is not virtual`, { repo: virtual })
    }
    const { originRepo } = library.rows.virtual
    if (!(await this.#exists(originRepo))) return 'folder gone'
    const origin = await this.#publisher.open(originRepo)
    const row = await this.#follow(library, library.rows.virtual, origin)
    const folder = row && this.#folder(origin, origin.head.rootId, row.path)
    if (!row || folder === undefined) return 'folder gone'
    return this.#merge({ library, origin, row, folder })
  }

  async #merge(sides: Sides): Promise<VirtualMerge> {
    const { library, origin, folder } = sides
    const ours = library.head.rootId
    if (ours === folder) return 'equal'
    const base = this.#baseFolder(sides)
    if (base === ours) {
      await this.#updateVirtual(sides, folder)
      await this.#setBase(sides, origin.head.id)
      return 'virtual updated'
    }
    if (base === folder) {
      await this.#setBase(sides, await this.#updateOrigin(sides, ours))
      return 'origin updated'
    }
    const nowSeconds = Math.floor(this.#publisher.parts.now() / 1000)
    const { root } = mergeTrees(library.store, { base, ours: folder, theirs: ours }, nowSeconds)
    await this.#updateVirtual(sides, root)
    await this.#setBase(sides, await this.#updateOrigin(sides, root))
    return 'both updated'
  }

  /** Somebody who commits meanwhile is not overwritten: the next merge takes both in. */
  #updateVirtual({ library, origin }: Sides, root: FsId): Promise<CommitId> {
    return this.#publisher.publish(library.repo, {
      root: now => this.#mergeInto(now, library.head.rootId, now.head.rootId, root),
      description: (now, to) => this.#describe(now, to),
      creatorName: origin.head.creatorName ?? undefined,
    })
  }

  #updateOrigin({ library, origin, row, folder }: Sides, root: FsId): Promise<CommitId> {
    return this.#publisher.publish(origin.repo, {
      root: now => {
        const there = this.#folder(now, now.head.rootId, row.path)
        if (there === undefined) return now.head.rootId
        const mtime = Math.floor(this.#publisher.parts.now() / 1000)
        const edit = new TreeEdit(now.store, now.head.rootId, { mtime, modifier: library.head.creatorName ?? '' })
        edit.replaceDirectory(row.path, this.#mergeInto(now, folder, there, root))
        return edit.write()
      },
      description: (now, to) => this.#describe(now, to),
      creatorName: library.head.creatorName ?? undefined,
    })
  }

  /** `theirs` itself, unless `ours` has moved on from `base` since it was read. */
  #mergeInto({ store }: OpenLibrary, base: FsId, ours: FsId, theirs: FsId): FsId {
    const nowSeconds = Math.floor(this.#publisher.parts.now() / 1000)
    return mergeTrees(store, { base, ours, theirs }, nowSeconds).root
  }

  #describe(now: OpenLibrary, to: FsId): string {
    return describeTreeChanges(treeChanges(now.store, now.head.rootId, to)) ?? 'Auto merge by system'
  }

  async #setBase({ library, row }: Sides, baseCommit: CommitId): Promise<void> {
    const { catalog, signal } = this.#publisher.parts
    await catalog.updateVirtual(library.repo, { ...row, baseCommit }, signal)
  }

  #baseFolder({ library, origin, row }: Sides): FsId {
    const base = row.baseCommit && this.#publisher.commit(origin.repo, row.baseCommit).commit
    const folder = base ? this.#folder(origin, base.rootId, row.path) : undefined
    if (folder !== undefined) return folder
    const message = `merge library ${short(library.repo)}: its base commit has no folder ${JSON.stringify(row.path)}`
    throw new BackupError('OBJECT_MISSING', message, { repo: library.repo, baseCommit: row.baseCommit })
  }

  /** The row, with the path that the folder has now; undefined when it is gone. */
  async #follow(library: OpenLibrary, row: VirtualRow, origin: OpenLibrary): Promise<VirtualRow | undefined> {
    if (this.#folder(origin, origin.head.rootId, row.path) !== undefined) return row
    const path = row.baseCommit && this.#renamedTo(origin, row.baseCommit, row.path)
    if (!path) return undefined
    const { catalog, signal } = this.#publisher.parts
    const moved: VirtualRow = { ...row, path, baseCommit: origin.head.id }
    await catalog.updateVirtual(library.repo, moved, signal)
    const name = posix.basename(path)
    if (name !== posix.basename(row.path)) await this.#rename(library.repo, name)
    return moved
  }

  async #rename(repo: RepoId, repoName: string): Promise<void> {
    await this.#publisher.publish(repo, {
      root: now => now.head.rootId,
      description: () => 'Changed library name or description',
      attributes: { repoName, repoDesc: 'Changed library name' }, // the server's own words, in the description's place
    })
  }

  /** Where the folder, or one above it, went between two commits: the new directory with the old one's id. */
  #renamedTo(origin: OpenLibrary, baseCommit: CommitId, path: string): string | undefined {
    const base = this.#publisher.commit(origin.repo, baseCommit).commit.rootId
    const added = new Map<string, string>()
    for (const change of treeChanges(origin.store, base, origin.head.rootId)) {
      if (change.type === 'dir' && change.status === 'added') added.set(change.id, change.path)
    }
    for (let above = path; above !== '/'; above = posix.dirname(above)) {
      const id = this.#folder(origin, base, above)
      const to = id === undefined ? undefined : added.get(id)
      if (to !== undefined) return to + path.slice(above.length)
    }
    return undefined
  }

  #folder({ store }: OpenLibrary, root: FsId, path: string): FsId | undefined {
    return store.directories.directoryAt(store.storeId, root, path)
  }

  async #exists(repo: RepoId): Promise<boolean> {
    const { catalog, signal } = this.#publisher.parts
    return (await catalog.read(repo, signal)) !== undefined
  }

  #known(): Promise<Map<RepoId, RepoId>> {
    this.#origins ??= this.#readAll().catch((error: unknown) => {
      this.#origins = undefined // asked again by the next commit
      throw error
    })
    return this.#origins
  }

  /** The catalog has no question for it, and an installation has few virtual libraries: so every row is read, once. */
  async #readAll(): Promise<Map<RepoId, RepoId>> {
    const { catalog, signal } = this.#publisher.parts
    const origins = new Map<RepoId, RepoId>()
    for (const { repo } of await catalog.listing(signal)) {
      const virtual = (await catalog.read(repo, signal))?.rows.virtual
      if (virtual) origins.set(repo, virtual.originRepo)
    }
    return origins
  }
}

interface Sides {
  readonly library: OpenLibrary
  readonly origin: OpenLibrary
  readonly row: VirtualRow
  /** The origin's directory at the row's path. */
  readonly folder: FsId
}
