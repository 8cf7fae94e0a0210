import { join } from 'node:path'
import Database from 'better-sqlite3'
import t from 'tap'
import { LibraryStates } from '../../../src/backup/state/library-state.js'
import { PastStates } from '../../../src/backup/state/past-states.js'
import { openStateDb } from '../../../src/backup/state/state-db.js'
import { REPO, TempDir, commitIdOf } from '../../support/objects.js'
import type { CommitId } from '../../../src/shared/ids.js'

const [A, B, C, NOW] = [commitIdOf('a'), commitIdOf('b'), commitIdOf('c'), commitIdOf('now')]

/** A state directory whose head log and presence are what `fill` writes. */
function stateWith(dir: string, fill: (db: Database.Database) => void): PastStates {
  const db = openStateDb(dir)
  fill(db)
  db.close()
  return new PastStates(dir)
}

function moved(
  db: Database.Database,
  head: CommitId,
  displaced: CommitId | null,
  had: number | null,
  recorded: number,
): void {
  db.prepare(
    `INSERT INTO head_log (repo, head, displaced, relation, cause, primary_had_at, recorded_at)
     VALUES (?, ?, ?, 'forward', 'push', ?, ?)`,
  ).run(REPO, head, displaced, had, recorded)
}

t.test('past: the head at an instant is the newest that the primary had by then, as far as is known', async t => {
  using dir = new TempDir()
  using past = stateWith(dir.path, db => {
    moved(db, A, null, 1_000, 1_500)
    moved(db, B, A, null, 2_500) // nobody knows when the primary had it
    moved(db, C, B, 3_000, 9_000)
  })
  t.equal(past.headAt(REPO, 999, NOW), undefined, 'it had none yet')
  t.strictSame(past.headAt(REPO, 1_000, NOW), { head: A, since: 1_000 })
  t.strictSame(past.headAt(REPO, 2_499, NOW), { head: A, since: 1_000 })
  t.strictSame(past.headAt(REPO, 2_500, NOW), { head: B, since: 2_500 })
  t.strictSame(past.headAt(REPO, 3_000, NOW), { head: C, since: 3_000 }, 'although it came here later')
  t.strictSame(
    past.headsUntil(REPO, 9_999, 2).map(({ head }) => head),
    [C, B],
  )
})

t.test('past: a head of before the log began is known by what took its place, or is the one of now', async t => {
  using dir = new TempDir()
  using past = stateWith(dir.path, db => moved(db, B, A, 5_000, 5_000))
  t.strictSame(past.headAt(REPO, 1_000, NOW), { head: A, since: null })
  using empty = new TempDir()
  using none = stateWith(empty.path, () => {})
  t.strictSame(none.headAt(REPO, 1_000, NOW), { head: NOW, since: null })
})

t.test(
  'past: gone and back again, each from when it was noticed; gone before anybody noted it, nobody knows',
  async t => {
    using dir = new TempDir()
    const db = openStateDb(dir.path)
    const states = new LibraryStates(db)
    const library = states.ensure(REPO)
    states.pulled(library, { commit: A, since: -1 }, [])
    const before = Date.now() - 1
    states.gone(library)
    states.gone(library) // each sweep says so
    states.listed({ repo: REPO, head: A, digest: 'd' }, performance.now())
    db.exec('UPDATE presence SET at = at + 10 * id')
    db.close()
    using past = new PastStates(dir.path)
    const notes = new Database(join(dir.path, 'state.db'), { readonly: true })
    const at = notes.prepare('SELECT at FROM presence ORDER BY id').pluck().all() as number[]
    notes.close()
    t.equal(at.length, 2)
    t.equal(past.wasPresent(REPO, before), true)
    t.equal(past.wasPresent(REPO, Number(at[0])), false)
    t.equal(past.wasPresent(REPO, Number(at[1])), true)
    t.equal(past.isDeleted(REPO), false)

    using other = new TempDir()
    using unknown = stateWith(other.path, old =>
      old.prepare('INSERT INTO library (repo, deleted) VALUES (?, 1)').run(REPO),
    )
    t.equal(unknown.wasPresent(REPO, before), null)
    t.equal(unknown.isDeleted(REPO), true)
  },
)

t.test('past: no state, or one of another version, is refused with what to do, and stays as it is', async t => {
  using dir = new TempDir()
  t.throws(() => new PastStates(join(dir.path, 'nowhere')), { code: 'STATE_UNUSABLE', message: /not there/ })
  t.throws(() => stateWith(dir.path, db => db.pragma('user_version = 1')), { code: 'STATE_UNUSABLE', message: /start/ })
  const newer = new Database(join(dir.path, 'state.db'))
  newer.pragma('user_version = 1000')
  newer.close()
  t.throws(() => new PastStates(dir.path), { code: 'STATE_UNUSABLE', message: /newer/ })
})
