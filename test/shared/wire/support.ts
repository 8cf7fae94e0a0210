/** Arbitrary values of what travels between the two daemons, and what is asked of each decoder. */

import fc from 'fast-check'
import { BackupError } from '../../../src/shared/errors.js'
import { CHUNK_HEADER_BYTES, writePlainHeader } from '../../../src/shared/wire/chunks.js'
import type { LibraryRows } from '../../../src/shared/catalog/catalog.js'
import type { CommitId, RepoId } from '../../../src/shared/ids.js'

export const buffer = (constraints: fc.IntArrayConstraints = {}): fc.Arbitrary<Buffer> =>
  fc.uint8Array(constraints).map(bytes => Buffer.from(bytes))

export const objectId = fc.uint8Array({ minLength: 20, maxLength: 20 }).map(bytes => Buffer.from(bytes).toString('hex'))
export const commitId = objectId as fc.Arbitrary<CommitId>
export const repoId = fc.uuid() as fc.Arbitrary<RepoId>
export const digest = fc.uint8Array({ minLength: 8, maxLength: 8 }).map(bytes => Buffer.from(bytes).toString('hex'))
/** Bytes of a stream as a plain chunk. */
export function plainChunk(bytes: Buffer): Buffer {
  const chunk = Buffer.concat([Buffer.alloc(CHUNK_HEADER_BYTES), bytes])
  writePlainHeader(chunk, bytes.byteLength)
  return chunk
}

/** In parts of these sizes, used in turn; a zero is an empty part, and not all may be. */
export function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const parts: Buffer[] = []
  for (let at = 0, turn = 0; at < bytes.byteLength; turn += 1) {
    const end = at + (sizes[turn % sizes.length] as number)
    parts.push(bytes.subarray(at, end))
    at = end
  }
  return parts
}

export const orNull = <T>(some: fc.Arbitrary<T>) => fc.option(some, { nil: null })

export const numbered = { epoch: digest, seq: fc.maxSafeNat() }
/** As it stands in JSON. */
export const headEvent = fc.record(
  {
    type: fc.constant('event'),
    ...numbered,
    repo: repoId,
    head: orNull(commitId),
    agoMs: fc.maxSafeNat(),
    enclosed: orNull(buffer({ maxLength: 60 }).map(frames => frames.toString('base64'))),
  },
  { noNullPrototype: true },
)

const text = fc.string({ unit: 'grapheme' })
const integer = fc.maxSafeInteger()

export const libraryRows: fc.Arbitrary<LibraryRows> = fc.record(
  {
    repo: repoId,
    head: orNull(commitId),
    branchName: orNull(text),
    virtual: orNull(
      fc.record({ originRepo: repoId, path: text, baseCommit: orNull(commitId) }, { noNullPrototype: true }),
    ),
    owner: orNull(text),
    info: orNull(
      fc.record(
        {
          name: text,
          updateTime: orNull(integer),
          version: orNull(integer),
          isEncrypted: orNull(integer),
          lastModifier: orNull(text),
          status: orNull(integer),
          type: orNull(text),
        },
        { noNullPrototype: true },
      ),
    ),
    size: orNull(fc.record({ bytes: integer, head: orNull(text) }, { noNullPrototype: true })),
    fileCount: orNull(integer),
    historyLimitDays: orNull(integer),
    validSince: orNull(integer),
  },
  { noNullPrototype: true },
)

/** True when `decode` refuses with PROTOCOL_BROKEN or gives something `right`. */
export const refusesOrGives =
  <T>(decode: (input: Buffer) => T, right: (value: T) => boolean) =>
  (input: Buffer): boolean => {
    let value: T
    try {
      value = decode(input)
    } catch (error) {
      return error instanceof BackupError && error.code === 'PROTOCOL_BROKEN'
    }
    return right(value)
  }

/** The JSON of an object with one field nested deeper than any stack. */
export function withDeepField(object: object, field: string, depth = 100_000): Buffer {
  const deep = '['.repeat(depth) + ']'.repeat(depth)
  return Buffer.from(JSON.stringify({ ...object, [field]: '@deep@' }).replace('"@deep@"', deep))
}
