/** What must hold of a backup of the fixtures: the independent reader finds the same figures, and every object has the same bytes. */

import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DiskObjectReader } from '../../src/shared/store/disk-object-store.js'
import { expectedOf, referenceCheck } from './fixtures.js'
import type { Test } from 'tap'
import type { ExpectedLibrary, FixtureName } from './fixtures.js'
import type { Pair } from './pair.js'

/** Everything that a correct replica has in common with its primary; what is on disk beyond that may differ. */
const FIGURES = [
  'name',
  'owner',
  'head',
  'root',
  'store_id',
  'virtual',
  'encrypted',
  'enc_version',
  'pwd_hash_algo',
  'commits_reachable',
  'commits_missing_parents',
  'commits_kept',
  'commits_kept_ids',
  'merge_commits',
  'commit_id_algorithm',
  'head_state',
  'kept_history',
  'corrupt',
  'db',
] as const

/** Days are added to the limit so that the window still holds what it held when the fixture was written. */
export async function keepWindowOf(name: FixtureName, execute: (sql: string) => Promise<unknown>): Promise<void> {
  const { as_of } = await expectedOf(name)
  const days = Math.ceil((Date.now() / 1000 - as_of) / 86_400)
  await execute(`UPDATE RepoHistoryLimit SET days = days + ${Math.max(0, days)} WHERE days > 0`)
}

export async function equalsFixture(t: Test, pair: Pair, name: FixtureName): Promise<void> {
  const expected = await expectedOf(name)
  const found = await referenceCheck(pair.backup.dataDir, pair.backup.database, expected.as_of)
  const byId = new Map(found.libraries.map(library => [library.id, library]))
  const { libraries } = await pair.status()
  const states = new Map(libraries.map(library => [library.id, library]))
  for (const library of expected.libraries) {
    const title = library.kind ?? library.id
    const state = states.get(library.id)
    if (library.corrupt === null) {
      t.strictSame(figures(byId.get(library.id)), figures(library), `${title}: the independent reader finds the same`)
      t.equal(state?.state, 'synchronized', `${title}: is synchronized`)
      continue
    }
    t.equal(state?.state, 'failed', `${title}: is failed`)
    const paths = [...new Set(state?.failure?.damaged.map(d => d.path))].sort()
    t.strictSame(paths, library.kept_history.damaged_paths, `${title}: the damaged paths are named`)
    const head = library.corrupt === 'head' ? undefined : library.head
    t.equal(byId.get(library.id)?.head, head, `${title}: a head is recorded only if its own tree is whole`)
  }
  const live = expected.libraries.filter(library => library.corrupt !== 'head').map(library => library.id)
  t.strictSame([...byId.keys()].sort(), live.sort(), 'no other library has rows')
}

export function figures(library: ExpectedLibrary | undefined): object {
  return Object.fromEntries(FIGURES.map(figure => [figure, library?.[figure]]))
}

/** Every object of the backup is byte for byte the primary's file, and there is at least one of each kind. */
export async function sameBytes(t: Test, pair: Pair): Promise<void> {
  const backup = new DiskObjectReader(pair.backup.dataDir)
  const counts = { commits: 0, fs: 0, blocks: 0 }
  const different: string[] = []
  const stores = new Set([...(await pair.heads('primary')).keys()])
  for (const kind of ['commits', 'fs', 'blocks'] as const) {
    for (const storeId of stores) {
      for await (const ref of backup.list(kind, storeId)) {
        const path = join(kind, storeId, ref.id.slice(0, 2), ref.id.slice(2))
        const [theirs, ours] = await Promise.all([
          digest(join(pair.primary.dataDir, 'storage', path)),
          digest(join(pair.backup.dataDir, 'storage', path)),
        ])
        counts[kind] += 1
        if (theirs !== ours) different.push(path)
      }
    }
  }
  t.strictSame(
    different,
    [],
    `objects are byte-identical (${counts.commits} commits, ${counts.fs} fs, ${counts.blocks} blocks)`,
  )
  t.ok(counts.commits > 0 && counts.fs > 0 && counts.blocks > 0, 'there are objects of each kind')
}

const digest = async (path: string): Promise<string> =>
  createHash('sha256')
    .update(await readFile(path))
    .digest('hex')
