/**
 * What the bytes of a commit and of an fs object say.
 *
 * Read-only and bounded: everything here may come from a damaged disk or from
 * a stranger. Only the fields that a replica needs are looked at, unknown ones
 * are ignored, and bytes are never written again from what was parsed here
 * (objects are copied verbatim). Facts: Seafile's common/commit-mgr.c and
 * common/fs-mgr.c; version 1 objects only, as any server since 2013 writes.
 */

import { EMPTY_ID, isObjectId, parseCommitId, parseFsId, parseRepoId, shown as shownUpTo } from '../ids.js'
import type { BlockId, CommitId, FsId, RepoId } from '../ids.js'

export interface Commit {
  readonly id: CommitId
  readonly repoId: RepoId
  /** The root directory; `EMPTY_ID` when the library is empty. */
  readonly rootId: FsId
  readonly parentId: CommitId | null
  readonly secondParentId: CommitId | null
  /** Unix seconds, by the clock of whoever made the commit. */
  readonly ctime: number
  /** 40 hex characters: a device's id, or zeros for the server itself. */
  readonly creator: string
  readonly creatorName: string | null
  readonly description: string
  readonly repoName: string
  readonly repoDesc: string
  readonly encrypted: boolean
}

export interface Dirent {
  readonly name: string
  /** `EMPTY_ID` for an empty file or directory. */
  readonly id: FsId
  readonly mode: number
  readonly mtime: number
  readonly modifier?: string
  readonly size?: number
}

export type FsObject =
  | { readonly type: 'dir'; readonly entries: readonly Dirent[] }
  /** `size` is that of the plain text, in bytes. */
  | { readonly type: 'file'; readonly size: number; readonly blocks: readonly BlockId[] }

const TYPE_MASK = 0o170000

/** The server descends by these two and ignores every other kind of entry. */
export const isDirMode = (mode: number): boolean => (mode & TYPE_MASK) === 0o040000
export const isFileMode = (mode: number): boolean => (mode & TYPE_MASK) === 0o100000

/** Throws an Error saying what is wrong when the bytes are no commit, or another commit than `id`. */
export function parseCommit(id: string, bytes: Uint8Array): Commit {
  const json = parseJson(bytes)
  if (json['commit_id'] !== id) throw new Error(`holds commit ${shown(json['commit_id'])}`)
  return {
    id: parseCommitId(id),
    repoId: parseRepoId(json['repo_id']),
    rootId: parseFsId(json['root_id']),
    parentId: parent(json['parent_id']),
    secondParentId: parent(json['second_parent_id']),
    ctime: integer(json['ctime'], 'ctime'),
    creator: text(json['creator']),
    creatorName: typeof json['creator_name'] === 'string' ? json['creator_name'] : null,
    description: text(json['description']),
    repoName: text(json['repo_name']),
    repoDesc: text(json['repo_desc']),
    // C writes "true" or nothing, Go writes "true" or "false": a string either way
    encrypted: json['encrypted'] === 'true' || json['encrypted'] === true,
  }
}

/** `json` is the inflated object. Throws an Error saying what is wrong. */
export function parseFs(json: Uint8Array): FsObject {
  const object = parseJson(json)
  switch (object['type']) {
    case 3:
      return { type: 'dir', entries: list(object['dirents'], 'dirents').map(dirent) }
    case 1:
      return {
        type: 'file',
        size: integer(object['size'], 'size'),
        blocks: list(object['block_ids'], 'block_ids').map(blockId),
      }
    default:
      throw new Error(`has type ${shown(object['type'])}, which is neither file (1) nor directory (3)`)
  }
}

function dirent(value: unknown): Dirent {
  if (typeof value !== 'object' || value === null) throw new Error('has an entry that is no object')
  const entry = value as Record<string, unknown>
  if (typeof entry['name'] !== 'string') throw new Error('has an entry without a name')
  if (!isObjectId(entry['id'])) throw new Error(`entry ${shown(entry['name'])} has no well-formed id`)
  if (typeof entry['mode'] !== 'number') throw new Error(`entry ${shown(entry['name'])} has no mode`)
  return entry as unknown as Dirent
}

function blockId(value: unknown): BlockId {
  if (!isObjectId(value) || value === EMPTY_ID) throw new Error(`names a block ${shown(value)}`)
  return value as BlockId
}

function parseJson(bytes: Uint8Array): Record<string, unknown> {
  if (bytes.byteLength === 0) throw new Error('is empty')
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'))
  } catch {
    throw new Error('is not JSON') // the parser's own message quotes the file's content: not for a log
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('is no JSON object')
  return value as Record<string, unknown>
}

const parent = (value: unknown): CommitId | null =>
  value === null || value === undefined || value === '' ? null : parseCommitId(value)

const text = (value: unknown): string => (typeof value === 'string' ? value : '')

function integer(value: unknown, name: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw new Error(`has ${name} ${shown(value)}`)
  return value
}

function list(value: unknown, name: string): unknown[] {
  if (!Array.isArray(value)) throw new Error(`has no list of ${name}`)
  return value
}

const shown = (value: unknown): string => shownUpTo(value, 60)
