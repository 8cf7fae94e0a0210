/** What a user does in one commit. */

import { posix } from 'node:path'
import { isDirMode } from '../objects.js'
import type { DescribedChange } from './describe.js'
import type { FileContent } from './store-file.js'
import type { StoredFile, TreeEdit } from './tree-edit.js'

/** Paths are absolute in the library. `put` and `mkdir` make the directories above. */
export type Change =
  | { readonly op: 'put'; readonly path: string; readonly content: FileContent }
  | { readonly op: 'mkdir'; readonly path: string }
  | { readonly op: 'remove'; readonly path: string }
  | { readonly op: 'rename'; readonly from: string; readonly to: string }

/** A change whose content is in the store already. */
export type StoredChange =
  Exclude<Change, { op: 'put' }> | { readonly op: 'put'; readonly path: string; readonly file: StoredFile }

/** In order, each on what the ones before it left. Returns what is to be said of them. */
export function applyChanges(edit: TreeEdit, changes: readonly StoredChange[]): DescribedChange[] {
  return changes.map(change => {
    const described = describe(edit, change)
    apply(edit, change)
    return described
  })
}

function apply(edit: TreeEdit, change: StoredChange): void {
  switch (change.op) {
    case 'put':
      return edit.putFile(change.path, change.file)
    case 'mkdir':
      return edit.makeDirectory(change.path)
    case 'remove':
      return edit.remove(change.path)
    case 'rename':
      return edit.rename(change.from, change.to)
  }
}

function describe(edit: TreeEdit, change: StoredChange): DescribedChange {
  const path = change.op === 'rename' ? change.from : change.path
  const old = edit.find(path)
  const isDir = old !== undefined && isDirMode(old.mode)
  switch (change.op) {
    case 'put':
      return { op: 'put', path, replaces: old !== undefined }
    case 'mkdir':
      return { op: 'mkdir', path }
    case 'remove':
      return { op: 'remove', path, isDir }
    case 'rename':
      return { op: 'rename', path, isDir, moves: posix.dirname(path) !== posix.dirname(change.to) }
  }
}
