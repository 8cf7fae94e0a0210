/**
 * The name of a commit, as each of Seafile's two servers computes it.
 *
 * Both are in use, often in one library, and legal ids exist that match neither
 * (the server rewrites what clients sent, and nobody ever checks). So a match is
 * information, a mismatch no error. Neither covers the library, the parents or
 * the library's name: one id can stand for different commits.
 */

import { createHash } from 'node:crypto'
import type { CommitId } from '../ids.js'

export interface CommitIdParts {
  readonly rootId: string
  /** 40 hex characters. */
  readonly creator: string
  /** Null leaves it out of the sum, which differs from an empty name only in the C form. */
  readonly creatorName: string | null
  readonly description: string
  /** Unix seconds. */
  readonly ctime: number
}

/** `c`: seaf-server, its C fileserver, clients and seaf-fsck. `go`: the Go fileserver. */
export type CommitForm = 'c' | 'go'

export function commitId(form: CommitForm, parts: CommitIdParts): CommitId {
  const end = form === 'c' ? '\0' : ''
  const sum = createHash('sha1')
  for (const text of [parts.rootId, parts.creator, parts.creatorName, parts.description]) {
    if (text !== null) sum.update(text + end, 'utf8')
  }
  const ctime = Buffer.alloc(8)
  ctime.writeBigInt64BE(BigInt(parts.ctime))
  return sum.update(ctime).digest('hex') as CommitId
}

/** Which of the two algorithms gave `id`; undefined when neither did. */
export const commitForm = (id: string, parts: CommitIdParts): CommitForm | undefined =>
  (['c', 'go'] as const).find(form => commitId(form, parts) === id)
