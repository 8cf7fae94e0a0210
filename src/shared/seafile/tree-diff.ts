/**
 * What is new in a directory or a file against the same path of a tree that is known to be whole.
 *
 * Both sides of the wire use it: the primary to choose what it sends, the
 * backup to know what must arrive. They need not agree for the result to be
 * right: what the backup expects and does not get, it asks for.
 */

import { EMPTY_ID } from '../ids.js'
import { isDirMode, isFileMode } from './objects.js'
import type { Dirent, FsObject } from './objects.js'

export interface NewEntry {
  readonly id: string
  readonly kind: 'dir' | 'file'
  /** What stands under the same name in the base, when it is of the same kind. */
  readonly base: string | null
}

const kindOf = (entry: Dirent): 'dir' | 'file' | undefined =>
  isDirMode(entry.mode) ? 'dir' : isFileMode(entry.mode) ? 'file' : undefined

/** Entries of `dir` that need an object and are not in `base` under the same name. Entries of other modes are no one's business. */
export function newEntries(dir: FsObject & { type: 'dir' }, base: FsObject | undefined): NewEntry[] {
  const before = new Map<string, Dirent>()
  if (base?.type === 'dir') for (const entry of base.entries) before.set(entry.name, entry)
  const result: NewEntry[] = []
  for (const entry of dir.entries) {
    const kind = kindOf(entry)
    if (!kind || entry.id === EMPTY_ID) continue
    const same = before.get(entry.name)
    const comparable = same && kindOf(same) === kind && same.id !== EMPTY_ID
    if (comparable && same.id === entry.id) continue
    result.push({ id: entry.id, kind, base: comparable ? same.id : null })
  }
  return result
}

/** Blocks of `file` that `base` does not have, each once, in the order of the file. */
export function newBlocks(file: FsObject & { type: 'file' }, base: FsObject | undefined): string[] {
  const known = new Set<string>(base?.type === 'file' ? base.blocks : [])
  const result: string[] = []
  for (const block of file.blocks) {
    if (known.has(block)) continue
    known.add(block)
    result.push(block)
  }
  return result
}
