/**
 * A promotion that is killed: as a real process, at each point where it changes something and at any other moment, and
 * run again until it ends. What it ends with is what one that nobody killed ends with.
 */

import { randomBytes } from 'node:crypto'
import { cp, mkdir, readFile, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import t from 'tap'
import { runCommand, runCommandWith } from '../support/command.js'
import { dying } from '../support/die-at.js'
import { mariadbInstalled } from '../support/mariadb.js'
import { Pair, never } from '../support/pair.js'
import { testDatabase } from '../support/sides.js'
import type { Circumstances, Ran } from '../support/command.js'
import type { Mariadb } from '../support/mariadb.js'
import type { Engine } from '../support/sides.js'

const PROMOTE = ['promote', '--confirm', 'PROMOTE', '--accept-loss', 'libraries,primary,tables']
/** Of the points so many are aimed at, and so many moments: all of them with SEAF_BACKUP_KILLS=all. */
const [POINTS_MAX, MOMENTS] = process.env['SEAF_BACKUP_KILLS'] === 'all' ? [Infinity, 40] : [8, 2]
const RUNS_MAX = 6
const TABLES = `CREATE TABLE IF NOT EXISTS RepoUserToken (repo_id CHAR(37), email VARCHAR(255), token CHAR(41));
  CREATE TABLE IF NOT EXISTS RepoTokenPeerInfo (token CHAR(41), peer_id CHAR(41));`

interface Scene extends AsyncDisposable {
  readonly pair: Pair
  /** The backup's own. */
  readonly server: Mariadb | undefined
  /** As it was before anything was promoted. */
  reset(): Promise<void>
  /** Every row of every table, without numbers that the database gives. */
  rows(): Promise<Record<string, string[]>>
}

/** A library that the dump has in an older state, one newer than it, one whose clients are ahead, and one deleted. */
async function sceneOf(engine: Engine): Promise<Scene> {
  const [theirs, ours] = [await testDatabase(engine), await testDatabase(engine)]
  const sides = (database: typeof theirs.database) => ({ ...(database && { database }) })
  const pair = await Pair.start({ primary: sides(theirs.database), backup: sides(ours.database) })
  await layTables(pair, theirs.server)
  const writer = await pair.writer()
  const create = (name: string) => writer.createLibrary({ name, owner: 'jo@example.com' })
  const [old, ahead, gone] = [await create('Old'), await create('Ahead'), await create('Gone')]
  for (const repo of [old, ahead]) await giveToken(pair, theirs.server, repo)
  await pair.settle()
  await pair.until('all here', async () => (await pair.status()).counts.synchronized === 3)
  await ok(runCommand(pair, 'dumps', 'now'))
  const newer = await create('Newer')
  await writer.commit(newer, [{ op: 'put', path: '/a', content: randomBytes(1000) }])
  const catalog = await pair.catalog()
  await catalog.setOwner(old, 'heir@example.com', never)
  await catalog.removeRows(gone, true, never)
  await pair.until('all here', async () => (await pair.library(newer))?.state === 'synchronized')
  await pair.sync(null)
  await pair.backup.process?.stop()
  await writer.commit(ahead, [{ op: 'put', path: '/not here', content: randomBytes(1000) }])
  const kept = `${pair.backup.dir}-kept`
  await cp(pair.backup.dir, kept, { recursive: true })
  const data = ours.server && join(ours.server.dir, 'data')
  if (ours.server && data) {
    await ours.server.stop()
    await cp(data, `${data}-kept`, { recursive: true })
    await ours.server.start()
  }
  return {
    pair,
    server: ours.server,
    async reset() {
      await again(kept, pair.backup.dir)
      if (!ours.server || !data) return
      await ours.server.kill()
      await again(`${data}-kept`, data)
      await ours.server.start()
    },
    rows: () => (ours.server ? mysqlRows(ours.server) : sqliteRows(pair.backup.dir)),
    async [Symbol.asyncDispose]() {
      await pair[Symbol.asyncDispose]()
      await rm(kept, { recursive: true, force: true })
      for (const side of [theirs, ours]) await side[Symbol.asyncDispose]()
    },
  }
}

async function again(kept: string, dir: string): Promise<void> {
  await rm(dir, { recursive: true, force: true })
  await cp(kept, dir, { recursive: true })
}

async function layTables(pair: Pair, server: Mariadb | undefined): Promise<void> {
  if (server) {
    await server.query(
      `${TABLES} CREATE DATABASE ccnet_db; CREATE DATABASE seahub_db;
      CREATE TABLE seahub_db.share (token TEXT); INSERT INTO seahub_db.share VALUES ('link'), ('another');
      CREATE TABLE ccnet_db.EmailUser (email VARCHAR(255) PRIMARY KEY); INSERT INTO ccnet_db.EmailUser VALUES ('jo@example.com');`,
      'seafile_db',
    )
    return
  }
  const { database } = pair.primary
  const db = new Database(database.type === 'sqlite' ? database.path : '')
  db.exec(TABLES)
  db.close()
  const hub = new Database(join(pair.primary.dir, 'seahub.db'))
  hub.exec("CREATE TABLE share (token TEXT); INSERT INTO share VALUES ('link'), ('another')")
  hub.close()
  await mkdir(join(pair.primary.dir, 'ccnet', 'PeerMgr'), { recursive: true })
  const users = new Database(join(pair.primary.dir, 'ccnet', 'PeerMgr', 'usermgr.db'))
  users.exec("CREATE TABLE EmailUser (email TEXT); INSERT INTO EmailUser VALUES ('jo@example.com')")
  users.close()
}

async function giveToken({ primary }: Pair, server: Mariadb | undefined, repo: string): Promise<void> {
  const sql = `INSERT INTO RepoUserToken VALUES ('${repo}', 'jo@example.com', '${repo.replaceAll('-', '')}');
    INSERT INTO RepoTokenPeerInfo VALUES ('${repo.replaceAll('-', '')}', 'peer');`
  if (server) return void (await server.query(sql, 'seafile_db'))
  const db = new Database(primary.database.type === 'sqlite' ? primary.database.path : '')
  db.exec(sql)
  db.close()
}

async function mysqlRows(server: Mariadb): Promise<Record<string, string[]>> {
  const found: Record<string, string[]> = {}
  const lines = async (sql: string) => (await server.query(sql)).split('\n').filter(line => line !== '')
  const named = `SELECT CONCAT(c.table_schema, '.', c.table_name), GROUP_CONCAT(CONCAT('IFNULL(HEX(\`', column_name, '\`), "-")') ORDER BY column_name)
    FROM information_schema.columns c WHERE table_schema IN ('seafile_db', 'ccnet_db', 'seahub_db') AND column_name != 'id' GROUP BY 1`
  for (const line of await lines(named)) {
    const [table = '', columns = ''] = line.split('\t')
    found[table] = (await lines(`SELECT CONCAT_WS('/', ${columns}) FROM ${table}`)).sort()
  }
  return found
}

async function sqliteRows(dir: string): Promise<Record<string, string[]>> {
  const found: Record<string, string[]> = {}
  for (const path of (await readdir(dir, { recursive: true })).filter(
    path => path.endsWith('.db') && !path.includes('seaf-backup-state'),
  )) {
    const db = new Database(join(dir, path), { readonly: true })
    const tables = db
      .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
      .pluck()
      .all()
    for (const table of tables as string[]) {
      const rows = db.prepare(`SELECT * FROM "${table}"`).all() as Record<string, unknown>[]
      found[`${path}.${table}`] = rows.map(({ id: _, ...row }) => JSON.stringify(row)).sort()
    }
    db.close()
  }
  return found
}

async function ok(running: Promise<Ran>): Promise<Ran> {
  const ran = await running
  if (ran.code !== 0) throw new Error(`it ended with ${ran.code}: ${ran.stderr}${ran.stdout}`)
  return ran
}

/** Killed once so, then run again as often as it takes. What was said last. */
async function promoted(
  pair: Pair,
  circumstances: Circumstances,
): Promise<{ readonly ran: Ran; readonly killed: boolean }> {
  const first = await runCommandWith(pair, circumstances, PROMOTE)
  let ran = first
  for (let runs = 1; ran.code === null && runs < RUNS_MAX; runs++) ran = await runCommandWith(pair, {}, PROMOTE)
  return { ran, killed: first.code === null }
}

const leftOvers = async (dir: string): Promise<string[]> =>
  (await readdir(dir, { recursive: true }))
    .filter(path => /\.(partial|tmp)|\.(using|reading)-|-(wal|shm|journal)$/.test(path))
    .sort()

/** One of each kind, then evenly spread ones. */
function chosen(points: readonly string[]): number[] {
  const all = points.map((_, index) => index + 1)
  if (all.length <= POINTS_MAX) return all
  return Array.from({ length: POINTS_MAX }, (_, i) => Math.floor(((i + Math.random()) * all.length) / POINTS_MAX) + 1)
}

for (const engine of ['sqlite', 'mysql'] as const) {
  const skip = engine === 'mysql' && !mariadbInstalled() && 'mariadbd is not installed'
  t.test(
    `promote: on ${engine}, killed at any point and run again, it ends as if nobody had killed it`,
    { skip },
    async t => {
      await using scene = await sceneOf(engine)
      const { pair } = scene
      const file = join(pair.primary.dir, 'points.json')
      await ok(runCommandWith(pair, { env: dying(0, file) }, PROMOTE))
      const expected = await scene.rows()
      const expectedLeft = await leftOvers(pair.backup.dir)
      const points = JSON.parse(await readFile(file, 'utf8')) as string[]
      t.ok(points.length > 30, `${points.length} points`)

      const kills: [string, Circumstances][] = [
        ...chosen(points).map(n => [`${n} ${points[n - 1]}`, { env: dying(n) }] as [string, Circumstances]),
        ...Array.from({ length: MOMENTS }, () => Math.round(300 + Math.random() * 900)).map(
          ms => [`after ${ms} ms`, { killAfterMs: ms }] as [string, Circumstances],
        ),
      ]
      for (const [when, circumstances] of kills) {
        await scene.reset()
        const { ran } = await promoted(pair, circumstances)
        t.equal(ran.code, 0, `${when}: ${ran.stderr}`)
        t.strictSame(await scene.rows(), expected, when)
        t.strictSame(await leftOvers(pair.backup.dir), expectedLeft, `${when}: nothing is left lying about`)
      }
    },
  )
}

t.test(
  'promote: on mysql, a client that a killed run left behind is waited for: its statements do not fall among others',
  { skip: !mariadbInstalled() && 'mariadbd is not installed' },
  async t => {
    await using scene = await sceneOf('mysql')
    const { pair, server } = scene
    if (!server) throw new Error('no server')
    await server.query('CREATE DATABASE seahub_db; CREATE TABLE seahub_db.share (token TEXT)')
    const waiting = (state: string) => async () =>
      (
        await server.query('SELECT COUNT(*) FROM information_schema.processlist WHERE state = ' + `'${state}'`)
      ).trim() === '1'
    const held = server.query('LOCK TABLES seahub_db.share READ; SELECT SLEEP(1000)').catch(() => {})
    await pair.until('the table is locked', waiting('User sleep'))

    const killed = runCommandWith(pair, { until: waiting('Waiting for table metadata lock') }, PROMOTE)
    t.equal((await killed).code, null)
    const second = runCommandWith(pair, {}, PROMOTE)
    await pair.until('the second waits for the first one', waiting('User lock'))
    const [id] = (await server.query("SELECT id FROM information_schema.processlist WHERE state = 'User sleep'")).split(
      '\n',
    )
    await server.query(`KILL ${id}`)
    await held

    t.equal((await second).code, 0, (await second).stderr)
    t.equal(await server.query('SELECT token FROM seahub_db.share ORDER BY 1'), 'another\nlink\n')
  },
)
