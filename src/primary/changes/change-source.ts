/**
 * Who notices that a head moved.
 *
 * What comes from here are hints: losing one costs a sweep, so a source may miss
 * something, but it must say so (`allMayHaveChanged`) when it knows. A source
 * that cannot be as fast as it should says why (`degraded`).
 */

import type { CommitId, RepoId } from '../../shared/ids.js'

export interface ChangeHint {
  readonly repo: RepoId
  /** Null: some row of the library changed, or its head to an unknown commit. */
  readonly head: CommitId | null
}

export interface ChangeSink {
  changed(hint: ChangeHint): void
  /** Something may have been missed: look at everything. */
  allMayHaveChanged(): void
  /** Newest position read from the source, in its own words; also called when nothing changed. */
  position(text: string): void
  /** The fast way is off; in words, with what to do. */
  degraded(why: string): void
  restored(): void
}

export type ChangeSourceKind = 'mysql-binlog' | 'mysql-poll' | 'sqlite-watch'

export interface ChangeSource extends AsyncDisposable {
  readonly kind: ChangeSourceKind
}
