/**
 * A tree with some paths changed: only the directories on those paths are read and written again.
 *
 * Nothing is written before `write`, which goes bottom-up as the server does, so
 * that a directory is on disk before one that names it. A directory whose
 * content changed gets the time of the change in its parent's entry.
 */

import { BackupError } from '../../errors.js'
import { EMPTY_ID } from '../../ids.js'
import { byNameDescending } from '../encode.js'
import { isDirMode } from '../objects.js'
import type { FsId, RepoId } from '../../ids.js'
import type { Dirent } from '../objects.js'
import type { Directories } from './directories.js'
import type { ObjectWriter } from './object-writer.js'

export const DIR_MODE = 0o040000
export const FILE_MODE = 0o100644
/** What Linux and Seafile's clients allow. */
const NAME_BYTES_MAX = 255

export interface TreeStore {
  readonly directories: Directories
  readonly writer: ObjectWriter
  readonly storeId: RepoId
}

/** A file whose blocks and fs object are stored already. */
export interface StoredFile {
  readonly id: FsId
  /** Bytes of plain text. */
  readonly size: number
}

/** What stands under names in one directory of the edited tree. */
interface Folder {
  readonly entries: Map<string, Dirent>
  /** Sub-directories that were looked into. */
  readonly opened: Map<string, Folder>
  changed: boolean
}

export class TreeEdit {
  readonly #store: TreeStore
  readonly #root: FsId
  readonly #top: Folder
  /** Unix seconds and user name for the entries that change. */
  readonly #stamp: { readonly mtime: number; readonly modifier: string }

  constructor(store: TreeStore, root: FsId, stamp: { readonly mtime: number; readonly modifier: string }) {
    this.#store = store
    this.#root = root
    this.#top = this.#load(root)
    this.#stamp = stamp
  }

  /** Adds or replaces a file; makes the directories above it. */
  putFile(path: string, file: StoredFile): void {
    const { folder, name } = this.#parent(path, true)
    const old = folder.entries.get(name)
    if (old && isDirMode(old.mode)) throw refused('put', path, 'is a directory')
    folder.entries.set(name, { ...file, ...this.#stamp, name, mode: old?.mode ?? FILE_MODE })
  }

  /** Makes a directory and those above it; one that is there already stays as it is. */
  makeDirectory(path: string): void {
    const { folder, name } = this.#parent(path, true)
    const old = folder.entries.get(name)
    if (old && !isDirMode(old.mode)) throw refused('mkdir', path, 'is a file')
    if (!old) folder.entries.set(name, this.#dirent(name, EMPTY_ID as FsId))
  }

  /** What is not there need not be removed: as the server, which meets this when two users delete the same file. */
  remove(path: string): void {
    if (!this.find(path)) return
    const { folder, name } = this.#parent(path, false)
    folder.entries.delete(name)
    folder.opened.delete(name)
  }

  rename(from: string, to: string): void {
    const entry = this.find(from)
    if (!entry) throw refused('rename', from, 'does not exist')
    if (this.find(to)) throw refused('rename', to, 'exists already')
    if (to.startsWith(`${from}/`)) throw refused('rename', to, 'is inside what is renamed')
    const source = this.#parent(from, false)
    const opened = source.folder.opened.get(source.name)
    source.folder.entries.delete(source.name)
    source.folder.opened.delete(source.name)
    const target = this.#parent(to, true)
    target.folder.entries.set(target.name, { ...entry, name: target.name })
    if (opened) target.folder.opened.set(target.name, opened)
  }

  /** Puts a whole directory, which is in the store, in the place of the one at `path`. */
  replaceDirectory(path: string, id: FsId): void {
    const { folder, name } = this.#parent(path, false)
    folder.opened.delete(name)
    folder.entries.set(name, this.#dirent(name, id))
  }

  /** The entry at `path`; undefined when there is none. An edited directory's entry still has its old id. */
  find(path: string): Dirent | undefined {
    const names = split(path)
    let folder: Folder | undefined = this.#top
    for (const name of names.slice(0, -1)) {
      folder = this.#open(folder, name)
      if (!folder) return undefined
    }
    return folder.entries.get(names.at(-1) as string)
  }

  /** Writes the changed directories. Returns the root's id, which is the old one when nothing changed. */
  write(): FsId {
    return this.#write(this.#top) ?? this.#root
  }

  #write(folder: Folder): FsId | undefined {
    for (const [name, child] of folder.opened) {
      const id = this.#write(child)
      const entry = folder.entries.get(name)
      if (id === undefined || !entry || entry.id === id) continue
      folder.entries.set(name, { ...entry, id, mtime: this.#stamp.mtime })
      folder.changed = true
    }
    if (!folder.changed) return undefined
    const entries = [...folder.entries.values()].sort(byNameDescending)
    return this.#store.writer.putFs(this.#store.storeId, { type: 'dir', entries })
  }

  /** The folder that holds the last name of `path`, about to be changed. */
  #parent(path: string, make: boolean): { folder: Folder; name: string } {
    const names = split(path)
    const name = names.pop() as string
    let folder = this.#top
    for (const part of names) {
      const child = this.#open(folder, part) ?? (make ? this.#make(folder, part, path) : undefined)
      if (!child) throw refused('open', path, 'its directory does not exist')
      folder = child
    }
    folder.changed = true
    return { folder, name }
  }

  #make(folder: Folder, name: string, path: string): Folder {
    if (folder.entries.has(name)) throw refused('open', path, `${name} is a file`)
    const child: Folder = { entries: new Map(), opened: new Map(), changed: true }
    folder.entries.set(name, this.#dirent(name, EMPTY_ID as FsId))
    folder.opened.set(name, child)
    folder.changed = true
    return child
  }

  /** Undefined when there is no directory of that name. */
  #open(folder: Folder, name: string): Folder | undefined {
    const entry = folder.entries.get(name)
    if (!entry || !isDirMode(entry.mode)) return undefined
    let child = folder.opened.get(name)
    if (!child) {
      child = this.#load(entry.id)
      folder.opened.set(name, child)
    }
    return child
  }

  #load(id: FsId): Folder {
    const { directories, storeId } = this.#store
    const entries = new Map(directories.entries(storeId, id).map(entry => [entry.name, entry]))
    return { entries, opened: new Map(), changed: false }
  }

  #dirent(name: string, id: FsId): Dirent {
    return { id, name, mode: DIR_MODE, mtime: this.#stamp.mtime }
  }
}

/** '/a/b' into its names. Throws BAD_REQUEST for what no Seafile server would take as a path. */
function split(path: string): string[] {
  const [empty, ...names] = path.split('/')
  const fine = empty === '' && names.length > 0 && path.isWellFormed() && names.every(isName)
  if (!fine) throw refused('open', path, 'is not a path')
  return names
}

const isName = (name: string): boolean =>
  name !== '' &&
  name !== '.' &&
  name !== '..' &&
  !name.includes('\0') &&
  Buffer.byteLength(name, 'utf8') <= NAME_BYTES_MAX

const refused = (operation: string, path: string, why: string): BackupError =>
  new BackupError('BAD_REQUEST', `${operation} ${JSON.stringify(path)}: ${why}`, { path })
