/** The command against the real daemon, in each situation that a person meets. */

import { randomBytes } from 'node:crypto'
import t from 'tap'
import { expectedOf, fixturesMissing } from '../support/fixtures.js'
import { runCommand } from '../support/command.js'
import { Pair } from '../support/pair.js'
import { layFixture } from '../support/sides.js'

const noStack = (text: string) => !/\n\s+at .+:\d+/.test(text)

t.test('command: with no daemon, every verb says so in one line and exits with 4', async t => {
  await using pair = await Pair.lay()
  for (const args of [['status'], ['sync', '--all'], ['sync', '3f1c09aa']]) {
    const ran = await runCommand(pair, ...args)
    t.equal(ran.code, 4, args.join(' '))
    t.match(ran.stderr, /seaf-backup-server/)
    t.equal(ran.stdout, '')
    t.ok(noStack(ran.stderr))
  }
})

t.test('command: an empty, healthy pair: the counts, nothing else, exit 0', async t => {
  await using pair = await Pair.start()
  await pair.settle()
  const ran = await runCommand(pair, 'status')
  t.equal(ran.code, 0)
  t.equal(
    ran.stdout,
    [
      'Total number of libraries: 0',
      'Number of synchronized libraries: 0',
      'Number of libraries waiting for sync: 0',
      'Number of libraries syncing: 0',
      'Number of libraries failed to sync: 0',
      '',
    ].join('\n'),
  )
})

t.test(
  'command: damaged libraries are listed as failed; status exits with 3, sync of one with 1 and its paths',
  { skip: fixturesMissing() },
  async t => {
    await using pair = await Pair.start({ prepare: async dir => void (await layFixture('sqlite', dir, undefined)) })
    await pair.settle()
    const { libraries } = await expectedOf('sqlite-small')
    const failed = libraries
      .filter(library => library.corrupt !== null)
      .map(library => library.id)
      .sort()

    const status = await runCommand(pair, 'status')
    t.equal(status.code, 3)
    t.equal(
      status.stdout,
      [
        `Total number of libraries: ${libraries.length}`,
        `Number of synchronized libraries: ${libraries.length - failed.length}`,
        'Number of libraries waiting for sync: 0',
        'Number of libraries syncing: 0',
        `Number of libraries failed to sync: ${failed.length}`,
        '',
        'List of libraries failed to sync:',
        ...failed,
        '',
      ].join('\n'),
    )

    const damaged = libraries.find(library => library.corrupt === 'head')
    const sync = await runCommand(pair, 'sync', String(damaged?.id))
    t.equal(sync.code, 1)
    for (const path of damaged?.head_state.damaged_paths ?? []) t.match(sync.stdout + sync.stderr, path)
    t.match(sync.stdout + sync.stderr, /sync --force/)
    t.ok(noStack(sync.stderr))

    const json = JSON.parse((await runCommand(pair, 'status', '--json')).stdout) as { counts: { failed: number } }
    t.equal(json.counts.failed, failed.length)

    const forced = await runCommand(pair, 'sync', '--force', String(damaged?.id))
    t.equal(forced.code, 0, 'forced, it is recorded with its holes')
    const verbose = await runCommand(pair, 'status', '--verbose')
    t.match(verbose.stdout, /synchronized with 3 missing objects/)
    t.equal((await pair.heads('backup')).get(damaged?.id as never), damaged?.head)
  },
)

t.test('command: an id that nobody knows, or that two share the beginning of, exits with 2', async t => {
  await using pair = await Pair.start()
  const writer = await pair.writer()
  for (const end of ['1', '2']) {
    await writer.createLibrary({
      name: end,
      owner: 'jo@example.com',
      repo: `3f1c09aa-0000-4000-8000-00000000000${end}` as never,
    })
  }
  await pair.until('both', async () => (await pair.heads('backup')).size === 2)

  const unknown = await runCommand(pair, 'sync', 'ffffffff')
  t.equal(unknown.code, 2)
  const ambiguous = await runCommand(pair, 'sync', '3f1c09aa')
  t.equal(ambiguous.code, 2)
  t.match(ambiguous.stderr, /000000000001[^]*000000000002/)
  const one = await runCommand(pair, 'sync', '3f1c09aa-0000-4000-8000-000000000001')
  t.equal(one.code, 0)
})

t.test('command: a library that is being synced is listed as such, and sync waits for its end', async t => {
  await using pair = await Pair.start({ primary: { conf: ['max_rate = 4M'] } })
  await pair.settle()
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'Large', owner: 'jo@example.com' })
  await writer.commit(repo, [{ op: 'put', path: '/large.bin', content: randomBytes(12 * 1024 * 1024) }])

  await pair.until('syncing', async () => (await pair.status()).syncing.includes(repo))
  const status = await runCommand(pair, 'status')
  t.match(status.stdout, `List of syncing libraries:\n${repo}\n`)
  const sync = await runCommand(pair, 'sync', repo)
  t.equal(sync.code, 0)
  t.equal((await pair.libraryAtRest(repo))?.state, 'synchronized')
  const all = await runCommand(pair, 'sync', '--all')
  t.equal(all.code, 0)
})

t.test('command: a library gone from the primary is kept, and shown as deleted there', async t => {
  await using pair = await Pair.start()
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'Gone', owner: 'jo@example.com' })
  await pair.until('arrived', async () => (await pair.heads('backup')).has(repo))
  const head = (await pair.heads('backup')).get(repo)
  const { default: Database } = await import('better-sqlite3')
  const db = new Database(pair.primary.database.type === 'sqlite' ? pair.primary.database.path : '')
  for (const table of ['Repo', 'Branch', 'RepoHead', 'RepoOwner'])
    db.prepare(`DELETE FROM ${table} WHERE repo_id = ?`).run(repo)
  db.close()

  await pair.sync(null)

  t.equal((await pair.library(repo))?.deletedOnPrimary, true)
  t.equal((await pair.heads('backup')).get(repo), head, 'it is kept here')
  t.match((await runCommand(pair, 'status', '--verbose')).stdout, /deleted on primary/)
})

t.test('command: log shows how each head came, and libraries how each library is', async t => {
  await using pair = await Pair.start()
  await pair.settle()
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'Diary', owner: 'jo@example.com' })
  const first = await writer.commit(repo, [{ op: 'put', path: '/a', content: Buffer.from('a') }])
  await pair.until('the first head', async () => (await pair.library(repo))?.head === first)
  const second = await writer.commit(repo, [{ op: 'put', path: '/b', content: Buffer.from('bb') }])
  await pair.until('the second head', async () => (await pair.library(repo))?.head === second)

  const log = JSON.parse((await runCommand(pair, 'log', repo, '--json')).stdout) as Record<string, unknown>[]
  t.match(log[0], { head: second, displaced: first, relation: 'forward', cause: /^(push|sweep)$/ })
  t.ok(Number(log[0]?.['primaryHadAt']) <= Number(log[0]?.['recordedAt']), 'it was there before it was here')
  t.match(log.at(-1), { displaced: null, relation: 'new' })

  await pair.until('its size', async () => (await pair.library(repo))?.sizeBytes === 3)
  const listed = await runCommand(pair, 'libraries')
  t.equal(listed.code, 0)
  t.match(listed.stdout, new RegExp(`^${repo} +synchronized .*  3 bytes  .*jo@example.com  Diary$`, 'm'))
})
