/**
 * Objects as Seafile's servers write them, byte for byte (the deflate stream aside, which differs between zlibs).
 *
 * The counterpart of objects.ts, for commits and trees that we make ourselves.
 * What somebody else wrote is copied, never decoded and encoded again. Both
 * servers write fs objects alike: keys sorted, `", "` and `": "` between, raw
 * UTF-8. Commits differ: jansson's key order and spaces in C, compact JSON with
 * HTML-safe escapes in Go.
 */

import { hash } from 'node:crypto'
import { deflateSync } from 'node:zlib'
import { EMPTY_ID } from '../ids.js'
import { commitId } from './commit-id.js'
import { isFileMode } from './objects.js'
import type { CommitForm } from './commit-id.js'
import type { Dirent, FsObject } from './objects.js'
import type { CommitId, FsId, RepoId } from '../ids.js'

/** What seafile-server hands to zlib. */
const DEFLATE_LEVEL = 6
/** The creator of a commit that the server itself made. */
export const SERVER_CREATOR = '0'.repeat(40)

/** How an encrypted library's key is wrapped; hex throughout. Null: not in the commit. */
export interface Encryption {
  readonly version: number
  readonly magic: string | null
  readonly key: string | null
  readonly salt: string | null
  /** Instead of `magic`, when the server hashes passwords by a configured algorithm. */
  readonly pwdHash: { readonly hash: string; readonly algo: string; readonly params: string } | null
}

export interface CommitFields {
  readonly repoId: RepoId
  readonly rootId: FsId
  readonly parentId: CommitId | null
  readonly secondParentId: CommitId | null
  readonly creator: string
  readonly creatorName: string | null
  readonly description: string
  /** Unix seconds. */
  readonly ctime: number
  readonly repoName: string
  readonly repoDesc: string
  readonly encryption: Encryption | null
  readonly deviceName?: string
  readonly clientVersion?: string
  /** C form only. What seaf-server says of every library; what came through a client may lack it. Default true. */
  readonly noLocalHistory?: boolean
  readonly newMerge?: boolean
  readonly conflict?: boolean
}

export interface EncodedFs {
  /** `EMPTY_ID` for an empty directory or file: nothing is stored for it. */
  readonly id: FsId
  /** What the id is the SHA-1 of. */
  readonly json: Buffer
}

/** Entries of a directory are written in the order given; a server keeps them by `byNameDescending`. */
export function encodeFs(object: FsObject): EncodedFs {
  const empty = object.type === 'dir' ? object.entries.length === 0 : object.size === 0
  const json = Buffer.from(object.type === 'dir' ? dirJson(object.entries) : fileJson(object), 'utf8')
  return { id: (empty ? EMPTY_ID : hash('sha1', json, 'hex')) as FsId, json }
}

/** The content of the file that holds an fs object. */
export const deflateFs = (json: Uint8Array): Buffer => deflateSync(json, { level: DEFLATE_LEVEL })

/**
 * strcmp of the names' UTF-8, reversed, without encoding them: UTF-16 order is the same but for surrogates, which
 * stand for code points above all others.
 */
export function byNameDescending(a: { readonly name: string }, b: { readonly name: string }): number {
  const length = Math.min(a.name.length, b.name.length)
  for (let i = 0; i < length; i++) {
    const x = a.name.charCodeAt(i)
    const y = b.name.charCodeAt(i)
    if (x !== y) return codePointRank(y) - codePointRank(x)
  }
  return b.name.length - a.name.length
}

const codePointRank = (unit: number): number => (unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit)

export function encodeCommit(form: CommitForm, fields: CommitFields): { id: CommitId; bytes: Buffer } {
  const id = commitId(form, fields)
  const text = form === 'c' ? spaced(cMembers(id, fields)) : goJson(goMembers(id, fields))
  return { id, bytes: Buffer.from(text, 'utf8') }
}

type Json = string | number | null
type Members = ReadonlyArray<readonly [key: string, value: Json | undefined]>

/** Undefined members are left out, as the C code skips what is NULL or 0. */
function cMembers(id: CommitId, commit: CommitFields): Members {
  return [
    ['commit_id', id],
    ['root_id', commit.rootId],
    ['repo_id', commit.repoId],
    ['creator_name', commit.creatorName ?? undefined],
    ['creator', commit.creator],
    ['description', commit.description],
    ['ctime', commit.ctime],
    ['parent_id', commit.parentId],
    ['second_parent_id', commit.secondParentId],
    ['repo_name', commit.repoName],
    ['repo_desc', commit.repoDesc],
    ['repo_category', null],
    ['device_name', commit.deviceName],
    ['client_version', commit.clientVersion],
    ['encrypted', commit.encryption ? 'true' : undefined],
    ...encryptionMembers(commit.encryption),
    ['no_local_history', (commit.noLocalHistory ?? true) ? 1 : undefined],
    ['version', 1],
    ['conflict', commit.conflict ? 1 : undefined],
    ['new_merge', commit.newMerge ? 1 : undefined],
  ]
}

function goMembers(id: CommitId, commit: CommitFields): Members {
  return [
    ['commit_id', id],
    ['repo_id', commit.repoId],
    ['root_id', commit.rootId],
    ['creator_name', commit.creatorName || undefined],
    ['creator', commit.creator],
    ['description', commit.description],
    ['ctime', commit.ctime],
    ['parent_id', commit.parentId],
    ['second_parent_id', commit.secondParentId],
    ['repo_name', commit.repoName],
    ['repo_desc', commit.repoDesc],
    ['repo_category', ''],
    ['device_name', commit.deviceName || undefined],
    ['client_version', commit.clientVersion || undefined],
    ['encrypted', commit.encryption ? 'true' : 'false'],
    ...encryptionMembers(commit.encryption),
    ['version', 1],
    ['conflict', commit.conflict ? 1 : undefined],
    ['new_merge', commit.newMerge ? 1 : undefined],
  ]
}

function encryptionMembers(encryption: Encryption | null): Members {
  if (!encryption) return []
  return [
    ['enc_version', encryption.version],
    ['magic', encryption.magic ?? undefined],
    ['key', encryption.key ?? undefined],
    ['salt', encryption.salt ?? undefined],
    ['pwd_hash', encryption.pwdHash?.hash],
    ['pwd_hash_algo', encryption.pwdHash?.algo],
    ['pwd_hash_params', encryption.pwdHash?.params],
  ]
}

const dirJson = (entries: readonly Dirent[]): string =>
  `{"dirents": [${entries.map(direntJson).join(', ')}], "type": 3, "version": 1}`

/** `modifier` and `size` only for files. */
function direntJson(entry: Dirent): string {
  const file = isFileMode(entry.mode)
  return spaced([
    ['id', entry.id],
    ['mode', entry.mode],
    ['modifier', file ? entry.modifier : undefined],
    ['mtime', entry.mtime],
    ['name', entry.name],
    ['size', file ? entry.size : undefined],
  ])
}

const fileJson = (file: FsObject & { type: 'file' }): string =>
  `{"block_ids": [${file.blocks.map(quoted).join(', ')}], "size": ${file.size}, "type": 1, "version": 1}`

function spaced(members: Members): string {
  const parts: string[] = []
  for (const [key, value] of members) {
    if (value !== undefined) parts.push(`"${key}": ${typeof value === 'string' ? quoted(value) : value}`)
  }
  return `{${parts.join(', ')}}`
}

const SHORT_ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
}

/** As jansson quotes: only what JSON requires to be escaped, with upper-case hex. */
const quoted = (text: string): string =>
  `"${text.replace(/["\\\u0000-\u001f]/g, char => SHORT_ESCAPES[char] ?? `\\u${hex4(char).toUpperCase()}`)}"`

/** As Go's json.Marshal quotes. */
const goJson = (members: Members): string =>
  JSON.stringify(Object.fromEntries(members.filter(([, value]) => value !== undefined))).replace(
    /[<>&\u2028\u2029]/g,
    char => `\\u${hex4(char)}`,
  )

const hex4 = (char: string): string => char.charCodeAt(0).toString(16).padStart(4, '0')
