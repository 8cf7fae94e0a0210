/** What the torture found, one crash each, aimed: the product's own process dies at that step (failpoints.ts). */

import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { Random } from '../kinds/random.js'
import { Scene, diedAt, environment } from './scene.js'

const run = promisify(execFile)
const BETWEEN = 'before BEGIN of the state write recorded'

t.test('crash: between the rows and the state, the head that was recorded is in the head log all the same', async t => {
  await using scene = await Scene.open('sqlite', new Random(1))
  const { pair } = scene
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'Photos', owner: 'jo@example.com' })
  await scene.startAgent()
  await scene.startBackup()
  await pair.settle()
  await scene.backup?.kill()
  const first = (await pair.heads('backup')).get(repo)

  const second = await writer.commit(repo, [{ op: 'put', path: '/a', content: Buffer.from('a') }])
  await scene.startBackup({ point: BETWEEN, nth: 1 })
  await scene.backup?.exited
  t.equal(diedAt(scene.backup), BETWEEN)
  t.equal((await pair.heads('backup')).get(repo), second, 'the rows have it')
  const { problems, unrecorded } = await scene.lookCold()
  t.strictSame([problems, unrecorded], [[], [repo]], 'the state does not, and vouches for it')
  await scene.startBackup()
  await pair.settle()

  t.match(await pair.headLog(repo), [
    { head: second, displaced: first, relation: 'forward', cause: /push|sweep/, recordedAt: Number },
    { head: first, displaced: null, relation: 'new' },
  ])
})

t.test('crash: while the control socket is made, again and again, no directory is left by each', async t => {
  await using scene = await Scene.open('sqlite', new Random(1))
  await scene.startAgent()
  const state = join(scene.pair.backup.dir, 'seaf-backup-state')
  for (let n = 0; n < 3; n++) {
    await scene.startBackup({ point: 'before rename of the control socket', nth: 1 })
    t.equal(diedAt(scene.backup), 'before rename of the control socket')
    t.ok(readdirSync(state).filter(name => name.startsWith('.')).length <= 1)
  }

  await scene.startBackup()
  t.strictSame(
    readdirSync(state).filter(name => name.startsWith('.')),
    [],
  )
})

t.test('crash: while the binlog position is saved, again and again, no temp file is left by each', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'sbt-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const state = join(dir, 'seaf-backup-state')
  mkdirSync(state)
  const module = new URL('../../src/primary/changes/binlog-position.js', import.meta.url).href
  const save = (aim?: string) => {
    const script = `const { SavedPosition } = await import('${module}')
      const saved = await SavedPosition.load(${JSON.stringify(state)})
      await saved.save({ file: 'log.1', offset: Number(process.argv[1]) })`
    const env = { ...process.env, ...environment('primary', aim ? { point: aim, nth: 1 } : undefined) }
    return run(process.execPath, ['--max-semi-space-size=8', '--input-type=module', '-e', script, '--', '7'], { env })
  }
  const aims = ['after open of a position temp file', 'before rename of the saved position']
  for (const aim of [...aims, ...aims]) await t.rejects(save(aim), /failpoint/, aim)
  t.ok(readdirSync(state).length <= 1, 'one at most')

  await save()
  t.strictSame(readdirSync(state), ['binlog-position.json'])
})
