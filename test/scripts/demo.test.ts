import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { Test } from 'tap'
import { extractFixture, fixturesMissing } from '../support/fixtures.js'
import { filesBelow } from '../support/sides.js'

const DEMO = fileURLToPath(new URL('../../scripts/demo.js', import.meta.url))

/** Short, because a control socket is to be below it. */
function temporary(t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'sbd-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

async function runDemo(dir: string, ...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, [DEMO, ...args], { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] })
  let out = ''
  let err = ''
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString('utf8')))
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString('utf8')))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, out, err }
}

t.test('demo: a directory that is no installation is refused in one line, and nothing is made', async t => {
  const dir = temporary(t)
  const { code, out, err } = await runDemo(dir, '--primary', dir)
  t.equal(code, 2)
  t.equal(out, '')
  t.match(err, /^demo: find .*storage: not there; --primary names the directory .*\n$/)
  t.strictSame(await filesBelow(dir), [])
})

t.test('demo: five libraries, live commits, a kill in the middle: both sides agree at the end', async t => {
  const dir = temporary(t)
  const { code, out, err } = await runDemo(dir)
  t.equal(code, 0, err)
  t.equal(out.match(/^ +[0-9.]+ ms {2}/gm)?.length, 10, 'a time for each live commit')
  t.match(out, /killed process \d+ with [0-9.]+ MiB of it stored/)
  t.match(out, /still the one before, which is whole/)
  t.match(out, /5 libraries: heads and rows agree/)
  t.match(out, /Number of synchronized libraries: 5\n/)
  t.ok(existsSync(`${dir}/demo-data/backup/seafile-data/seafile.db`), 'what it says is where it says')
})

t.test('demo --primary: an installation is replicated and left as it is', { skip: fixturesMissing() }, async t => {
  const dir = temporary(t)
  for (const name of ['work', 'theirs']) mkdirSync(join(dir, name))
  await extractFixture('sqlite-small', `${dir}/theirs`)
  const before = await filesBelow(`${dir}/theirs`)
  const { code, out, err } = await runDemo(`${dir}/work`, '--primary', `${dir}/theirs`)
  t.equal(code, 0, err)
  t.match(out, /13 libraries: heads and rows agree/)
  t.match(out, /Number of libraries failed to sync: 2\n/)
  t.strictSame(await filesBelow(`${dir}/theirs`), before)
})
