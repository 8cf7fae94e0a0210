/** The compare of compare-and-set: a head moves only if nobody else moved it, and nothing was collected meanwhile. */

import { BackupError } from '../errors.js'
import type { LibraryRows } from './catalog.js'
import type { CommitId } from '../ids.js'

/** Head and GC id must be what they were when the pull began. */
export function expectFence(
  rows: LibraryRows,
  now: { readonly head: CommitId | null; readonly gcId: string | null },
  then: { readonly from: CommitId | null; readonly gcId: string | null },
): void {
  if (now.head !== then.from) {
    throw new BackupError('HEAD_CONFLICT', `move head of ${rows.repo}: our Branch row was changed by somebody else`, {
      repo: rows.repo,
    })
  }
  if (now.gcId !== then.gcId) {
    throw new BackupError('HEAD_CONFLICT', `move head of ${rows.repo}: seaf-gc ran on this backup meanwhile`, {
      repo: rows.repo,
    })
  }
}
