/**
 * Libraries that the primary has no more because it lost them, rather than because somebody deleted them: its table was
 * emptied, or an old dump was put back. Nobody can know that, but all at once, or most, is not how people delete.
 */

import type { RepoId } from '../../shared/ids.js'

export interface Gone {
  readonly repo: RepoId
  /** Unix ms: when it was noticed that the primary has it no more; null: nobody noted it. */
  readonly since: number | null
}

/** A server that has lost most of its libraries is not left so for longer; people who deleted them, are. As Seafile's own trash keeps them. */
export const LATELY_MS = 30 * 24 * 3_600_000
/** One listing brings them all, but it may come in between. */
const AT_ONCE_MS = 3_600_000
/** Of fewer, most is soon deleted by somebody who tidies up. */
const MOST_MIN = 10

export const isLately = ({ since }: Gone, at: number): boolean => since === null || since > at - LATELY_MS

/** Which of `gone` these are, when the primary has `present` others (at `at`, Unix ms). */
export function wentTogether(gone: readonly Gone[], present: number, at: number): ReadonlySet<RepoId> {
  if (present === 0) return new Set(gone.map(({ repo }) => repo))
  const together = new Set<RepoId>()
  const lately = gone.filter(one => one.since !== null && isLately(one, at))
  const noticed = lately.map(({ repo, since }) => ({ repo, since: since ?? 0 })).sort((a, b) => a.since - b.since)
  let [first, added] = [0, 0]
  for (const [last, { since }] of noticed.entries()) {
    while ((noticed[first]?.since ?? since) < since - AT_ONCE_MS) first += 1
    const count = last - first + 1
    const before = present + noticed.length - first // those that went later were there then
    if (count < MOST_MIN || count * 2 <= before) continue
    for (const { repo } of noticed.slice(Math.max(first, added), last + 1)) together.add(repo)
    added = last + 1
  }
  return together
}
