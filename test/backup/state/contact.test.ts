/** Until when the primary was heard: written only when it has become later, and there for whoever reads next. */

import Database from 'better-sqlite3'
import { join } from 'node:path'
import t from 'tap'
import { silentLog } from '../../../src/shared/log.js'
import { Contact } from '../../../src/backup/state/contact.js'
import { PromotionStates } from '../../../src/backup/state/promotion-states.js'
import { openStateDb } from '../../../src/backup/state/state-db.js'
import type { Log } from '../../../src/shared/log.js'

const read = (dir: string): number | null => {
  using states = new PromotionStates(dir)
  return states.contactAt()
}

t.test('contact: of a state of before there was one nothing is known, until it is noted', async t => {
  const dir = t.testdir()
  openStateDb(dir).close()
  const older = new Database(join(dir, 'state.db'))
  older.exec('DROP TABLE contact')
  older.pragma('user_version = 4')
  older.close()
  const db = openStateDb(dir)
  t.teardown(() => db.close())
  t.equal(read(dir), null)
  using contact = new Contact(db, silentLog)
  t.equal(contact.until, null)
  contact.note()
  t.equal(read(dir), null, 'without a source nothing is noted')

  const heard = performance.now()
  contact.knownBy(() => undefined)
  contact.knownBy(() => heard)
  contact.note()

  const at = read(dir)
  t.ok(at !== null && Math.abs(Date.now() - at) < 60_000, String(at))
  t.equal(new Contact(db, silentLog).until, at, 'also after a restart')
})

t.test('contact: it is written when it has become later, not each time, and at the end', async t => {
  const dir = t.testdir()
  const db = openStateDb(dir)
  t.teardown(() => db.close())
  const changes = () => db.prepare('SELECT total_changes()').pluck().get()
  let heard = performance.now() - 60_000
  const contact = new Contact(db, silentLog)
  contact.knownBy(() => heard)
  contact.note()
  const [before, written] = [read(dir), changes()]
  contact.note()
  heard -= 1_000
  contact.note()
  t.equal(changes(), written)

  heard += 30_000
  contact[Symbol.dispose]()

  t.ok(Number(read(dir)) - Number(before) > 20_000)
})

t.test('contact: a disk that fails is said once, and stops nobody', async t => {
  const db = openStateDb(t.testdir())
  t.teardown(() => db.close())
  const said: object[] = []
  const log = { ...silentLog, warn: (fields: object) => void said.push(fields) } as unknown as Log
  const contact = new Contact(db, log)
  let heard = performance.now()
  contact.knownBy(() => heard++)
  db.pragma('query_only = 1')
  contact.note()
  contact.note()
  t.equal(said.length, 1)
  t.match(said[0], { code: /^STORE_/, reason: /note when the primary was last heard/ })

  db.pragma('query_only = 0')
  contact.note()

  t.not(contact.until, null)
})
