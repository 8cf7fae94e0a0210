/** How much history two truncate times keep, compared (history-rule.ts has what they mean). */

/** True when `a` keeps commits that `b` does not: -1 keeps all, 0 only the head, else those since that Unix second. */
export const keepsMore = (a: number, b: number): boolean => oldestKept(a) < oldestKept(b)

function oldestKept(truncateTime: number): number {
  if (truncateTime < 0) return -Infinity
  return truncateTime === 0 ? Infinity : truncateTime
}
