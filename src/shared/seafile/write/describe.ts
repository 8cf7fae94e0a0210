/**
 * The sentence in a commit, in Seafile's own words: history pages and users know them.
 *
 * One form for what a user did in the browser, another (`describeTreeChanges`)
 * for what was found by comparing two trees, as clients and merges do.
 */

import { posix } from 'node:path'
import type { TreeChange } from './tree-changes.js'

/** What `describeChanges` must know of a change; `isDir` of what is or was at the path. */
export type DescribedChange =
  | { readonly op: 'put'; readonly path: string; readonly replaces: boolean }
  | { readonly op: 'mkdir'; readonly path: string }
  | { readonly op: 'remove'; readonly path: string; readonly isDir: boolean }
  | { readonly op: 'rename'; readonly path: string; readonly isDir: boolean; readonly moves: boolean }

/** Undefined when the browser has no single sentence for it: then the trees are compared. */
export function describeChanges(changes: readonly DescribedChange[]): string | undefined {
  const [first] = changes
  if (!first) return undefined
  const name = posix.basename(first.path)
  const more = changes.length - 1
  if (more === 0) return describeOne(first, name)
  if (changes.every(change => change.op === 'put' && !change.replaces)) return `Added "${name}" and ${more} more files.`
  if (changes.every(change => change.op === 'remove')) return `Deleted "${name}" and ${more} more files`
  return undefined
}

function describeOne(change: DescribedChange, name: string): string {
  switch (change.op) {
    case 'put':
      return change.replaces ? `Modified "${name}"` : `Added "${name}".`
    case 'mkdir':
      return `Added directory "${name}"`
    case 'remove':
      return change.isDir ? `Removed directory "${name}"` : `Deleted "${name}"`
    case 'rename':
      return `${change.moves ? 'Moved' : 'Renamed'} ${change.isDir ? 'directory ' : ''}"${name}"`
  }
}

/** Undefined when nothing differs. What came or went with its directory is not counted. */
export function describeTreeChanges(changes: Iterable<TreeChange>): string | undefined {
  const put: string[] = []
  const deleted: string[] = []
  const newDirs: string[] = []
  const removedDirs: string[] = []
  for (const { status, type, path, folded } of changes) {
    if (folded) continue
    const list = type === 'dir' ? (status === 'added' ? newDirs : removedDirs) : status === 'deleted' ? deleted : put
    list.push(posix.basename(path))
  }
  const text =
    line('Added or modified', 'Added or modified', put, 'files') +
    line('Deleted', 'Deleted', deleted, 'files') +
    line('Added directory', 'Added', newDirs, 'directories') +
    line('Removed directory', 'Removed', removedDirs, 'directories')
  return text || undefined
}

function line(one: string, many: string, [first, ...rest]: readonly string[], what: string): string {
  if (first === undefined) return ''
  return rest.length === 0 ? `${one} "${first}".\n` : `${many} "${first}" and ${rest.length} more ${what}.\n`
}
