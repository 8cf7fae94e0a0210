/**
 * How much history a server promises to keep, and with it which commits' trees must be there.
 *
 * seaf-gc, the history view and a replica must agree to the second, or a replica
 * calls missing what GC rightly removed. The walk itself (newest commit first, by
 * ctime) belongs to whoever walks; this is what it asks. Facts: seafile-server's
 * server/repo-mgr.c and server/gc/gc-core.c.
 */

import type { HistoryRows } from '../catalog/catalog.js'

const DAY_SECONDS = 86_400
/** All history is kept, and how an absent row reads. */
const KEEP_ALL = -1

export interface HistoryRule extends HistoryRows {
  /** `[history] keep_days` of seafile.conf; null when it is not set. */
  readonly confKeepDays: number | null
}

/**
 * The server's truncate time: -1 keeps all history, 0 only the head, anything else the commits since that
 * Unix second (and one more on each branch, see `followsParents`). Moves with `nowSeconds`, so ask again at each check.
 */
export function historyRule(rule: HistoryRule, nowSeconds: number): number {
  const days = rule.limitDays ?? rule.defaultDays ?? rule.confKeepDays ?? KEEP_ALL
  const validSince = Math.max(rule.validSince ?? KEEP_ALL, KEEP_ALL)
  if (days === 0) return 0
  return days > 0 ? Math.max(nowSeconds - days * DAY_SECONDS, validSince) : validSince
}

/**
 * Whether the walk goes on to the parents of a commit that it keeps. So the first commit older than the limit is
 * kept on each branch, and the head always.
 */
export function followsParents(truncateTime: number, ctime: number, isHead: boolean): boolean {
  if (truncateTime < 0) return true
  if (truncateTime === 0) return false
  return isHead || ctime >= truncateTime
}
