/** When dumps are taken: what is due, what waits, and what must not take the daemon down. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { DumpDuty } from '../../../src/backup/dumps/dump-duty.js'
import { DumpStore } from '../../../src/backup/dumps/dump-store.js'
import { BackupError } from '../../../src/shared/errors.js'
import { silentLog } from '../../../src/shared/log.js'
import type { Test } from 'tap'
import type { DumpDutyOptions } from '../../../src/backup/dumps/dump-duty.js'

const keep = { hourly: 1, daily: 0, weekly: 0, monthly: 0, yearly: 0 }

async function dutyOf(t: Test, differs: Partial<DumpDutyOptions>) {
  const dir = await mkdtemp(join(tmpdir(), 'seaf-backup-duty-'))
  const store = new DumpStore(dir)
  store.prepare()
  const deaths: unknown[] = []
  let asked = 0
  const take = async () => {
    asked += 1
    throw new BackupError('PRIMARY_UNREACHABLE', 'ask: nobody answers')
  }
  const schedule = { pattern: '0 * * * *', timeZone: 'UTC' }
  const duty = new DumpDuty({ take, store, schedule, keep, log: silentLog, onDeath: e => deaths.push(e), ...differs })
  t.teardown(async () => {
    await duty[Symbol.asyncDispose]()
    await rm(dir, { recursive: true, force: true })
  })
  return { duty, store, deaths, asked: () => asked }
}

t.test('dump duty: a directory that cannot be listed is a problem that is shown, and no end of the daemon', async t => {
  const { duty, store, deaths } = await dutyOf(t, {})
  await rm(store.dir, { recursive: true })
  await writeFile(store.dir, 'no directory')
  await delay(50)
  t.match(duty.status(), { problem: { code: 'DIRECTORY_UNUSABLE' }, newest: null, kept: 0 })
  t.strictSame(deaths, [])
})

t.test(
  'dump duty: with none there one is due at once, tried again later, and at once when the primary is back',
  async t => {
    const { duty, asked } = await dutyOf(t, {})
    while (duty.status().problem === null) await delay(10)
    t.match(duty.status(), { scheduled: true, problem: { code: 'PRIMARY_UNREACHABLE' } })
    t.ok((duty.status().owedForMs ?? -1) >= 0)
    await delay(100)
    t.equal(asked(), 1, 'not again and again')
    duty.primaryIsBack()
    while (asked() < 2) await delay(10)
  },
)

t.test('dump duty: with no schedule none is taken and none is owed', async t => {
  const { duty, asked } = await dutyOf(t, { schedule: null })
  await delay(100)
  t.equal(asked(), 0)
  t.match(duty.status(), { scheduled: false, owedForMs: null, nextAt: null, problem: null })
})
