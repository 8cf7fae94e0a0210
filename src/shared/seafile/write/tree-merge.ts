/**
 * Two trees that grew from one, made into one again, as Seafile merges concurrent edits.
 *
 * Whoever changed something alone wins; a file edited on both sides is kept
 * twice, the other side's under a conflict name; what was edited on one side
 * and deleted on the other stays. Nothing is ever lost by a merge.
 */

import { EMPTY_ID } from '../../ids.js'
import { byNameDescending } from '../encode.js'
import { isDirMode } from '../objects.js'
import type { FsId } from '../../ids.js'
import type { Dirent } from '../objects.js'
import type { TreeStore } from './tree-edit.js'

export interface ThreeTrees {
  readonly base: FsId
  /** Keeps its names when both sides edited a file. */
  readonly ours: FsId
  readonly theirs: FsId
}

export interface Merged {
  readonly root: FsId
  /** Some file is there twice now. */
  readonly conflict: boolean
}

/** `nowSeconds` goes into conflict names. The merged directories are in the store when it returns. */
export function mergeTrees(store: TreeStore, trees: ThreeTrees, nowSeconds: number): Merged {
  let conflict = false
  return { root: mergeDirectory(trees), conflict }

  function mergeDirectory({ base, ours, theirs }: ThreeTrees): FsId {
    if (ours === theirs || base === theirs) return ours
    if (base === ours) return theirs
    const [b, o, t] = [base, ours, theirs].map(id => byName(id)) as [Names, Names, Names]
    const entries: Dirent[] = []
    const names = new Set([...o.keys(), ...t.keys()])
    for (const name of [...names]) entries.push(...mergeEntry(b.get(name), o.get(name), t.get(name), names))
    return store.writer.putFs(store.storeId, { type: 'dir', entries: entries.sort(byNameDescending) })
  }

  function mergeEntry(base: Maybe, ours: Maybe, theirs: Maybe, taken: Set<string>): Dirent[] {
    if (same(ours, theirs) || same(base, theirs)) return listed(ours)
    if (same(base, ours)) return listed(theirs)
    if (!ours || !theirs) return [...listed(ours), ...listed(theirs)]
    if (isDirMode(ours.mode) && isDirMode(theirs.mode)) {
      const baseDir = base && isDirMode(base.mode) ? base.id : (EMPTY_ID as FsId)
      const id = mergeDirectory({ base: baseDir, ours: ours.id, theirs: theirs.id })
      return [{ ...ours, id, mtime: Math.max(ours.mtime, theirs.mtime) }]
    }
    conflict = true
    const name = conflictName(theirs, nowSeconds, taken)
    taken.add(name)
    return [ours, { ...theirs, name }]
  }

  function byName(id: FsId): Names {
    return new Map(store.directories.entries(store.storeId, id).map(entry => [entry.name, entry]))
  }
}

type Names = ReadonlyMap<string, Dirent>
type Maybe = Dirent | undefined

const listed = (entry: Dirent | undefined): Dirent[] => (entry ? [entry] : [])

/** Times do not count: the server stamps a directory anew whenever it copies it. */
const same = (a: Dirent | undefined, b: Dirent | undefined): boolean =>
  a === b || (a !== undefined && b !== undefined && a.id === b.id && a.mode === b.mode)

/** "report (SFConflict user 2026-11-20-19-52-37).txt", in UTC; numbered when that is taken. */
function conflictName(entry: Dirent, nowSeconds: number, taken: ReadonlySet<string>): string {
  const when = new Date(nowSeconds * 1000).toISOString().slice(0, 19).replace(/[T:]/g, '-')
  const dot = entry.name.lastIndexOf('.')
  const [stem, extension] = dot > 0 ? [entry.name.slice(0, dot), entry.name.slice(dot)] : [entry.name, '']
  const marked = `${stem} (SFConflict ${entry.modifier ? `${entry.modifier} ` : ''}${when})`
  let name = marked + extension
  for (let n = 1; taken.has(name); n++) name = `${marked} (${n})${extension}`
  return name
}
