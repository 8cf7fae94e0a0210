/**
 * Whether the rules by which something was missed are still those by which it was asked for.
 *
 * Objects are asked for one request after the other, minutes or hours after the
 * delta that named them, and each request by itself cannot tell that seaf-gc
 * ran before it began. So before anything missed is called damage the library's
 * rows are read once more: seaf-gc writes its id and valid-since before it deletes.
 */

import { BackupError } from '../../shared/errors.js'
import { short } from '../../shared/ids.js'
import { FRAME } from '../../shared/wire/frames.js'
import { decodeLibraryFrame } from '../../shared/wire/sync-messages.js'
import type { RepoId } from '../../shared/ids.js'
import type { LibraryFrame } from '../../shared/wire/sync-messages.js'
import type { PullSource } from './primary-client.js'

/** A window of days slides with the clock; both are rounded to seconds. */
const SLACK_SECONDS = 2

export const primaryChanged = (repo: RepoId): BackupError =>
  new BackupError(
    'PRIMARY_CHANGED',
    `pull ${short(repo)}: the head, the history rule or seaf-gc of the primary changed while objects were being read`,
    { repo },
  )

/** Rejects with PRIMARY_CHANGED when they are not. `askedAt`: performance.now() when `then` was asked for. */
export async function expectSameRules(
  then: LibraryFrame,
  { client, askedAt }: { readonly client: PullSource; readonly askedAt: number },
  signal: AbortSignal,
): Promise<void> {
  const { repo, head } = then.rows
  let same = false
  await client.delta(
    { repo, have: head, haveSince: then.truncateTime, commitsAlone: true },
    frame => {
      if (frame.type !== FRAME.library) return // of a head that is damaged itself, and short
      const now = decodeLibraryFrame(frame.payload, repo)
      expectAlike(then, now, (performance.now() - askedAt) / 1000) // else what follows is for the next attempt
      same = true
    },
    signal,
  )
  if (!same) throw primaryChanged(repo)
}

/** `now` was read `seconds` after `then`. Throws PRIMARY_CHANGED. */
export function expectAlike(then: LibraryFrame, now: LibraryFrame, seconds: number): void {
  if (!sameRules(then, now, seconds)) throw primaryChanged(then.rows.repo)
}

function sameRules(then: LibraryFrame, now: LibraryFrame, seconds: number): boolean {
  const since = (frame: LibraryFrame) => frame.rows.validSince
  if (now.rows.head !== then.rows.head || now.gcId !== then.gcId || since(now) !== since(then)) return false
  const window = then.truncateTime > 0 && now.truncateTime > 0
  return window
    ? now.truncateTime - then.truncateTime <= seconds + SLACK_SECONDS
    : now.truncateTime === then.truncateTime
}
