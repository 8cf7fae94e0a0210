/** Rows that change without a commit: they are seen, and applied alone. */

import { readFileSync } from 'node:fs'
import t from 'tap'
import { noMariadb, OWNER, Scene } from '../support/scene.js'
import type { RepoId } from '../../src/shared/ids.js'
import type { Cell } from '../support/sql.js'

interface Change {
  readonly name: string
  /** On the primary. `?` is the library; `virtual`: the one of its folder. */
  readonly statements: readonly string[]
  readonly of?: 'virtual'
  /** Then the backup has this. */
  readonly table: string
  readonly has: readonly Cell[] | undefined
}

const CHANGES: readonly Change[] = [
  {
    name: 'the owner',
    statements: ["REPLACE INTO RepoOwner (repo_id, owner_id) VALUES (?, 'mo@example.com')"],
    table: 'RepoOwner',
    has: ['mo@example.com'],
  },
  {
    name: 'a history limit',
    statements: ['REPLACE INTO RepoHistoryLimit (repo_id, days) VALUES (?, 60)'],
    table: 'RepoHistoryLimit',
    has: [60],
  },
  {
    name: 'a narrower history limit',
    statements: ['REPLACE INTO RepoHistoryLimit (repo_id, days) VALUES (?, 0)'],
    table: 'RepoHistoryLimit',
    has: [0],
  },
  {
    name: 'a history limit that is taken away',
    statements: ['DELETE FROM RepoHistoryLimit WHERE repo_id = ?'],
    table: 'RepoHistoryLimit',
    has: undefined,
  },
  {
    name: 'valid-since',
    statements: ['REPLACE INTO RepoValidSince (repo_id, timestamp) VALUES (?, 1234567890)'],
    table: 'RepoValidSince',
    has: [1_234_567_890],
  },
  {
    name: 'read-only status',
    statements: ['UPDATE RepoInfo SET status = 1 WHERE repo_id = ?'],
    table: 'RepoInfo.status',
    has: [1],
  },
  {
    name: 'the name',
    statements: ["UPDATE RepoInfo SET name = 'Ünder a néw name' WHERE repo_id = ?"],
    table: 'RepoInfo.name',
    has: ['Ünder a néw name'],
  },
  {
    name: 'the path of a virtual library',
    statements: ["UPDATE VirtualRepo SET path = '/elsewhere' WHERE repo_id = ?"],
    of: 'virtual',
    table: 'VirtualRepo.path',
    has: ['/elsewhere'],
  },
  {
    name: 'several of them in one transaction',
    statements: [
      'BEGIN',
      "REPLACE INTO RepoOwner (repo_id, owner_id) VALUES (?, 'zo@example.com')",
      'REPLACE INTO RepoHistoryLimit (repo_id, days) VALUES (?, 365)',
      "UPDATE RepoInfo SET name = 'Many', status = 0 WHERE repo_id = ?",
      'COMMIT',
    ],
    table: 'RepoInfo.name',
    has: ['Many'],
  },
]

async function changing(scene: Scene) {
  const repo = await scene.writer.createLibrary({ name: 'Rows', owner: OWNER })
  await scene.put(repo, '/a.md', 'one')
  await scene.put(repo, '/a.md', 'two')
  const virtual = await scene.virtualOf(repo, '/folder', 'Folder')
  await scene.settle()
  await scene.pair.until('connected', async () => (await scene.pair.status()).primary.agentsConnected === 1)
  await scene.settle() // and with it the sweep that the connection brought
  return { repo, virtual }
}

const sweeps = ({ pair }: Scene): number => pair.backup.process?.log.filter(line => line.msg === 'swept').length ?? 0
const moves = ({ pair }: Scene): number =>
  pair.backup.process?.log.filter(line => line.msg === 'head recorded').length ?? 0

const apply = (scene: Scene, repo: RepoId, { statements }: Change): Promise<void> =>
  scene.acts.sql.run(...statements.map(statement => statement.replace('?', `'${repo}'`)))

async function valueHere({ ours }: Scene, repo: RepoId, { table }: Change): Promise<readonly Cell[] | undefined> {
  const [name, column] = table.split('.')
  const columns = { RepoOwner: 'owner_id', RepoHistoryLimit: 'days', RepoValidSince: 'timestamp' }
  const list = column ?? columns[name as keyof typeof columns]
  return (await ours.sql.select(`SELECT ${list} FROM ${name} WHERE repo_id = '${repo}'`))[0]
}

async function arrived(scene: Scene, repo: RepoId, change: Change): Promise<boolean> {
  return JSON.stringify(await valueHere(scene, repo, change)) === JSON.stringify(change.has)
}

t.test(
  'rows (mysql): every change of a row without a commit comes as an event of the binlog, without a sweep',
  { skip: noMariadb('mysql') },
  async t => {
    await using scene = await Scene.start('mysql')
    const { repo, virtual } = await changing(scene)
    const before = { sweeps: sweeps(scene), moves: moves(scene), held: scene.held(repo) }

    for (const change of CHANGES) {
      const of = change.of ? virtual : repo
      await apply(scene, of, change)
      await scene.pair.until(`here: ${change.name}`, () => arrived(scene, of, change))
      await scene.pair.until('synchronized', async () => (await scene.library(of)).state === 'synchronized')
      t.strictSame(await scene.rowsHere(of), await scene.rowsThere(of), `${change.name}: all rows are the same`)
    }

    t.equal(sweeps(scene), before.sweeps, 'no sweep was needed')
    t.equal(moves(scene), before.moves, 'no head moved')
    t.strictSame(scene.held(repo), before.held, 'nothing was pulled')
  },
)

for (const engine of ['sqlite', 'mysql'] as const) {
  const ways = { sqlite: 'SQLite', mysql: 'no binlog' }
  t.test(
    `rows (${engine}): where no event tells of them (${ways[engine]}), a sweep finds every change of a row`,
    { skip: noMariadb(engine) },
    async t => {
      await using scene = await Scene.start(engine, { args: ['--skip-log-bin'] })
      const { repo, virtual } = await changing(scene)
      const before = { moves: moves(scene), held: scene.held(repo) }

      for (const change of CHANGES) {
        const of = change.of ? virtual : repo
        await apply(scene, of, change)
        await scene.settle()
        t.ok(await arrived(scene, of, change), `${change.name} is here`)
        t.strictSame(await scene.rowsHere(of), await scene.rowsThere(of), `${change.name}: all rows are the same`)
      }

      t.equal(moves(scene), before.moves, 'no head moved')
      t.strictSame(scene.held(repo), before.held, 'nothing was pulled')
    },
  )
}

t.test('rows (sqlite): several rows are applied in one transaction', async t => {
  await using scene = await Scene.start('sqlite')
  const { repo } = await changing(scene)
  // SQLite counts the transactions that wrote, in the header of the file
  const transactions = () => readFileSync(`${scene.pair.backup.dataDir}/seafile.db`).readUInt32BE(24)
  const before = transactions()

  await apply(scene, repo, CHANGES.at(-1) as Change)
  await scene.settle()

  t.strictSame(await scene.rowsHere(repo), await scene.rowsThere(repo))
  t.equal(transactions() - before, 1)
})

t.test('rows (mysql): several rows are applied in one transaction', { skip: noMariadb('mysql') }, async t => {
  await using scene = await Scene.start('mysql')
  const { repo } = await changing(scene)
  const end = async () => (await scene.ours.sql.select('SHOW MASTER STATUS'))[0] ?? []
  const [file, position] = await end()

  await apply(scene, repo, CHANGES.at(-1) as Change)
  await scene.settle()

  const events = await scene.ours.sql.select(`SHOW BINLOG EVENTS IN '${file}' FROM ${position}`)
  let group = 0
  const wrote = new Set<number>()
  const tables = new Set<string>()
  for (const [, , type, , , info] of events) {
    if (type === 'Gtid') group += 1
    const [, table] = /\(backup_db\.(\w+)\)/.exec(String(info)) ?? []
    if (type !== 'Table_map' || table === undefined) continue
    wrote.add(group)
    tables.add(table)
  }
  t.strictSame([...tables].sort(), ['RepoHistoryLimit', 'RepoInfo', 'RepoOwner'])
  t.equal(wrote.size, 1, 'one transaction wrote them all')
})

t.test('rows (sqlite): changed while the backup is stopped, they are applied when it is back, alone', async t => {
  await using scene = await Scene.start('sqlite')
  const { repo } = await changing(scene)
  await scene.pair.backup.process?.kill()

  await scene.writer.setOwner(repo, 'mo@example.com')
  await scene.pair.startBackup()
  await scene.settle()

  t.equal((await scene.library(repo)).owner, 'mo@example.com')
  t.equal(moves(scene), 0, 'no head moved')
})
