/**
 * Libraries and commits, made as a Seafile server makes them.
 *
 * For whatever publishes on a primary: the demo, the tests, later features. What
 * it writes a Seafile server, seaf-fsck and seaf-gc take for their own. Branch
 * never names a commit before everything that commit refers to is on disk, and
 * a commit made on a stale head is made again on the new one
 * (write/publish.ts has the order). Never used on the backup's own copy.
 */

import { randomBytes } from 'node:crypto'
import { BackupError } from '../errors.js'
import { EMPTY_ID, parseRepoId, short } from '../ids.js'
import { DiskObjectReader } from '../store/disk-object-store.js'
import { encodeCommit, SERVER_CREATOR } from './encode.js'
import { applyChanges } from './write/changes.js'
import { describeChanges, describeTreeChanges } from './write/describe.js'
import { Directories } from './write/directories.js'
import { encryptionOfVirtual, newEncryption, openFileKey } from './write/encrypt.js'
import { ObjectWriter } from './write/object-writer.js'
import { infoRow, Publisher } from './write/publish.js'
import { storeFile } from './write/store-file.js'
import { treeChanges } from './write/tree-changes.js'
import { TreeEdit } from './write/tree-edit.js'
import { VirtualLibraries } from './write/virtual-libraries.js'
import type { CatalogWriter, LibraryRows } from '../catalog/catalog.js'
import type { CommitId, FsId, RepoId } from '../ids.js'
import type { CommitForm } from './commit-id.js'
import type { CommitFields, Encryption } from './encode.js'
import type { Change, StoredChange } from './write/changes.js'
import type { DescribedChange } from './write/describe.js'
import type { EncryptionVersion, FileKey, RandomBytes } from './write/encrypt.js'
import type { OpenLibrary, Revision } from './write/publish.js'
import type { TreeStore } from './write/tree-edit.js'
import type { VirtualMerge } from './write/virtual-libraries.js'

export type { Change } from './write/changes.js'

/** What Seafile calls `fixed_block_size`, and its default. */
const BLOCK_BYTES = 8 * 1024 * 1024

export interface LibraryWriterParts {
  /** seafile-data. */
  readonly dataDir: string
  readonly catalog: CatalogWriter
  /** Milliseconds since 1970. */
  readonly now?: () => number
  /** For library ids, salts and keys. */
  readonly random?: RandomBytes
  /** Bytes. */
  readonly fixedBlockSize?: number
  readonly signal?: AbortSignal
}

export interface NewLibrary {
  readonly name: string
  readonly owner: string
  readonly desc?: string
  readonly repo?: RepoId
  readonly encrypted?: { readonly password: string; readonly version: EncryptionVersion }
}

export interface NewVirtualLibrary {
  readonly origin: RepoId
  /** Of a directory in the origin, '/a/b'. */
  readonly path: string
  readonly name: string
  /** Default: the origin's owner. */
  readonly owner?: string
  readonly desc?: string
  readonly repo?: RepoId
  /** Of the origin, when that is encrypted. */
  readonly password?: string
}

export interface CommitOptions {
  /** Default: what Seafile would say. */
  readonly description?: string
  /** Default: the library's owner. */
  readonly creatorName?: string
  /** Which server's JSON and id algorithm; default `c`. */
  readonly clientForm?: CommitForm
  /** Unix seconds, for the commit and the entries that it changes; default: now. */
  readonly ctime?: number
  /** Whether virtual libraries (or the origin) are merged before it resolves; default true. */
  readonly propagate?: boolean
}

export class LibraryWriter {
  readonly #catalog: CatalogWriter
  readonly #now: () => number
  readonly #random: RandomBytes
  readonly #blockBytes: number
  readonly #signal: AbortSignal
  readonly #publisher: Publisher
  readonly #virtuals: VirtualLibraries
  readonly #fileKeys = new Map<RepoId, FileKey>()
  readonly #places = new Map<RepoId, Place>()

  constructor(parts: LibraryWriterParts) {
    this.#catalog = parts.catalog
    this.#now = parts.now ?? Date.now
    this.#random = parts.random ?? randomBytes
    this.#blockBytes = parts.fixedBlockSize ?? BLOCK_BYTES
    this.#signal = parts.signal ?? new AbortController().signal
    const reader = new DiskObjectReader(parts.dataDir)
    this.#publisher = new Publisher({
      catalog: parts.catalog,
      reader,
      directories: new Directories(reader),
      writer: new ObjectWriter(parts.dataDir),
      now: this.#now,
      signal: this.#signal,
    })
    this.#virtuals = new VirtualLibraries(this.#publisher)
  }

  /** An empty library with its first commit. An encrypted one is unlocked for this writer. */
  async createLibrary(library: NewLibrary): Promise<RepoId> {
    const repo = library.repo ?? this.#newRepoId()
    const encrypted = library.encrypted ? newEncryption(repo, library.encrypted, this.#random) : undefined
    const commit = this.#firstCommit(repo, library, { root: EMPTY_ID as FsId, description: 'Created library' })
    await this.#create({ ...commit, encryption: encrypted?.encryption ?? null }, library.owner, null)
    if (encrypted) this.#fileKeys.set(repo, encrypted.fileKey)
    return repo
  }

  /** A directory of `origin` as a library of its own. One of a virtual library belongs to that one's origin. */
  async createVirtualLibrary(library: NewVirtualLibrary): Promise<RepoId> {
    const via = await this.#publisher.open(library.origin)
    const { originRepo, path: above } = via.rows.virtual ?? { originRepo: via.repo, path: '' }
    const origin = via.rows.virtual ? await this.#publisher.open(originRepo) : via
    const names = library.path.split('/').filter(name => name !== '')
    const path = [above, ...names].join('/')
    const { directories, storeId } = origin.store
    const root = directories.directoryAt(storeId, origin.head.rootId, path)
    if (names.length === 0 || root === undefined)
      throw badRequest(origin.repo, `share ${JSON.stringify(path)}`, 'is no directory')

    const repo = library.repo ?? this.#newRepoId()
    const owner = library.owner ?? origin.rows.owner ?? ''
    const encryption = this.#encryptionOfVirtual(repo, origin, library.password)
    const commit = this.#firstCommit(repo, { ...library, owner }, { root, description: library.desc ?? '' })
    const virtual = { originRepo, path, baseCommit: origin.head.id }
    const rows = await this.#create({ ...commit, encryption }, owner, virtual)
    await this.#publisher.recordRows(rows, EMPTY_ID as FsId, { ...commit, encryption, id: rows.head })
    await this.#virtuals.add(repo, originRepo)
    return repo
  }

  /** Lets this writer write files in an encrypted library. Rejects with BAD_REQUEST when the password is wrong. */
  async unlock(repo: RepoId, password: string): Promise<void> {
    const { encryption } = await this.#publisher.open(repo)
    if (encryption) this.#fileKeys.set(repo, openFileKey(repo, encryption, password))
  }

  /**
   * Resolves to the new head once Branch and the rows after it are written; to the old one when nothing changes.
   * Rejects with BAD_REQUEST for a change that cannot be made, HEAD_CONFLICT when others kept being quicker; and when
   * a virtual library cannot be merged, in which case the commit itself is published.
   */
  async commit(repo: RepoId, changes: readonly Change[], options: CommitOptions = {}): Promise<CommitId> {
    const head = await this.#publisher.publish(repo, await this.#revision(repo, changes, options))
    if (options.propagate ?? true) await this.#virtuals.propagate(repo)
    return head
  }

  /** A commit on `parent` that no branch names, as a client uploads it: for `mergeCommit`. Default parent: the head. */
  async uploadCommit(
    repo: RepoId,
    changes: readonly Change[],
    options: CommitOptions & { readonly parent?: CommitId } = {},
  ): Promise<CommitId> {
    const library = await this.#publisher.open(repo)
    const head = options.parent ? this.#publisher.commit(repo, options.parent).commit : library.head
    const revision = await this.#revision(repo, changes, options)
    const onParent = { ...library, head }
    const { id } = await this.#publisher.storeCommit(onParent, revision, revision.root(onParent))
    return id
  }

  /** A commit with two parents; `changes` are made on `parent`, which must be the head, else HEAD_CONFLICT. */
  async mergeCommit(
    repo: RepoId,
    merge: { readonly parent: CommitId; readonly secondParent: CommitId; readonly changes: readonly Change[] },
    options: CommitOptions = {},
  ): Promise<CommitId> {
    const { commit: second } = this.#publisher.commit(repo, merge.secondParent)
    const described = { ...options, description: options.description ?? 'Auto merge by system' }
    const revision = await this.#revision(repo, merge.changes, described)
    const head = await this.#publisher.publish(repo, { ...revision, expect: merge.parent, secondParentId: second.id })
    if (options.propagate ?? true) await this.#virtuals.propagate(repo)
    return head
  }

  /** A commit with the same tree: a library's name and description are those of its head. */
  async renameLibrary(repo: RepoId, name: string, desc?: string): Promise<CommitId> {
    return this.#publisher.publish(repo, {
      root: library => library.head.rootId,
      description: () => 'Changed library name or description',
      attributes: { repoName: name, ...(desc === undefined ? {} : { repoDesc: desc }) },
    })
  }

  /** The server's background merge of a virtual library with its origin; `commit` calls it by itself. */
  syncVirtual(virtual: RepoId): Promise<VirtualMerge> {
    return this.#virtuals.merge(virtual)
  }

  /** Null: the library's own limit goes, the installation's default counts. */
  setHistory(repo: RepoId, history: { limitDays?: number | null; validSince?: number | null }): Promise<void> {
    return this.#catalog.setHistory(repo, history, this.#signal)
  }

  setOwner(repo: RepoId, owner: string): Promise<void> {
    return this.#catalog.setOwner(repo, owner, this.#signal)
  }

  /** Stores the files at once, for their content can be read but once; the tree is edited anew per attempt. */
  async #revision(repo: RepoId, changes: readonly Change[], options: CommitOptions): Promise<Revision> {
    const stored = await this.#storeFiles(repo, changes)
    let described: DescribedChange[] = []
    return {
      root: ({ rows, head, store }) => {
        const modifier = options.creatorName ?? rows.owner ?? ''
        const mtime = options.ctime ?? Math.floor(this.#now() / 1000)
        const edit = new TreeEdit(store, head.rootId, { mtime, modifier })
        described = applyChanges(edit, stored)
        return edit.write()
      },
      description: ({ head, store }, root) =>
        options.description ??
        describeChanges(described) ??
        describeTreeChanges(treeChanges(store, head.rootId, root)) ??
        'Auto merge by system',
      creatorName: options.creatorName,
      form: options.clientForm,
      ctime: options.ctime,
    }
  }

  async #storeFiles(repo: RepoId, changes: readonly Change[]): Promise<StoredChange[]> {
    const { store, encrypted } = await this.#placeOf(repo)
    const fileKey = this.#fileKeys.get(repo) ?? this.#fileKeys.get(store.storeId) ?? null
    const stored: StoredChange[] = []
    for (const change of changes) {
      if (change.op !== 'put') stored.push(change)
      else if (encrypted && !fileKey) throw badRequest(repo, `put ${JSON.stringify(change.path)}`, 'library is locked')
      else {
        const blocks = { blockBytes: this.#blockBytes, fileKey: encrypted ? fileKey : null }
        stored.push({ op: 'put', path: change.path, file: await storeFile(store, change.content, blocks) })
      }
    }
    return stored
  }

  async #placeOf(repo: RepoId): Promise<Place> {
    let place = this.#places.get(repo)
    if (!place) {
      const { store, encryption } = await this.#publisher.open(repo)
      this.#places.set(repo, (place = { store, encrypted: encryption !== null }))
    }
    return place
  }

  #firstCommit(
    repo: RepoId,
    library: { readonly name: string; readonly owner: string; readonly desc?: string },
    { root, description }: { readonly root: FsId; readonly description: string },
  ): CommitFields {
    return {
      repoId: repo,
      rootId: root,
      parentId: null,
      secondParentId: null,
      creator: SERVER_CREATOR,
      creatorName: library.owner,
      description,
      ctime: Math.floor(this.#now() / 1000),
      repoName: library.name,
      repoDesc: library.desc ?? '',
      encryption: null,
    }
  }

  /** The commit, then the rows; sizes come later, as with the server. */
  async #create(fields: CommitFields, owner: string, virtual: LibraryRows['virtual']): Promise<CreatedRows> {
    const { id, bytes } = encodeCommit('c', fields)
    await this.#publisher.parts.writer.putCommit(fields.repoId, id, bytes)
    const rows = {
      repo: fields.repoId,
      head: id,
      branchName: 'master',
      virtual,
      owner,
      info: infoRow(fields, null),
      size: null,
      fileCount: null,
      historyLimitDays: null,
      validSince: null,
    }
    await this.#catalog.createLibrary(rows, this.#signal)
    return rows
  }

  #encryptionOfVirtual(repo: RepoId, origin: OpenLibrary, password: string | undefined): Encryption | null {
    if (!origin.encryption) return null
    if (password === undefined) throw badRequest(origin.repo, 'share a folder', 'the library needs its password')
    this.#fileKeys.set(repo, openFileKey(origin.repo, origin.encryption, password))
    return encryptionOfVirtual(repo, origin.encryption, password)
  }

  /** A version 4 UUID. */
  #newRepoId(): RepoId {
    const bytes = this.#random(16)
    bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40
    bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
    return parseRepoId(bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'))
  }
}

/** What never changes in the life of a library. */
interface Place {
  readonly store: TreeStore
  readonly encrypted: boolean
}

type CreatedRows = LibraryRows & { readonly head: CommitId }

const badRequest = (repo: RepoId, operation: string, why: string): BackupError =>
  new BackupError('BAD_REQUEST', `${operation} in library ${short(repo)}: ${why}`, { repo })
