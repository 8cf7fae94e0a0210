/**
 * Up to which commit of its origin a virtual library had been merged, at an instant.
 *
 * `VirtualRepo.base_commit` says it for now alone. With one that is too new, the
 * server's next merge takes what the virtual library lacks for deleted by its
 * users. So it is found: the newest head of the origin whose folder is exactly
 * what the virtual library then was; else the oldest that is known, with which a
 * merge finds all that happened since.
 */

import { isDirMode } from '../../shared/seafile/objects.js'
import type { LibraryRows } from '../../shared/catalog/catalog.js'
import type { CommitId, RepoId } from '../../shared/ids.js'
import type { Commit } from '../../shared/seafile/objects.js'
import type { DiskObjectReader } from '../../shared/store/disk-object-store.js'
import type { PastStates } from '../state/past-states.js'

/** Merges happen within seconds: what fits is among the newest. */
const HEADS_LOOKED_AT_MAX = 1_000

interface Parts {
  readonly past: PastStates
  readonly store: DiskObjectReader
}

export function baseOf(
  { past, store }: Parts,
  virtual: NonNullable<LibraryRows['virtual']>,
  { rootId }: Commit,
  at: number,
): CommitId | null {
  const { originRepo, path, baseCommit } = virtual
  const heads = past.headsUntil(originRepo, at, HEADS_LOOKED_AT_MAX)
  const fits = heads.find(({ head }) => folderOf(store, originRepo, head, path) === rootId)
  return (fits ?? heads.at(-1))?.head ?? baseCommit
}

/** The id of the directory at `path`; undefined: there is none. */
function folderOf(store: DiskObjectReader, repo: RepoId, head: CommitId, path: string): string | undefined {
  const read = store.read({ kind: 'commits', storeId: repo, id: head })
  let id: string | undefined =
    read.state === 'whole' && read.object.is === 'commit' ? read.object.commit.rootId : undefined
  for (const name of path.split('/').filter(part => part !== '')) {
    if (id === undefined) return undefined
    const dir = store.read({ kind: 'fs', storeId: repo, id })
    if (dir.state !== 'whole' || dir.object.is !== 'fs' || dir.object.fs.type !== 'dir') return undefined
    id = dir.object.fs.entries.find(entry => entry.name === name && isDirMode(entry.mode))?.id
  }
  return id
}
