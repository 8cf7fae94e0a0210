/**
 * One commit, from a changed tree to the rows: the order in which a Seafile server publishes.
 *
 * Everything that the commit refers to is on disk before the commit, and the
 * commit is durable before Branch names it; RepoInfo, RepoSize and RepoFileCount
 * follow and are only derived. Branch moves by compare-and-set: when somebody
 * else was quicker, the change is made again on the new head, so neither change
 * is lost. Within one process commits to a library queue up instead.
 */

import { isDeepStrictEqual } from 'node:util'
import { BackupError } from '../../errors.js'
import { EMPTY_ID, short } from '../../ids.js'
import { limit } from '../../limit.js'
import { backoffMs, sleep } from '../../timing.js'
import { encodeCommit, SERVER_CREATOR } from '../encode.js'
import { readEncryption } from './encrypt.js'
import { totalsAfter, treeChanges } from './tree-changes.js'
import type { CatalogWriter, LibraryRows } from '../../catalog/catalog.js'
import type { CommitId, FsId, RepoId } from '../../ids.js'
import type { DiskObjectReader } from '../../store/disk-object-store.js'
import type { CommitForm } from '../commit-id.js'
import type { CommitFields, Encryption } from '../encode.js'
import type { Commit } from '../objects.js'
import type { Directories } from './directories.js'
import type { ObjectWriter } from './object-writer.js'
import type { Totals } from './tree-changes.js'
import type { TreeStore } from './tree-edit.js'

/** The server's own bound. */
const ATTEMPTS_MAX = 10
const RETRY_DELAY_MS = { first: 5, max: 500 }
/** Commits of one second that say something else under the id we would use; each costs a second on the clock. */
const SAME_ID_MAX = 100
/** Of a library: 1 since 2013. */
const REPO_VERSION = 1

export interface PublishParts {
  readonly catalog: CatalogWriter
  readonly reader: DiskObjectReader
  readonly directories: Directories
  readonly writer: ObjectWriter
  /** Milliseconds since 1970. */
  readonly now: () => number
  readonly signal: AbortSignal
}

/** A library as it is now. */
export interface OpenLibrary {
  readonly repo: RepoId
  readonly rows: LibraryRows
  readonly head: Commit
  readonly encryption: Encryption | null
  readonly store: TreeStore
}

/** What to make of a library. */
export interface Revision {
  /** Stores the new tree and returns its root; asked again on the new head when another commit came first. */
  root(library: OpenLibrary): FsId
  description(library: OpenLibrary, root: FsId): string
  readonly creatorName?: string | undefined
  readonly form?: CommitForm | undefined
  /** Unix seconds; default: now. */
  readonly ctime?: number | undefined
  readonly attributes?: Partial<Pick<CommitFields, 'repoName' | 'repoDesc'>>
  /** The other side of a merge. */
  readonly secondParentId?: CommitId
  readonly conflict?: boolean
  /** The head that the revision is for; when it is another, HEAD_CONFLICT. */
  readonly expect?: CommitId
}

export class Publisher {
  readonly #parts: PublishParts
  readonly #turns = new Map<RepoId, ReturnType<typeof limit>>()

  constructor(parts: PublishParts) {
    this.#parts = parts
  }

  get parts(): PublishParts {
    return this.#parts
  }

  /** Rejects with LIBRARY_UNKNOWN, HEAD_MISSING, OBJECT_MISSING or OBJECT_CORRUPT. */
  async open(repo: RepoId): Promise<OpenLibrary> {
    const library = await this.#parts.catalog.read(repo, this.#parts.signal)
    if (!library) throw new BackupError('LIBRARY_UNKNOWN', `open library ${short(repo)}: no such library`, { repo })
    const { rows } = library
    if (!rows.head) throw new BackupError('HEAD_MISSING', `open library ${short(repo)}: no Branch row`, { repo })
    const { commit, encryption } = this.commit(repo, rows.head)
    return { repo, rows, head: commit, encryption, store: this.store(rows.virtual?.originRepo ?? repo) }
  }

  store(storeId: RepoId): TreeStore {
    return { directories: this.#parts.directories, writer: this.#parts.writer, storeId }
  }

  commit(repo: RepoId, id: CommitId): { commit: Commit; encryption: Encryption | null } {
    const read = this.#parts.reader.read({ kind: 'commits', storeId: repo, id })
    if (read.state === 'whole' && read.object.is === 'commit') {
      return { commit: read.object.commit, encryption: readEncryption(read.object.bytes) }
    }
    const why = read.state === 'whole' ? 'is no commit' : read.state === 'missing' ? 'is missing' : read.why
    const code = read.state === 'missing' ? 'OBJECT_MISSING' : 'OBJECT_CORRUPT'
    throw new BackupError(code, `read commit ${short(id)} of ${short(repo)}: ${why}`, { repo, id })
  }

  /**
   * Resolves to the new head once Branch and the rows after it are written; to the old one when the revision changes
   * nothing. Rejects with HEAD_CONFLICT when others kept being quicker.
   */
  publish(repo: RepoId, revision: Revision): Promise<CommitId> {
    let turn = this.#turns.get(repo)
    if (!turn) this.#turns.set(repo, (turn = limit(1)))
    return turn(() => this.#publish(repo, revision))
  }

  /** A commit that no branch names (yet), as a client uploads it before it asks for the head to move. */
  async storeCommit(library: OpenLibrary, revision: Revision, rootId: FsId): Promise<CommitFields & { id: CommitId }> {
    const { repo, head, encryption } = library
    const ctime = revision.ctime ?? Math.floor(this.#parts.now() / 1000)
    const fields: CommitFields = {
      repoId: repo,
      rootId,
      parentId: head.id,
      secondParentId: revision.secondParentId ?? null,
      creator: SERVER_CREATOR,
      creatorName: revision.creatorName ?? library.rows.owner,
      description: revision.description(library, rootId),
      ctime,
      repoName: head.repoName,
      repoDesc: head.repoDesc,
      encryption,
      newMerge: revision.secondParentId !== undefined,
      conflict: revision.conflict ?? false,
      ...revision.attributes,
    }
    for (let later = 0; later < SAME_ID_MAX; later++) {
      const dated = { ...fields, ctime: ctime + later }
      const { id, bytes } = encodeCommit(revision.form ?? 'c', dated)
      const taken = this.#parts.writer.has({ kind: 'commits', storeId: repo, id })
      if (!taken) await this.#parts.writer.putCommit(repo, id, bytes)
      if (!taken || this.#saysTheSame(id, dated)) return { ...dated, id }
    }
    throw new BackupError('INTERNAL', `commit to library ${short(repo)}: ${SAME_ID_MAX} ids are taken`, { repo })
  }

  /** RepoInfo, RepoSize and RepoFileCount for a commit that Branch names; `rows` and `from` are those of its parent. */
  async recordRows(rows: LibraryRows, from: FsId, commit: CommitFields & { id: CommitId }): Promise<void> {
    const { bytes, files } = this.#totals(rows, from, commit)
    const after = {
      info: infoRow(commit, rows.info),
      size: { bytes, head: commit.id },
      fileCount: files,
    }
    await this.#parts.catalog.updateAfterCommit(commit.repoId, after, this.#parts.signal)
  }

  async #publish(repo: RepoId, revision: Revision): Promise<CommitId> {
    const { catalog, signal } = this.#parts
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      if (attempt > 0) await sleep(backoffMs(attempt - 1, RETRY_DELAY_MS), signal)
      const library = await this.open(repo)
      const { head } = library
      if (revision.expect && revision.expect !== head.id) break
      const rootId = revision.root(library)
      if (rootId === head.rootId && !revision.attributes && !revision.secondParentId) return head.id
      const commit = await this.storeCommit(library, revision, rootId)
      if (await catalog.updateBranch(repo, head.id, commit.id, signal)) {
        await this.recordRows(library.rows, head.rootId, commit)
        return commit.id
      }
    }
    throw new BackupError('HEAD_CONFLICT', `commit to library ${short(repo)}: the head was moved by others`, { repo })
  }

  /** From the parent's figures when they are known, else by reading every directory. */
  #totals(rows: LibraryRows, from: FsId, { repoId, rootId, parentId }: CommitFields): Totals {
    const store = this.store(rows.virtual?.originRepo ?? repoId)
    const known = rows.size !== null && rows.size.head === parentId && rows.fileCount !== null
    const before = known ? { bytes: rows.size.bytes, files: rows.fileCount } : { bytes: 0, files: 0 }
    const changes = treeChanges(store, known ? from : (EMPTY_ID as FsId), rootId)
    return totalsAfter(changes, before)
  }

  /**
   * An id covers neither parents nor attributes, so in one second two commits can share it. As the server, we then let
   * the head go back to the commit that is there; but not when it would undo a rename or leave out a merge.
   */
  #saysTheSame(id: CommitId, fields: CommitFields): boolean {
    const { commit, encryption } = this.commit(fields.repoId, id)
    return (
      commit.repoName === fields.repoName &&
      commit.repoDesc === fields.repoDesc &&
      commit.secondParentId === fields.secondParentId &&
      isDeepStrictEqual(encryption, fields.encryption)
    )
  }
}

/** RepoInfo for a commit that becomes head; what is not in commits stays as it was. */
export const infoRow = (commit: CommitFields, before: LibraryRows['info']): NonNullable<LibraryRows['info']> => ({
  name: commit.repoName,
  updateTime: commit.ctime,
  version: REPO_VERSION,
  isEncrypted: commit.encryption ? 1 : 0,
  lastModifier: commit.creatorName,
  status: before?.status ?? 0,
  type: before?.type ?? null,
})
