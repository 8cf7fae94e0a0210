/** A short torture, and that each thing which it looks for is found when it is there. The seed is printed; SEED=n runs one again. */

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import t from 'tap'
import { Random } from '../kinds/random.js'
import { RawObjects } from '../support/raw-objects.js'
import { flipByte } from '../support/sides.js'
import { ColdCopy } from './cold-copy.js'
import { Torture } from './rounds.js'
import { Scene } from './scene.js'

const ROUNDS = 12

t.test(`crash: in ${ROUNDS} rounds of torture nothing is lost, and nothing disagrees`, async t => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1e9)
  t.comment(`SEED=${seed}`)
  await using torture = await Torture.begin('sqlite', new Random(seed), { firstStarts: false })
  let hits = 0
  for (let n = 1; n <= ROUNDS; n++) {
    const { plan, hit, problems } = await torture.round()
    if (hit !== undefined) hits += 1
    t.strictSame(problems, [], `round ${n}: ${plan.blow} ${plan.aim?.point ?? ''}`)
  }
  t.ok(hits > 0, 'some died where they were aimed at')
})

t.test('crash: what a torture looks for is found', async t => {
  await using scene = await Scene.open('sqlite', new Random(1))
  const { pair } = scene
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'Photos', owner: 'jo@example.com' })
  const before = await writer.commit(repo, [{ op: 'put', path: '/a', content: Buffer.from('a') }])
  await scene.startAgent()
  await scene.startBackup()
  await pair.settle()
  const head = await writer.commit(repo, [{ op: 'put', path: '/b', content: Buffer.from('b') }])
  await pair.settle()
  t.strictSame((await scene.lookCold()).problems, [], 'nothing at first')

  const stateDir = join(pair.backup.dir, 'seaf-backup-state')
  const rows = join(pair.backup.dataDir, 'seafile.db')
  const state = join(stateDir, 'state.db')
  const objects = new RawObjects(pair.backup.dataDir)
  const [block = ''] = objects.list('blocks', repo)
  const found = async () => {
    const { database, dataDir } = pair.backup
    const copy = new ColdCopy({ dataDir, stateDir, database, primaryDataDir: pair.primary.dataDir })
    return (await copy.look(new Map([[repo, new Set([head])]]))).problems.join('\n')
  }
  const sql = (file: string, statement: string) => {
    const db = new Database(file)
    db.exec(statement)
    db.close()
  }
  const finds = async (what: string, expected: RegExp, harm: () => unknown, heal: () => unknown) => {
    await harm()
    t.match(await found(), expected, what)
    await heal()
    t.equal(await found(), '', `${what}: healed`)
  }
  const inRows = (what: string, expected: RegExp, harm: string, heal: string) =>
    finds(
      what,
      expected,
      () => sql(rows, harm),
      () => sql(rows, heal),
    )
  const inState = (what: string, expected: RegExp, harm: string, heal: string) =>
    finds(
      what,
      expected,
      () => sql(state, harm),
      () => sql(state, heal),
    )

  const path = objects.path('blocks', repo, block)
  let putBack = () => {}
  await finds(
    'an object that is gone',
    /is not whole: ENOENT/,
    () => (putBack = objects.remove('blocks', repo, block)),
    () => putBack(),
  )
  await finds(
    'a bit that differs',
    /is not whole: block .* holds/,
    () => flipByte(path),
    () => flipByte(path),
  )
  const commit = objects.path('commits', repo, before)
  const bytes = readFileSync(commit)
  await finds(
    'a commit of the history that is gone',
    /has no commit object/,
    () => rmSync(commit),
    () => writeFileSync(commit, bytes),
  )

  const stray = join(path, '..', 'f'.repeat(38))
  await finds(
    'an object that nobody named',
    /is not itself/,
    () => writeFileSync(stray, 'half of a blo'),
    () => rmSync(stray),
  )

  const moveTo = (id: string) => `UPDATE Branch SET commit_id = '${id}'`
  await inRows('a head that went back', /was acknowledged, and the head is/, moveTo(before), moveTo(head))
  await inRows('a head that went back, and the state', /vouches for .* and Branch is at/, moveTo(before), moveTo(head))
  await inRows(
    'no RepoHead',
    /RepoHead row says/,
    'DELETE FROM RepoHead',
    `INSERT INTO RepoHead VALUES ('${repo}', 'master')`,
  )
  await inRows('no Repo', /Branch row without a Repo/, 'DELETE FROM Repo', `INSERT INTO Repo VALUES ('${repo}')`)
  const owner = `INSERT INTO RepoOwner VALUES ('${repo}', 'jo@example.com')`
  await inRows('no owner', /no RepoOwner row/, 'DELETE FROM RepoOwner', owner)
  const branch = `INSERT INTO Branch VALUES ('master', '${repo}', '${head}')`
  await inRows('rows without a head', /rows without a Branch row/, 'DELETE FROM Branch', branch)

  const stateAt = (id: string) => `UPDATE library SET head = '${id}', vouched = '${id}'`
  await inState('a state that is elsewhere', /the state is at .* and Branch is at/, stateAt(before), stateAt(head))
  await inState('a state beyond its log', /the head log at/, `UPDATE library SET head = '${before}'`, stateAt(head))
  const last = `WHERE head = '${head}'`
  await inState(
    'a log that left one out',
    /the entry before is/,
    `UPDATE head_log SET displaced = NULL ${last}`,
    `UPDATE head_log SET displaced = '${before}' ${last}`,
  )

  const left = ['.1.tmp', '.2.tmp'].map(name => join(stateDir, name))
  const leave = () => left.forEach(file => writeFileSync(file, ''))
  await finds('temp files in the state', /the state directory holds/, leave, () => left.forEach(file => rmSync(file)))
  const whole = readFileSync(state)
  const cut = () =>
    writeFileSync(state, Buffer.concat([whole.subarray(0, 4096), Buffer.alloc(4096, 7), whole.subarray(8192)]))
  cut()
  t.not(await found().catch(String), '', 'pages of garbage in the state')
  writeFileSync(state, whole)

  const half = join(stateDir, '.c') // of one who was killed while it made its socket, beside what it keeps
  mkdirSync(half)
  for (const kept of ['dumps', 'binlog']) mkdirSync(join(stateDir, kept), { recursive: true })
  t.strictSame((await scene.lookCold()).problems, [], 'the room of a socket that was not made, beside dumps')
  rmSync(half, { recursive: true })

  const temp = join(pair.backup.dataDir, 'tmpfiles', 'seaf-backup', 'left')
  writeFileSync(temp, '')
  t.strictSame((await scene.lookCold()).problems, [], 'a temp file of one who was killed')
  await scene.startBackup()
  t.strictSame((await scene.lookCold()).temps, [], 'is removed by the next start')
})
