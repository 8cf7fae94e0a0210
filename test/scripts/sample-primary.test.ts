import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { makeSamplePrimary, SAMPLE_PASSWORD } from '../../scripts/sample-primary.js'
import { REFERENCE_CHECK, referenceCheck, without } from '../shared/seafile/support.js'
import type { Test } from 'tap'

const NOW = 1_790_000_000_000

async function tempDir(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'sample-primary-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return dir
}

t.test('sample primary: five whole libraries of five kinds', { skip: without(REFERENCE_CHECK) }, async t => {
  const dir = await tempDir(t)
  await using sample = await makeSamplePrimary(dir, { now: NOW })

  t.same(sample.libraries.map(library => library.kind).sort(), [
    'documents',
    'encrypted',
    'origin',
    'photos',
    'virtual',
  ])
  const checked = await referenceCheck(sample.dataDir)
  for (const { name, corrupt, db, head_state, commit_id_algorithm } of checked) {
    t.equal(corrupt, null, name)
    t.same(db, { size: head_state.logical_bytes, file_count: head_state.files }, name)
    t.same(commit_id_algorithm.neither, [], name)
  }
  const of = (kind: string) => checked.find(({ id }) => sample.libraries.some(l => l.kind === kind && l.id === id))
  t.match(of('documents'), { commits_reachable: 30 })
  t.match(of('encrypted'), { encrypted: true })
  t.equal(of('virtual')?.virtual?.origin_repo, of('origin')?.id)
  t.match(await readFile(join(sample.confDir, 'seafile.conf'), 'utf8'), /^\[database\]\ntype = sqlite\n/)
})

t.test('sample primary: goes on from there at the real time, the encrypted library included', async t => {
  const started = Math.floor(Date.now() / 1000)
  await using sample = await makeSamplePrimary(await tempDir(t), { now: NOW })
  for (const { id } of sample.libraries) {
    const before = await sample.catalog.read(id, new AbortController().signal)
    await sample.writer.commit(id, [{ op: 'put', path: '/live.txt', content: Buffer.from('live') }])
    const after = await sample.catalog.read(id, new AbortController().signal)
    t.not(after?.rows.head, before?.rows.head)
    t.ok((after?.rows.info?.updateTime ?? 0) >= started)
  }
  t.type(SAMPLE_PASSWORD, 'string')
})

t.test('sample primary: the same seed and time give the same libraries, another seed others', async t => {
  const heads = async (seed: string) => {
    await using sample = await makeSamplePrimary(await tempDir(t), { seed, now: NOW })
    return [...(await sample.catalog.heads(new AbortController().signal))].sort()
  }
  const first = await heads('a')

  t.same(await heads('a'), first)
  t.notSame(await heads('b'), first)
})
