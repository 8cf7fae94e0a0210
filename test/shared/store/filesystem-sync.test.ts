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
