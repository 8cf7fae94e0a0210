/** `verify` against the independent reader, and against damage of every kind that a disk can do. */

import { cp, mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { verifyCopy } from '../../../src/backup/verify/verify-copy.js'
import { makeSamplePrimary } from '../../../scripts/sample-primary.js'
import { extractFixture, fixturesMissing, referenceCheck } from '../../support/fixtures.js'
import { mariadbInstalled, startMariadb } from '../../support/mariadb.js'
import { RawObjects } from '../../support/raw-objects.js'
import { ServerActs } from '../../support/server-acts.js'
import { flipByte, layFixture, mysqlConfig } from '../../support/sides.js'
import { TOKEN } from '../../support/pair.js'
import { Timeline } from '../../support/timeline.js'
import type { Test } from 'tap'
import type { DatabaseConfig } from '../../../src/shared/catalog/database-config.js'
import type { Expected, FixtureName } from '../../support/fixtures.js'
import type { Finding } from '../../../src/backup/verify/library-check.js'
import type { VerifyOrder } from '../../../src/backup/verify/verify-copy.js'

const signal = new AbortController().signal
type Libraries = Awaited<ReturnType<typeof makeSamplePrimary>>['libraries']
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
      progress() {},
    },
    signal,
  )
  return { findings, total }
}

async function confFor(dir: string, database: readonly string[] = ['type = sqlite']): Promise<string> {
  const conf = join(dir, 'conf')
  await mkdir(conf, { recursive: true })
  const lines = ['[backup]', 'primary_url = http://127.0.0.1:1', `sync_token = ${TOKEN}`, '[database]', ...database, '']
  await writeFile(join(conf, 'seafile.conf'), lines.join('\n'), { mode: 0o600 })
  return conf
}

async function temporary(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'sbv-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return dir
}

let made: Promise<{ dir: string; libraries: Libraries }> | undefined

/** A copy of the sample libraries for each test: making them takes longer than verifying them. */
async function sampleIn(dir: string): Promise<{ dataDir: string; libraries: Libraries }> {
  made ??= (async () => {
    const template = await temporary(t)
    const sample = await makeSamplePrimary(template)
    await sample[Symbol.asyncDispose]()
    return { dir: template, libraries: sample.libraries }
  })()
  const { dir: template, libraries } = await made
  await cp(join(template, 'seafile-data'), join(dir, 'seafile-data'), { recursive: true })
  return { dataDir: join(dir, 'seafile-data'), libraries }
}

/** The fixture as a primary of this moment, and what the independent reader finds there. */
async function laid(t: Test, name: FixtureName): Promise<{ conf: string; expected: Expected }> {
  const dir = await temporary(t)
  if (name !== 'mysql-small') {
    if (name === 'sqlite-small') await extractFixture(name, dir)
    else await playTimeline(dir)
    const database = { type: 'sqlite', path: join(dir, 'seafile-data', 'seafile.db') } as const
    return { conf: await confFor(dir), expected: await referenceCheck(join(dir, 'seafile-data'), database) }
  }
  const server = await startMariadb()
  t.teardown(() => server[Symbol.asyncDispose]())
  await layFixture('mysql', dir, server)
  const { unixSocket, user, dbName } = mysqlConfig(server) as DatabaseConfig & { type: 'mysql' }
  const lines = ['type = mysql', `unix_socket = ${String(unixSocket)}`, `user = ${user}`, `db_name = ${dbName}`]
  const expected = await referenceCheck(join(dir, 'seafile-data'), mysqlConfig(server))
  return { conf: await confFor(dir, [...lines, 'password =']), expected }
}

/** All that a real server went through, one step after another. */
async function playTimeline(dir: string): Promise<void> {
  const archive = join(dir, 'archive')
  await mkdir(archive)
  await extractFixture('timeline-sqlite', archive)
  const timeline = await Timeline.open(archive)
  for (const { step } of timeline.steps) await timeline.apply(step, dir)
}

for (const name of ['sqlite-small', 'mysql-small', 'timeline-sqlite'] as const) {
  const skip = fixturesMissing() || (name === 'mysql-small' && !mariadbInstalled() && 'mariadbd is not installed')
  t.test(
    `verify: on what a real server wrote (${name}) it finds what the independent reader finds`,
    { skip },
    async t => {
      const { conf, expected } = await laid(t, name)

      const latest = await look(conf, { ...EVERYTHING, history: false })
      const whole = await look(conf, EVERYTHING)

      const paths = (looked: Looked, repo: string) =>
        [...new Set(looked.findings.get(repo)?.map(({ path }) => path))].sort()
      for (const { id, kind, head_state, kept_history } of expected.libraries) {
        t.strictSame(paths(latest, id), [...head_state.damaged_paths].sort(), `${kind ?? id}: latest state`)
        t.strictSame(paths(whole, id), [...kept_history.damaged_paths].sort(), `${kind ?? id}: with history`)
      }
      t.equal(whole.total.libraries, expected.libraries.length)
      t.equal(whole.total.damagedLibraries, expected.libraries.filter(({ corrupt }) => corrupt).length)
    },
  )
}

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
      const sample = await sampleIn(dir)
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
  const sample = await sampleIn(dir)
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

t.test('verify: it says how far it is, of which library', async t => {
  const dir = await temporary(t)
  await sampleIn(dir)
  const conf = await confFor(dir)
  const seen: { done: number; libraries: number; repo: string }[] = []
  const { libraries } = await verifyCopy(
    { conf },
    EVERYTHING,
    {
      finding() {},
      done() {},
      progress: (done, libraries, repo) => void seen.push({ done, libraries, repo }),
    },
    signal,
  )
  t.strictSame(
    [...new Set(seen.map(({ done }) => done))],
    Array.from({ length: libraries }, (_, n) => n),
  )
  t.ok(seen.every(one => one.libraries === libraries))
  t.equal(new Set(seen.map(({ repo }) => repo)).size, libraries)
})

t.test('verify: an id that is none, or that is of two, is refused', async t => {
  const dir = await temporary(t)
  await sampleIn(dir)
  const conf = await confFor(dir)
  await t.rejects(look(conf, { ...EVERYTHING, library: 'zzzz' }), { code: 'LIBRARY_UNKNOWN' })
  await t.rejects(look(conf, { ...EVERYTHING, library: '' }), { code: 'LIBRARY_AMBIGUOUS' })
  await t.rejects(look(join(dir, 'nowhere'), EVERYTHING), { code: 'CONFIG_INVALID' })
})
