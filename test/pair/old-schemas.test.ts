/** MySQL databases as older and newer versions of Seafile made them, on either side. */

import t from 'tap'
import { mariadbInstalled, startMariadb } from '../support/mariadb.js'
import { expectSame } from '../support/odd-data.js'
import { OLD_SCHEMAS, commonColumns, ddlOf } from '../support/old-schemas.js'
import { Pair } from '../support/pair.js'
import { ServerActs } from '../support/server-acts.js'
import { mysqlConfig } from '../support/sides.js'
import { sqlOn } from '../support/sql.js'
import type { Test } from 'tap'
import type { DatabaseConfig } from '../../src/shared/catalog/database-config.js'
import type { Mariadb } from '../support/mariadb.js'
import type { OldVersion } from '../support/old-schemas.js'

const skip = !mariadbInstalled() && 'mariadbd is not installed'
const OWNER = 'jo@example.com'
const put = (path: string) => ({ op: 'put' as const, path, content: Buffer.from(path) })

let server: Mariadb
t.before(async () => {
  if (!skip) server = await startMariadb()
})
t.teardown(async () => {
  if (!skip) await server[Symbol.asyncDispose]()
})

let made = 0

async function database(...statements: readonly string[]): Promise<DatabaseConfig> {
  const name = `seafile_${++made}`
  await server.query(`CREATE DATABASE ${name} CHARACTER SET latin1`)
  const config = mysqlConfig(server, name)
  if (statements.length > 0) await sqlOn(config).run(...statements)
  return config
}

const databaseOf = (version: OldVersion) => database(...ddlOf(OLD_SCHEMAS[version]))

async function sameRows(t: Test, pair: Pair, theirs: OldVersion, ours: OldVersion): Promise<void> {
  for (const [table, columns] of commonColumns(OLD_SCHEMAS[theirs], OLD_SCHEMAS[ours])) {
    const sql = `SELECT ${columns} FROM ${table} ORDER BY repo_id`
    const [wanted, found] = [
      await sqlOn(pair.primary.database).select(sql),
      await sqlOn(pair.backup.database).select(sql),
    ]
    t.strictSame(found, wanted, table)
  }
}

const PAIRINGS: readonly (readonly [OldVersion, OldVersion])[] = [
  ...(Object.keys(OLD_SCHEMAS) as OldVersion[]).map(version => [version, version] as const),
  ['6.0', '13.0'],
  ['13.0', '6.0'],
  ['13.0', 'no more than the two tables that are needed'],
]

for (const [theirs, ours] of PAIRINGS) {
  const title = `schemas: tables of ${theirs} on the primary, of ${ours} on the backup: each row goes into what both have, before and after a commit`
  t.test(title, { skip }, async t => {
    await using pair = await Pair.lay({
      primary: { database: await databaseOf(theirs) },
      backup: { database: await databaseOf(ours) },
    })
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Z\u00fcrich', owner: OWNER })
    await writer.commit(repo, [put('/team/a')])
    if ('VirtualRepo' in OLD_SCHEMAS[theirs].tables && 'VirtualRepo' in OLD_SCHEMAS[ours].tables)
      await writer.createVirtualLibrary({ origin: repo, path: '/team', name: 'Team' })
    if ('RepoHistoryLimit' in OLD_SCHEMAS[theirs].tables) await writer.setHistory(repo, { limitDays: 90 })
    await pair.startPrimary()
    await pair.startBackup()
    await pair.settle()
    await expectSame(t, pair, { reader: false }) // which wants tables of the trash, too
    await sameRows(t, pair, theirs, ours)

    await pair.until('connected', async () => (await pair.status()).primary.agentsConnected === 1)
    const head = await writer.commit(repo, [put('/team/b')])
    await pair.until('equal', async () => (await pair.heads('backup')).get(repo) === head)

    await expectSame(t, pair, { reader: false })
    await sameRows(t, pair, theirs, ours)
  })
}

for (const side of ['primary', 'backup'] as const) {
  for (const table of ['Repo', 'Branch'] as const) {
    t.test(
      `schemas: without ${table} the ${side} says so by name, makes nothing, waits, and goes on when it is there`,
      { skip },
      async t => {
        const ddl = ddlOf(OLD_SCHEMAS['13.0'])
        const isIt = (statement: string) => statement.startsWith(`CREATE TABLE ${table} `)
        const config = await database(...ddl.filter(statement => !isIt(statement)))
        await using pair = await Pair.lay({ [side]: { database: config } })
        const start = side === 'primary' ? pair.startPrimary() : pair.startBackup()
        const daemon = pair[side].process
        const waiting = await daemon?.logged('database not usable; trying again')

        t.equal(waiting?.['code'], 'DATABASE_SCHEMA')
        t.match(waiting?.['reason'], new RegExp(`table ${table} is missing`))
        t.strictSame(await sqlOn(config).select(`SHOW TABLES LIKE '${table}'`), [])
        await sqlOn(config).run(...ddl.filter(isIt))
        t.equal(await start, daemon)
      },
    )
  }
}

t.test('schemas: what an upgrade adds to the tables is read by an agent that runs since before', { skip }, async t => {
  const { tables } = OLD_SCHEMAS['13.0']
  await using pair = await Pair.lay({
    primary: { database: await databaseOf('6.2') },
    backup: { database: await databaseOf('13.0') },
  })
  const repo = await (await pair.writer()).createLibrary({ name: 'Old', owner: OWNER })
  await pair.startPrimary()
  await pair.startBackup()
  await pair.settle()
  const { sql } = new ServerActs(pair.primary.dataDir, pair.primary.database)
  t.strictSame(await sqlOn(pair.backup.database).select('SELECT name FROM RepoInfo'), [])

  await sql.run(
    ...ddlOf({ tables: { RepoInfo: tables.RepoInfo, GCID: tables.GCID }, numbered: true, charset: 'utf8mb4' }),
    `INSERT INTO RepoInfo (repo_id, name, update_time, type) VALUES ('${repo}', 'Old', 1700000000, 'wiki')`,
  )
  await pair.sync(null)

  t.strictSame(await sqlOn(pair.backup.database).select('SELECT repo_id, name, type FROM RepoInfo'), [
    [repo, 'Old', 'wiki'],
  ])
})

const NAME = 'Photos \u{1f4f7}'

t.test(
  'schemas: a name that the tables of the backup cannot hold fails its library alone, by table and column; widened, it is recorded',
  { skip },
  async t => {
    await using pair = await Pair.lay({
      primary: { database: await databaseOf('13.0') },
      backup: { database: await databaseOf('7.0') },
    })
    const writer = await pair.writer()
    const plain = await writer.createLibrary({ name: 'Plain', owner: OWNER })
    const repo = await writer.createLibrary({ name: NAME, owner: OWNER })
    await pair.startPrimary()
    await pair.startBackup()
    await pair.until('failed', async () => (await pair.library(repo))?.failure?.code === 'DATABASE_SCHEMA')
    await pair.until('synchronized', async () => (await pair.library(plain))?.state === 'synchronized')
    t.match((await pair.library(repo))?.failure?.message, /RepoInfo.*name/)
    t.notOk((await pair.heads('backup')).has(repo), 'nothing of it is recorded')

    await sqlOn(pair.backup.database).run('ALTER TABLE RepoInfo CONVERT TO CHARACTER SET utf8mb4')
    await pair.sync(repo)

    await expectSame(t, pair, { reader: false })
  },
)

t.test(
  'schemas: a lax server that stores such a name with question marks is not written again with each sweep',
  { skip },
  async t => {
    await using lax = await startMariadb({ args: ['--sql-mode='] })
    await lax.query('CREATE DATABASE seafile_db CHARACTER SET latin1')
    const backup = mysqlConfig(lax)
    await sqlOn(backup).run(...ddlOf(OLD_SCHEMAS['6.3']))
    await using pair = await Pair.lay({ primary: { database: await databaseOf('13.0') }, backup: { database: backup } })
    const repo = await (await pair.writer()).createLibrary({ name: NAME, owner: OWNER })
    await pair.startPrimary()
    await pair.startBackup()
    await pair.settle()
    const offers = async (): Promise<unknown> => {
      await pair.sync(null)
      return pair.backup.process?.log.filter(line => line.msg === 'swept').at(-1)?.['offered']
    }

    await offers()
    t.equal(await offers(), 0)
    t.equal((await pair.libraryAtRest(repo))?.state, 'synchronized')
    t.match(await sqlOn(backup).select('SELECT name FROM RepoInfo'), [[/^Photos \?+$/]])
  },
)
