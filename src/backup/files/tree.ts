/** Names in a library: what is at a path, what is below it. Paths begin with a slash; names are compared byte for byte. */

import { BackupError } from '../../shared/errors.js'
import { EMPTY_ID } from '../../shared/ids.js'
import { isDirMode, isFileMode } from '../../shared/seafile/objects.js'
import type { Dirent, FsObject } from '../../shared/seafile/objects.js'
import type { LibraryAt } from './library-at.js'

export interface Entry {
  /** Without a slash at the end, but for the root. */
  readonly path: string
  readonly name: string
  readonly kind: 'dir' | 'file'
  readonly id: string
  /** Of a file, in bytes of its plain text, as its directory says; null: a directory, or not said. */
  readonly size: number | null
  /** Unix seconds; null: not known. */
  readonly mtime: number | null
  readonly isExecutable: boolean
}

const EXECUTABLE = 0o111

export const rootOf = ({ commit }: LibraryAt): Entry => ({
  path: '/',
  name: '',
  kind: 'dir',
  id: commit.rootId,
  size: null,
  mtime: commit.ctime,
  isExecutable: false,
})

/** @throws BackupError PATH_UNKNOWN; OBJECT_MISSING, OBJECT_CORRUPT of a directory on the way */
export function entryAt(library: LibraryAt, path: string): Entry {
  let entry = rootOf(library)
  for (const name of path.split('/').filter(part => part !== '')) {
    const next = entry.kind === 'dir' ? entriesOf(library, entry).find(child => child.name === name) : undefined
    if (!next) {
      const nextStep = `see what is there: seaf-backup-cmd ls ${library.repo} ${JSON.stringify(entry.path)}`
      const what = entry.kind === 'dir' ? `${entry.path} has no ${name}` : `${entry.path} is a file`
      throw new BackupError('PATH_UNKNOWN', `find ${path} in library ${library.repo}: ${what}`, { nextStep })
    }
    entry = next
  }
  return entry
}

/** As Seafile shows them: by name. Entries that are neither directory nor file nobody can read. */
export function entriesOf(library: LibraryAt, dir: Entry): Entry[] {
  if (dir.id === EMPTY_ID) return []
  const fs = library.fs(dir.id, dir.path)
  if (fs.type !== 'dir') throw otherKind(library, dir, 'directory')
  return fs.entries
    .filter(({ mode }) => isDirMode(mode) || isFileMode(mode))
    .map(dirent => entryOf(dir.path, dirent))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

function entryOf(parent: string, { name, id, mode, mtime, size }: Dirent): Entry {
  const isDir = isDirMode(mode)
  return {
    path: parent === '/' ? `/${name}` : `${parent}/${name}`,
    name,
    kind: isDir ? 'dir' : 'file',
    id,
    size: !isDir && Number.isSafeInteger(size) ? (size as number) : isDir || id !== EMPTY_ID ? null : 0,
    mtime: Number.isSafeInteger(mtime) ? mtime : null,
    isExecutable: !isDir && (mode & EXECUTABLE) !== 0,
  }
}

/** Everything below, parents first; one directory at a time is in memory on each level. */
export function* below(library: LibraryAt, dir: Entry): Generator<Entry, void, undefined> {
  const levels = [entriesOf(library, dir).values()] // a tree may be deeper than any stack
  for (let level = levels.at(-1); level; level = levels.at(-1)) {
    const { value: entry, done } = level.next()
    if (done) levels.pop()
    else {
      yield entry
      if (entry.kind === 'dir') levels.push(entriesOf(library, entry).values())
    }
  }
}

export function fileOf(library: LibraryAt, entry: Entry): FsObject & { readonly type: 'file' } {
  if (entry.id === EMPTY_ID) return { type: 'file', size: 0, blocks: [] }
  const fs = library.fs(entry.id, entry.path)
  if (fs.type !== 'file') throw otherKind(library, entry, 'file')
  return fs
}

const otherKind = ({ repo }: LibraryAt, { path }: Entry, kind: string): BackupError =>
  new BackupError('OBJECT_CORRUPT', `read ${path} of library ${repo}: what is there is no ${kind}`)
