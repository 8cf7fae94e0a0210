/**
 * What differs between two trees of one store: for the sentence in a commit, and for size and file count.
 *
 * Only directories whose ids differ are read.
 */

import { EMPTY_ID } from '../../ids.js'
import { isDirMode, isFileMode } from '../objects.js'
import type { FsId, RepoId } from '../../ids.js'
import type { Dirent } from '../objects.js'
import type { Directories } from './directories.js'

export interface TreeChange {
  readonly status: 'added' | 'modified' | 'deleted'
  readonly type: 'dir' | 'file'
  /** From the root, '/a/b'. */
  readonly path: string
  /** Of the entry as it is now, or was when deleted. */
  readonly id: FsId
  /** How much the library's logical size grows by this change alone. */
  readonly bytes: number
  /** It is below a directory that was added or deleted with it. */
  readonly folded: boolean
}

/** Directories before what is in them. A directory that is only different inside is no change of its own. */
export function* treeChanges(
  trees: { readonly directories: Directories; readonly storeId: RepoId },
  from: FsId,
  to: FsId,
  at: { readonly path: string; readonly folded: boolean } = { path: '', folded: false },
): Generator<TreeChange> {
  if (from === to) return
  const before = new Map(counted(from).map(entry => [entry.name, entry]))
  for (const now of counted(to)) {
    const old = before.get(now.name)
    before.delete(now.name)
    if (old && isDirMode(old.mode) === isDirMode(now.mode)) yield* changed(old, now)
    else {
      if (old) yield* whole('deleted', old)
      yield* whole('added', now)
    }
  }
  for (const old of before.values()) yield* whole('deleted', old)

  /** The server ignores entries of other kinds. */
  function counted(id: FsId): Dirent[] {
    return trees.directories.entries(trees.storeId, id).filter(({ mode }) => isDirMode(mode) || isFileMode(mode))
  }

  function* changed(old: Dirent, now: Dirent): Generator<TreeChange> {
    const path = `${at.path}/${now.name}`
    if (isDirMode(now.mode)) yield* treeChanges(trees, old.id, now.id, { path, folded: at.folded })
    else if (old.id !== now.id) {
      const bytes = (now.size ?? 0) - (old.size ?? 0)
      yield { status: 'modified', type: 'file', path, id: now.id, bytes, folded: at.folded }
    }
  }

  function* whole(status: 'added' | 'deleted', entry: Dirent): Generator<TreeChange> {
    const { id } = entry
    const path = `${at.path}/${entry.name}`
    if (isDirMode(entry.mode)) {
      yield { status, type: 'dir', path, id, bytes: 0, folded: at.folded }
      const [a, b] = status === 'added' ? [EMPTY_ID as FsId, id] : [id, EMPTY_ID as FsId]
      yield* treeChanges(trees, a, b, { path, folded: true })
    } else {
      const size = entry.size ?? 0
      yield { status, type: 'file', path, id, bytes: status === 'added' ? size : -size, folded: at.folded }
    }
  }
}

/** RepoSize and RepoFileCount: plain-text bytes and files of the latest state, each path counted. */
export interface Totals {
  readonly bytes: number
  readonly files: number
}

export function totalsAfter(changes: Iterable<TreeChange>, before: Totals): Totals {
  let { bytes, files } = before
  for (const change of changes) {
    bytes += change.bytes
    if (change.type === 'file' && change.status !== 'modified') files += change.status === 'added' ? 1 : -1
  }
  return { bytes, files }
}
