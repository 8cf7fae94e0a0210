/** The binlog source against a real MariaDB: formats, restarts, rotation, purges, rights, deafness. */

import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { openMysqlBinlog } from '../../../src/primary/changes/mysql-binlog.js'
import { silentLog } from '../../../src/shared/log.js'
import { mariadbInstalled } from '../../support/mariadb.js'
import { SeafileMariadb, RecordingSink, newCommit, temporaryDirectory } from './changes-support.js'
import type { MysqlConfig } from '../../../src/shared/catalog/database-config.js'
import type { ChangeSource } from '../../../src/primary/changes/change-source.js'
import type { CommitId, RepoId } from '../../../src/shared/ids.js'

const LOGGED = ['--log-bin', '--server-id=1']
t.setTimeout(300_000) // of the whole file; each wait has its own
const skip = mariadbInstalled() ? false : 'mariadbd is not installed'

interface Opened {
  readonly db: SeafileMariadb
  readonly sink: RecordingSink
  readonly stateDir: string
  readonly config?: MysqlConfig
  readonly onUnavailable?: (error: unknown) => void
}

/** Opened and known to be reading: a library made after it was hinted. */
async function openReading({ db, sink, stateDir, config, onUnavailable }: Opened): Promise<ChangeSource> {
  const source = await openMysqlBinlog({
    config: config ?? db.config,
    reader: db.reader,
    sink,
    stateDir,
    log: silentLog,
    onUnavailable: onUnavailable ?? (error => t.fail('the binlog became unavailable', { error })),
    onDeath: error => t.fail('a loop died', { error }),
  })
  await sink.until('the stream is ready', () => sink.positions.some(position => !position.startsWith('heads')))
  return source
}

for (const format of ['ROW', 'MIXED', 'STATEMENT']) {
  t.test(
    `binlog ${format}: a head that moves, and a library that is new, are hinted with their head`,
    { skip },
    async t => {
      await using db = await SeafileMariadb.start(...LOGGED, `--binlog-format=${format}`)
      await using state = await temporaryDirectory()
      const old = await db.addLibrary()
      const sink = new RecordingSink()
      await using _source = await openReading({ db, sink, stateDir: state.path })

      const head = await db.moveHead(old)
      await sink.until('the new head', () => sink.headOf(old) === head)
      const first = newCommit()
      const added = await db.addLibrary(first)
      await sink.until('the new library', () => sink.hints.some(hint => hint.repo === added && hint.head === first))

      t.equal(sink.why, null)
    },
  )

  t.test(
    `binlog ${format}: after 1,000 commits to 50 libraries the last hint of each names its last head`,
    { skip },
    async t => {
      await using db = await SeafileMariadb.start(...LOGGED, `--binlog-format=${format}`)
      await using state = await temporaryDirectory()
      const repos = await Promise.all(Array.from({ length: 50 }, () => db.addLibrary()))
      const sink = new RecordingSink()
      await using _source = await openReading({ db, sink, stateDir: state.path })

      const heads = await commitMany(db, repos, 1_000)

      await sink.until('every last head', () => repos.every(repo => sink.headOf(repo) === heads.get(repo)))
      t.pass('all seen')
    },
  )
}

t.test('binlog: rows of a library that change without a commit are hinted without a head', { skip }, async t => {
  await using db = await SeafileMariadb.start(...LOGGED, '--binlog-format=ROW')
  await using state = await temporaryDirectory()
  const [owned, limited, removed] = [await db.addLibrary(), await db.addLibrary(), await db.addLibrary()]
  const sink = new RecordingSink()
  await using _source = await openReading({ db, sink, stateDir: state.path })

  await db.sql(
    `REPLACE INTO RepoOwner (repo_id, owner_id) VALUES ('${owned}', 'jo@example.com')`,
    `REPLACE INTO RepoHistoryLimit (repo_id, days) VALUES ('${limited}', 7)`,
    `DELETE FROM Branch WHERE repo_id = '${removed}'`,
  )
  await sink.until('the three libraries', () => sink.headOf(removed) !== undefined)

  t.equal(sink.headOf(owned), null)
  t.equal(sink.headOf(limited), null)
  t.equal(sink.headOf(removed), null, 'a row that is gone is no head')
})

t.test('binlog: with row images of the changed columns alone, a moved head is still hinted', { skip }, async t => {
  await using db = await SeafileMariadb.start(...LOGGED, '--binlog-format=ROW', '--binlog-row-image=MINIMAL')
  await using state = await temporaryDirectory()
  const repo = await db.addLibrary()
  const sink = new RecordingSink()
  await using _source = await openReading({ db, sink, stateDir: state.path })

  const head = await db.moveHead(repo)

  await sink.until('the new head', () => sink.headOf(repo) === head)
  t.pass('seen')
})

t.test('binlog: tables that are no library and other databases are none of our business', { skip }, async t => {
  await using db = await SeafileMariadb.start(...LOGGED, '--binlog-format=ROW')
  await using state = await temporaryDirectory()
  const repo = await db.addLibrary()
  const elsewhere = newCommit()
  await db.sql(
    'CREATE TABLE FileLocks (id INT PRIMARY KEY, repo_id CHAR(37))',
    'CREATE DATABASE other',
    'CREATE TABLE other.Branch LIKE Branch',
  )
  const sink = new RecordingSink()
  await using _source = await openReading({ db, sink, stateDir: state.path })

  await db.sql(
    `INSERT INTO FileLocks VALUES (1, '${repo}')`,
    `INSERT INTO other.Branch (name, repo_id, commit_id) VALUES ('master', '${repo}', '${elsewhere}')`,
    `INSERT INTO Branch (name, repo_id, commit_id) VALUES ('local', '${repo}', '${elsewhere}')`,
  )
  const head = await db.moveHead(repo)
  await sink.until('the head', () => sink.headOf(repo) === head)

  t.strictSame(
    sink.hints.filter(hint => hint.head === elsewhere),
    [],
  )
})

for (const how of ['stop', 'kill'] as const) {
  t.test(
    `binlog: the server is gone (${how}) and comes back: what is committed then is hinted, and it says so`,
    { skip },
    async t => {
      await using db = await SeafileMariadb.start()
      await using state = await temporaryDirectory()
      const repos = await Promise.all(Array.from({ length: 3 }, () => db.addLibrary()))
      const sink = new RecordingSink()
      await using _source = await openReading({ db, sink, stateDir: state.path })

      sink.forget()
      await commitMany(db, repos, 20)
      await db.server[how]()
      await sink.until('word that it is broken', () => sink.why !== null)
      await db.server.start()
      const heads = await commitMany(db, repos, 20)

      await sink.until('every last head', () => repos.every(repo => sink.headOf(repo) === heads.get(repo)))
      await sink.until('word that it is well again', () => sink.why === null)
      t.equal(sink.everything, 0, 'the position was still good')
    },
  )
}

t.test(
  'binlog: what is committed while the agent is down is hinted when it is back, across rotated files',
  { skip },
  async t => {
    await using db = await SeafileMariadb.start()
    await using state = await temporaryDirectory()
    const repo = await db.addLibrary()
    const sink = new RecordingSink()
    {
      await using _source = await openReading({ db, sink, stateDir: state.path })
      await db.moveHead(repo)
      await db.sql('FLUSH BINARY LOGS')
      const head = await db.moveHead(repo)
      await sink.until('the head in the new file', () => sink.headOf(repo) === head)
    }
    sink.forget()
    await db.sql('FLUSH BINARY LOGS')
    const head = await db.moveHead(repo)
    await db.sql('FLUSH BINARY LOGS')

    await using _source = await openReading({ db, sink, stateDir: state.path })

    await sink.until('the head', () => sink.headOf(repo) === head)
    t.equal(sink.everything, 0)
  },
)

const GAPS: Record<string, (db: SeafileMariadb) => Promise<unknown>> = {
  'the files it still needed were purged': purgeAllButLast,
  'the log was reset': db => db.sql('RESET MASTER'),
}
for (const [what, lose] of Object.entries(GAPS)) {
  t.test(
    `binlog: ${what} while the agent was down: everything may have changed, and it goes on`,
    { skip },
    async () => {
      await using db = await SeafileMariadb.start()
      await using state = await temporaryDirectory()
      const repo = await db.addLibrary()
      const sink = new RecordingSink()
      await (await openReading({ db, sink, stateDir: state.path }))[Symbol.asyncDispose]()
      sink.forget()

      await db.moveHead(repo)
      await lose(db)
      await using _source = await openReading({ db, sink, stateDir: state.path })

      await sink.until('word that everything may have changed', () => sink.everything > 0)
      const head = await db.moveHead(repo)
      await sink.until('the head', () => sink.headOf(repo) === head)
    },
  )
}

t.test(
  'binlog: a log reset under our feet, grown past our position since, does not hold the stream up for ever',
  { skip },
  async () => {
    await using db = await SeafileMariadb.start()
    await using state = await temporaryDirectory()
    const repo = await db.addLibrary()
    const sink = new RecordingSink()
    await (await openReading({ db, sink, stateDir: state.path }))[Symbol.asyncDispose]()
    const path = join(state.path, 'binlog-position.json')
    const saved = JSON.parse(await readFile(path, 'utf8')) as { position: { file: string; offset: number } }
    saved.position.offset -= 7 // inside an event, as a position of the log before may be
    await writeFile(path, JSON.stringify(saved))
    sink.forget()

    await using _source = await openReading({ db, sink, stateDir: state.path })

    await sink.until('word that everything may have changed', () => sink.everything > 0)
    const head = await db.moveHead(repo)
    await sink.until('the head', () => sink.headOf(repo) === head)
  },
)

t.test(
  'binlog: a saved position that cannot be read is as good as none: everything may have changed',
  { skip },
  async t => {
    await using db = await SeafileMariadb.start()
    await using state = await temporaryDirectory()
    const repo = await db.addLibrary()
    await writeFile(join(state.path, 'binlog-position.json'), '{"serverId":')
    const sink = new RecordingSink()

    await using _source = await openReading({ db, sink, stateDir: state.path })

    t.equal(sink.everything, 1)
    const head = await db.moveHead(repo)
    await sink.until('the head', () => sink.headOf(repo) === head)
  },
)

t.test('binlog: the heartbeat shows the position in the binlog, also when nothing changes', { skip }, async t => {
  await using db = await SeafileMariadb.start()
  await using state = await temporaryDirectory()
  const sink = new RecordingSink()
  await using _source = await openReading({ db, sink, stateDir: state.path })

  sink.positions = []
  await sink.until('two beats', () => sink.positions.length >= 2)

  t.strictSame(
    sink.positions.filter(position => !/\.\d{6}:\d+$/.test(position)),
    [],
  )
})

/** The server keeps a file as long as it believes that somebody reads it. */
async function purgeAllButLast(db: SeafileMariadb): Promise<void> {
  await db.sql('FLUSH BINARY LOGS')
  for (;;) {
    const files = (await db.server.query('SHOW BINARY LOGS')).trim().split('\n')
    if (files.length === 1) return
    await db.sql(`PURGE BINARY LOGS TO '${files.at(-1)?.split('\t')[0]}'`)
  }
}

async function commitMany(
  db: SeafileMariadb,
  repos: readonly RepoId[],
  commits: number,
): Promise<Map<RepoId, CommitId>> {
  const heads = new Map<RepoId, CommitId>()
  const connection = await db.connect()
  for (let i = 0; i < commits; i++) {
    const repo = repos[i % repos.length] as RepoId
    const head = newCommit()
    await connection.query(`UPDATE Branch SET commit_id = ? WHERE name = 'master' AND repo_id = ?`, [head, repo])
    heads.set(repo, head)
  }
  await connection.end()
  return heads
}
