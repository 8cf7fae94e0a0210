/** What is looked at, and how often, behind the fast sources and where there is none. */

import t from 'tap'
import { HeadsWatch, watchForever } from '../../../src/primary/changes/heads-watch.js'
import { startLoop } from '../../../src/shared/lifecycle.js'
import { Bell } from '../../../src/shared/timing.js'
import { RecordingSink, newCommit, newRepo } from './changes-support.js'
import type { CatalogReader, LibraryListing } from '../../../src/shared/catalog/catalog.js'
import type { CommitId, RepoId } from '../../../src/shared/ids.js'

const signal = new AbortController().signal

/** A database that counts how often it is read. */
class Counted {
  readonly heads = new Map<RepoId, CommitId>()
  readonly digests = new Map<RepoId, string>()
  version: string | null = '1'
  asked = { heads: 0, listing: 0 }

  readonly reader = {
    version: () => Promise.resolve(this.version),
    heads: () => {
      this.asked.heads += 1
      return Promise.resolve(new Map(this.heads))
    },
    listing: () => {
      this.asked.listing += 1
      const listing = [...this.digests].map(([repo, digest]): LibraryListing => ({ repo, head: null, digest }))
      return Promise.resolve(listing)
    },
  } as unknown as CatalogReader
}

t.test('heads watch: where nobody has committed nothing is read, and the source still counts as alive', async t => {
  const db = new Counted()
  const sink = new RecordingSink()
  const watch = new HeadsWatch(db.reader, sink)
  for (let i = 0; i < 5; i++) await watch.look(signal)
  for (let i = 0; i < 5; i++) await watch.lookAtRows(signal)

  t.strictSame(db.asked, { heads: 1, listing: 1 })
  t.equal(sink.positions.length, 5)
})

t.test('heads watch: after each commit all heads and rows are read', async t => {
  const db = new Counted()
  const sink = new RecordingSink()
  const watch = new HeadsWatch(db.reader, sink)
  const [repo, head] = [newRepo(), newCommit()]
  await watch.look(signal)
  await watch.lookAtRows(signal)

  db.heads.set(repo, head)
  db.digests.set(repo, 'd')
  db.version = '2'
  await watch.look(signal)
  t.strictSame(sink.hints, [{ repo, head }])
  await watch.lookAtRows(signal)
  t.strictSame(sink.hints.at(-1), { repo, head: null })
  t.strictSame(db.asked, { heads: 2, listing: 2 })
})

t.test('heads watch: an engine that does not tell whether anybody committed is read each time', async t => {
  const db = new Counted()
  db.version = null
  const watch = new HeadsWatch(db.reader, new RecordingSink())
  for (let i = 0; i < 3; i++) await watch.look(signal)
  for (let i = 0; i < 3; i++) await watch.lookAtRows(signal)

  t.strictSame(db.asked, { heads: 3, listing: 3 })
})

t.test('heads watch: a read that failed is made again, though nobody has committed since', async t => {
  const db = new Counted()
  const sink = new RecordingSink()
  const watch = new HeadsWatch(db.reader, sink)
  await watch.look(signal)
  const [repo, head] = [newRepo(), newCommit()]
  db.heads.set(repo, head)
  db.version = '2'
  const { heads } = db.reader
  db.reader.heads = () => Promise.reject(new Error('the database is down'))
  await t.rejects(watch.look(signal), /down/)
  db.reader.heads = heads

  await watch.look(signal)

  t.strictSame(sink.hints, [{ repo, head }])
})

t.test(
  'heads watch: a look that waited for the lock of a server that writes is followed by the next at once',
  async t => {
    const db = new Counted()
    const asked = Promise.withResolvers<void>()
    let looks = 0
    let aheadMs = 0
    t.intercept(performance, 'now', { value: () => Date.now() + aheadMs })
    db.reader.version = () => {
      looks += 1
      aheadMs += 3_600_000 // a long wait, of which the test sees only its end
      bell.ring()
      if (looks === 3) asked.resolve()
      return Promise.resolve(String(looks))
    }
    const sink = new RecordingSink()
    const bell = new Bell()
    const loop = { watch: new HeadsWatch(db.reader, sink), bell, everyMs: 3_600_000, sink, reports: true }
    await using _loop = startLoop(
      stopping => watchForever(loop, stopping),
      error => t.fail(String(error)),
    )

    await asked.promise
    t.equal(looks, 3)
  },
)
