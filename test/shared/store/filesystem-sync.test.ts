import { spawnSync } from 'node:child_process'
import t from 'tap'
import { ProcessSyncs } from '../../../src/shared/store/filesystem-sync.js'

t.test('filesystem sync: each failed run counts once, however many waited for it', async t => {
  let fails = true
  const syncs = new ProcessSyncs(() => (fails ? Promise.reject(new Error('EIO')) : Promise.resolve()))
  const asked = [syncs.sync('/a'), syncs.sync('/a'), syncs.sync('/a')]
  for (const one of asked) await t.rejects(one, /EIO/)
  t.equal(syncs.failed, 1)

  fails = false
  await syncs.sync('/a')
  t.equal(syncs.failed, 1, 'a later success takes none back')
})

t.test('filesystem sync: runs of one path come one after the other, those of two beside each other', async t => {
  const begun: string[] = []
  const run = Promise.withResolvers<void>()
  const syncs = new ProcessSyncs(path => {
    begun.push(path)
    return run.promise
  })
  const asked = [syncs.sync('/a'), syncs.sync('/a'), syncs.sync('/b')]
  t.strictSame(begun, ['/a', '/b'])
  run.resolve()
  await Promise.all(asked)
  t.strictSame(begun, ['/a', '/b', '/a'])
})

const MODULE = new URL('../../../src/shared/store/filesystem-sync.js', import.meta.url).href

const WITHOUT_DESCRIPTORS = `
import { openSync } from 'node:fs'
import { processSyncs } from '${MODULE}'
const open = []
try { for (;;) open.push(openSync('/dev/null', 'r')) } catch {}
const failure = await processSyncs.sync('/').catch(error => error)
console.log(JSON.stringify({ code: failure.code, message: failure.message, failed: processSyncs.failed }))
`

t.test('filesystem sync: without file descriptors it fails with the reason, and the process lives', async t => {
  const node = [process.execPath, '--input-type=module', '-e', WITHOUT_DESCRIPTORS]
  const { status, stdout, stderr } = spawnSync('sh', ['-c', 'ulimit -n 128; exec "$@"', 'sh', ...node])
  t.equal(status, 0, String(stderr))
  t.match(JSON.parse(String(stdout)), { code: 'STORE_IO', message: /EMFILE/, failed: 1 })
})
