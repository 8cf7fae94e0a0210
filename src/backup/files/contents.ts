/** The bytes of a file: its blocks, verified one by one, in the clear where the library is encrypted. */

import { BackupError, reason } from '../../shared/errors.js'
import { tryFileKey } from '../../shared/seafile/write/encrypt.js'
import { fileOf } from './tree.js'
import type { FileKey } from '../../shared/seafile/write/encrypt.js'
import type { Entry } from './tree.js'
import type { LibraryAt } from './library-at.js'

/** Null: the library is not encrypted. @throws BackupError BAD_REQUEST for a wrong password, or a kind that is not known */
export async function keyOf(library: LibraryAt, askPassword: () => Promise<string>): Promise<FileKey | null> {
  const { encryption, commit } = library
  // a virtual library has a magic of its own: its commits' id is that of the library itself
  return encryption === null ? null : tryFileKey(commit.repoId, encryption, await askPassword())
}

/** One block at a time. @throws BackupError OBJECT_MISSING, OBJECT_CORRUPT; what was given before it is a beginning */
export function* contentsOf(library: LibraryAt, entry: Entry, key: FileKey | null): Generator<Buffer, void, undefined> {
  const { size, blocks } = fileOf(library, entry)
  let bytes = 0
  for (const id of blocks) {
    const stored = library.block(id, entry.path)
    const plain = key === null ? stored : decrypted(library, entry, key, stored)
    bytes += plain.byteLength
    yield plain
  }
  if (bytes === size) return
  throw new BackupError(
    'OBJECT_CORRUPT',
    `read ${entry.path} of library ${library.repo}: it has ${bytes} bytes, not ${size}`,
  )
}

function decrypted({ repo }: LibraryAt, { path }: Entry, key: FileKey, stored: Buffer): Buffer {
  try {
    return key.decrypt(stored)
  } catch (error) {
    const message = `decrypt ${path} of library ${repo}: ${reason(error)}; is it the password of that time?`
    throw new BackupError('BAD_REQUEST', message, {}, { cause: error })
  }
}
