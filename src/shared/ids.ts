/**
 * Names of the things in a Seafile store.
 *
 * An id reaches us as text, from a row, a path or a message. It is checked
 * once, here; past this module the compiler keeps a repo id from being handed
 * to something that wants a commit id. Because every id is hex and dashes of a
 * fixed length, one that has been parsed is also safe to be part of a path.
 */

declare const kind: unique symbol
type Id<Kind extends string> = string & { readonly [kind]: Kind }

/** A library: UUID of 36 characters. */
export type RepoId = Id<'repo'>
export type CommitId = Id<'commit'>
/** A directory or file object. */
export type FsId = Id<'fs'>
export type BlockId = Id<'block'>

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const SHA1 = /^[0-9a-f]{40}$/

/** Length of an object id in bytes; in text it is twice that. */
export const ID_BYTES = 20

/** What an empty file or directory is called; no object is ever stored under it. */
export const EMPTY_ID = '0'.repeat(40)

export const isObjectId = (text: unknown): text is string => typeof text === 'string' && SHA1.test(text)
export const isRepoId = (text: unknown): text is RepoId => typeof text === 'string' && UUID.test(text)

/** These throw `TypeError` naming what was found: the caller says where it came from. */
export const parseRepoId = (text: unknown): RepoId => parse<RepoId>(text, UUID, 'library id')
export const parseCommitId = (text: unknown): CommitId => parse<CommitId>(text, SHA1, 'commit id')
export const parseFsId = (text: unknown): FsId => parse<FsId>(text, SHA1, 'fs id')
export const parseBlockId = (text: unknown): BlockId => parse<BlockId>(text, SHA1, 'block id')

/** The first eight characters: enough for a log line, as in Seafile's own logs. */
export const short = (id: string): string => id.slice(0, 8)

function parse<T extends string>(text: unknown, shape: RegExp, what: string): T {
  if (typeof text !== 'string' || !shape.test(text)) {
    throw new TypeError(`not a ${what}: ${shown(text, 80)}`)
  }
  return text as T
}

/** JSON writes these as they are; a log takes them for the end of a line, a terminal obeys them. */
const UNPRINTABLE = /[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g

/** A stranger's value for a message. Objects are not written out: JSON.stringify overflows the stack on deep ones. */
export const shown = (value: unknown, length: number): string =>
  typeof value === 'object' && value !== null
    ? 'an object'
    : String(JSON.stringify(value)).slice(0, length).replace(UNPRINTABLE, '?')
