/**
 * Directories and files of a store, by id and by path.
 *
 * Reads what is on disk and verified, and fails with OBJECT_MISSING or
 * OBJECT_CORRUPT rather than give a tree with a gap: an edit of such a tree
 * would publish the damage. Directories that were read lately are kept, for
 * commits follow one another on the same paths; they are immutable, so what is
 * kept cannot be stale.
 */

import { BackupError } from '../../errors.js'
import { EMPTY_ID, short } from '../../ids.js'
import { isDirMode } from '../objects.js'
import type { FsId, RepoId } from '../../ids.js'
import type { DiskObjectReader } from '../../store/disk-object-store.js'
import type { Dirent } from '../objects.js'

/** Some 20 MB of entries: the paths that are being worked on, not whole libraries. */
const ENTRIES_KEPT_MAX = 100_000

export class Directories {
  readonly #reader: DiskObjectReader
  /** In order of last use. */
  readonly #kept = new Map<string, readonly Dirent[]>()
  #entriesKept = 0

  constructor(reader: DiskObjectReader) {
    this.#reader = reader
  }

  entries(storeId: RepoId, id: FsId): readonly Dirent[] {
    if (id === EMPTY_ID) return []
    const key = `${storeId}/${id}`
    const kept = this.#kept.get(key)
    const entries = kept ?? this.#read(storeId, id)
    if (kept) this.#kept.delete(key)
    else this.#entriesKept += entries.length
    this.#kept.set(key, entries)
    this.#dropOldest()
    return entries
  }

  /** The directory at `path` ('/a/b'; '/' is `root` itself); undefined when there is none. */
  directoryAt(storeId: RepoId, root: FsId, path: string): FsId | undefined {
    let id = root
    for (const name of path.split('/').filter(part => part !== '')) {
      const entry = this.entries(storeId, id).find(e => e.name === name)
      if (!entry || !isDirMode(entry.mode)) return undefined
      id = entry.id
    }
    return id
  }

  #read(storeId: RepoId, id: FsId): readonly Dirent[] {
    const read = this.#reader.read({ kind: 'fs', storeId, id })
    if (read.state === 'missing') throw unusable('OBJECT_MISSING', storeId, id, 'is missing')
    if (read.state !== 'whole') throw unusable('OBJECT_CORRUPT', storeId, id, read.why)
    const { object } = read
    if (object.is !== 'fs' || object.fs.type !== 'dir') throw unusable('OBJECT_CORRUPT', storeId, id, 'is no directory')
    return object.fs.entries
  }

  #dropOldest(): void {
    for (const [key, entries] of this.#kept) {
      if (this.#entriesKept <= ENTRIES_KEPT_MAX) return
      this.#kept.delete(key)
      this.#entriesKept -= entries.length
    }
  }
}

const unusable = (code: 'OBJECT_MISSING' | 'OBJECT_CORRUPT', storeId: RepoId, id: string, why: string): BackupError =>
  new BackupError(code, `read directory ${short(id)} of ${short(storeId)}: ${why}`, { kind: 'fs', storeId, id })
