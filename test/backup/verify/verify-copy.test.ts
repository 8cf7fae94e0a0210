/** `verify` against the independent reader, and against damage of every kind that a disk can do. */

import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { verifyCopy } from '../../../src/backup/verify/verify-copy.js'
import { makeSamplePrimary } from '../../../scripts/sample-primary.js'
import { expectedOf, extractFixture, fixturesMissing } from '../../support/fixtures.js'
import { RawObjects } from '../../support/raw-objects.js'
import { ServerActs } from '../../support/server-acts.js'
import { flipByte } from '../../support/sides.js'
import { TOKEN } from '../../support/pair.js'
import type { Test } from 'tap'
import type { Finding } from '../../../src/backup/verify/library-check.js'
import type { VerifyOrder } from '../../../src/backup/verify/verify-copy.js'

const signal = new AbortController().signal
const EVERYTHING = { library: null, history: true, readData: true }

interface Looked {
  readonly findings: Map<string, Finding[]>
  readonly total: Awaited<ReturnType<typeof verifyCopy>>
}

async function look(confDir: string, order: VerifyOrder): Promise<Looked> {
  const findings = new Map<string, Finding[]>()
  const total = await verifyCopy(
    { conf: confDir },
    order,
    {
      finding: (repo, finding) => void findings.set(repo, [...(findings.get(repo) ?? []), finding]),
      done() {},
    },
    signal,
  )
  return { findings, total }
}

async function confFor(dir: string): Promise<string> {
  const conf = join(dir, 'conf')
  await mkdir(conf, { recursive: true })
  const backup = `[backup]\nprimary_url = http://127.0.0.1:1\nsync_token = ${TOKEN}\n`
  await writeFile(join(conf, 'seafile.conf'), `${backup}[database]\ntype = sqlite\n`, { mode: 0o600 })
  return conf
}

async function temporary(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'sbv-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return dir
}

t.test(
  'verify: on what a real server wrote it finds what the independent reader finds',
  { skip: fixturesMissing() },
  async t => {
    const dir = await temporary(t)
    await extractFixture('sqlite-small', dir)
    const conf = await confFor(dir)
    const { libraries } = await expectedOf('sqlite-small')

    const latest = await look(conf, { ...EVERYTHING, history: false })
    const whole = await look(conf, EVERYTHING)

    const paths = (looked: Looked, repo: string) =>
      [...new Set(looked.findings.get(repo)?.map(({ path }) => path))].sort()
    for (const { id, kind, head_state, kept_history } of libraries) {
      t.strictSame(paths(latest, id), [...head_state.damaged_paths].sort(), `${kind}: latest state`)
      t.strictSame(paths(whole, id), [...kept_history.damaged_paths].sort(), `${kind}: with history`)
    }
    t.equal(whole.total.libraries, libraries.length)
    t.equal(whole.total.damagedLibraries, libraries.filter(({ corrupt }) => corrupt).length)
  },
)

const HURTS: Record<string, (path: string) => Promise<void>> = {
  missing: path => rm(path),
  'cut off': path => truncate(path, 10),
  empty: path => truncate(path, 0),
  'a bit flipped': flipByte,
}

for (const [what, hurt] of Object.entries(HURTS)) {
  for (const kind of ['commits', 'fs', 'blocks'] as const) {
    // a commit's name proves nothing of its text: legal ones match no hash (format sheet, section 2)
    if (kind === 'commits' && hurt === flipByte) continue
    t.test(`verify: ${kind}, ${what}: named with its library, path and problem, alone`, async t => {
      const dir = await temporary(t)
      const sample = await makeSamplePrimary(dir)
      await sample[Symbol.asyncDispose]()
      const conf = await confFor(dir)
      t.equal((await look(conf, EVERYTHING)).total.findings, 0, 'whole before')
      const repo = sample.libraries.find(library => library.kind === 'photos')?.id ?? ''
      const objects = new RawObjects(sample.dataDir)
      const database = { type: 'sqlite' as const, path: join(sample.dataDir, 'seafile.db') }
      const head = await new ServerActs(sample.dataDir, database).head(repo)
      const [id, path] =
        kind === 'commits'
          ? [head, null]
          : ([...objects.tree(repo, objects.commit(repo, head).root_id)]
              .filter(([, found]) => found.kind === kind && found.path !== '/')
              .map(([id, found]) => [id, found.path] as const)
              .at(-1) ?? ['', ''])

      await hurt(objects.path(kind, repo, id))

      const { findings, total } = await look(conf, EVERYTHING)
      const problem = what === 'missing' ? 'missing' : 'corrupt'
      t.strictSame([...findings.keys()], [repo])
      t.match(findings.get(repo), [{ kind, id, path, problem, where: 'head' }])
      t.equal(total.findings, 1)
      const names = await look(conf, { library: repo.slice(0, 6), history: false, readData: false })
      const seenByName = what === 'missing' || what === 'empty' || kind !== 'blocks'
      t.equal(names.total.findings, seenByName ? 1 : 0, 'blocks are only looked for without --read-data')
    })
  }
}

t.test('verify: damage in kept history alone is said to be there, and is not looked for without --history', async t => {
  const dir = await temporary(t)
  const sample = await makeSamplePrimary(dir)
  const { libraries, writer } = sample
  const repo = libraries[0]?.id as (typeof libraries)[number]['id']
  await writer.commit(repo, [{ op: 'put', path: '/gone later.txt', content: Buffer.from('gone later') }])
  const objects = new RawObjects(sample.dataDir)
  const acts = new ServerActs(sample.dataDir, { type: 'sqlite', path: join(sample.dataDir, 'seafile.db') })
  const root = objects.commit(repo, await acts.head(repo)).root_id
  const [block] = [...objects.tree(repo, root)].find(
    ([, { kind, path }]) => kind === 'blocks' && path === '/gone later.txt',
  ) ?? ['']
  await writer.commit(repo, [{ op: 'remove', path: '/gone later.txt' }])
  await sample[Symbol.asyncDispose]()
  await rm(objects.path('blocks', repo, block))
  const conf = await confFor(dir)

  t.equal((await look(conf, { ...EVERYTHING, history: false })).total.findings, 0)
  const { findings } = await look(conf, EVERYTHING)
  t.match(findings.get(repo), [{ id: block, path: '/gone later.txt', problem: 'missing', where: 'history' }])
})

t.test('verify: an object that two libraries share is reported of each that lacks it', async t => {
  const dir = await temporary(t)
  const sample = await makeSamplePrimary(dir)
  await sample[Symbol.asyncDispose]()
  const conf = await confFor(dir)
  const id = (kind: string) => sample.libraries.find(library => library.kind === kind)?.id ?? ''
  const [origin, virtual] = [id('origin'), id('virtual')]
  const objects = new RawObjects(sample.dataDir)
  const acts = new ServerActs(sample.dataDir, { type: 'sqlite', path: join(sample.dataDir, 'seafile.db') })
  const root = objects.commit(virtual, await acts.head(virtual)).root_id
  const [block] = [...objects.tree(origin, root)].find(([, { kind }]) => kind === 'blocks') ?? ['']
  await rm(objects.path('blocks', origin, block))

  const { findings, total } = await look(conf, { ...EVERYTHING, history: false })

  t.strictSame([...findings.keys()].sort(), [origin, virtual].sort())
  t.match(findings.get(virtual), [{ id: block, where: 'head' }])
  t.equal(total.damagedLibraries, 2)
})

t.test('verify: an id that is none, or that is of two, is refused', async t => {
  const dir = await temporary(t)
  const sample = await makeSamplePrimary(dir)
  await sample[Symbol.asyncDispose]()
  const conf = await confFor(dir)
  await t.rejects(look(conf, { ...EVERYTHING, library: 'zzzz' }), { code: 'LIBRARY_UNKNOWN' })
  await t.rejects(look(conf, { ...EVERYTHING, library: '' }), { code: 'LIBRARY_AMBIGUOUS' })
  await t.rejects(look(join(dir, 'nowhere'), EVERYTHING), { code: 'CONFIG_INVALID' })
})
