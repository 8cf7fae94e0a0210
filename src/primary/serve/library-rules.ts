/** What the agent says of a library besides its objects: its rows, and which history is owed under today's rules. */

import { hash } from 'node:crypto'
import { historyRule } from '../../shared/seafile/history-rule.js'
import type { LibraryListing, LibraryRead } from '../../shared/catalog/catalog.js'
import type { CommitId } from '../../shared/ids.js'
import type { LibraryFrame } from '../../shared/wire/sync-messages.js'

/** `[history] keep_days` of seafile.conf; null: not set. */
export type ConfKeepDays = number | null

/** Seafile's truncate time, now: see LibraryFrame. */
export const truncateTimeOf = ({ history }: LibraryRead, confKeepDays: ConfKeepDays): number =>
  historyRule({ ...history, confKeepDays }, Math.floor(Date.now() / 1000))

export const libraryFrame = (
  { rows, digest, gcId }: LibraryRead,
  confKeepDays: ConfKeepDays,
  { truncateTime, base }: { readonly truncateTime: number; readonly base: CommitId | null },
): LibraryFrame => ({ rows, digest: digestWithConf(digest, confKeepDays), truncateTime, gcId, base })

export const listingWithConf = (
  listing: readonly LibraryListing[],
  confKeepDays: ConfKeepDays,
): readonly LibraryListing[] =>
  confKeepDays === null
    ? listing
    : listing.map(entry => ({ ...entry, digest: digestWithConf(entry.digest, confKeepDays) }))

/** What seafile.conf says of history is no row, and requires as much as one. */
const digestWithConf = (digest: string, confKeepDays: ConfKeepDays): string =>
  confKeepDays === null ? digest : hash('sha1', `${digest} ${confKeepDays}`, 'hex').slice(0, digest.length)
