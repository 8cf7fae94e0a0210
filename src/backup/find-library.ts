/** Which library a person means who typed an id, or as much of its beginning as is unique. */

import { BackupError } from '../shared/errors.js'

/** So many ids help to choose; more only push the reason off the screen. */
const CANDIDATES_MAX = 20

/** @throws BackupError LIBRARY_UNKNOWN, or LIBRARY_AMBIGUOUS with `details.candidates` */
export function findLibrary<Id extends string>(ids: Iterable<Id>, idOrPrefix: string): Id {
  const wanted = idOrPrefix.toLowerCase()
  const candidates: Id[] = []
  for (const id of ids) {
    if (id === wanted) return id
    if (id.startsWith(wanted)) candidates.push(id)
  }
  const [only] = candidates
  if (only === undefined) {
    throw new BackupError(
      'LIBRARY_UNKNOWN',
      `find library ${JSON.stringify(idOrPrefix.slice(0, 60))}: none is known whose id begins so`,
    )
  }
  if (candidates.length === 1) return only
  throw new BackupError('LIBRARY_AMBIGUOUS', `find library ${idOrPrefix}: ${candidates.length} ids begin so`, {
    candidates: candidates.sort().slice(0, CANDIDATES_MAX),
  })
}
