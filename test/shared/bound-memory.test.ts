import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const MODULE = fileURLToPath(new URL('../../src/shared/bound-memory.js', import.meta.url))

/** Busy as a daemon is: most of what it makes is soon forgotten, some of it lives a while. */
const PROGRAM = `
import { getHeapSpaceStatistics } from 'node:v8'
import { boundMemory } from '${MODULE}'
if (process.argv.includes('bound')) boundMemory()
const youngBytes = () => getHeapSpaceStatistics().find(space => space.space_name === 'new_space').space_size
let kept = []
for (let n = 0; n < 1_000_000 && (n % 10_000 > 0 || youngBytes() <= 32 * 1024 * 1024); n++) {
  kept.push({ a: new Array(50).fill(n) })
  if (kept.length > 20_000) kept = kept.slice(10_000)
}
console.log(JSON.stringify({ pid: process.pid, args: process.argv.slice(2), flags: process.execArgv, arenas: process.env.MALLOC_ARENA_MAX, threads: process.env.UV_THREADPOOL_SIZE, bytes: youngBytes() }))
`

interface Seen {
  readonly pid: number
  readonly args: readonly string[]
  readonly flags: readonly string[]
  readonly arenas?: string
  readonly threads?: string
  readonly bytes: number
}

const dir = mkdtempSync(join(tmpdir(), 'seaf-backup-young-'))
t.teardown(() => rmSync(dir, { recursive: true, force: true }))
const program = join(dir, 'program.mjs')
writeFileSync(program, PROGRAM)

const run = (...args: readonly string[]) => runWith({}, ...args)

function runWith(env: NodeJS.ProcessEnv, ...args: readonly string[]): Seen & { readonly spawned: number } {
  const { pid, stdout } = spawnSync(process.execPath, args, { encoding: 'utf8', env })
  return { spawned: pid, ...(JSON.parse(stdout) as Seen) }
}

t.test(
  'memory: the young generation of a busy process stays bound; of one that has more room it is larger',
  async t => {
    const MB = 1024 * 1024
    // how soon V8 lets it grow by itself depends on the machine: room is given
    t.ok(run('--min-semi-space-size=32', '--max-semi-space-size=32', program).bytes > 32 * MB)
    t.ok(run(program, 'bound').bytes <= 16 * MB)
  },
)

t.test('memory: the process stays the same, with its flags and arguments', async t => {
  const seen = run('--enable-source-maps', program, 'bound', '--conf', 'x')
  t.equal(seen.pid, seen.spawned)
  t.strictSame(seen.args, ['bound', '--conf', 'x'])
  t.ok(seen.flags.includes('--enable-source-maps'))
  t.equal(seen.arenas, '2')
  t.equal(seen.threads, '16', 'for fsyncs that wait together')
})

t.test('memory: what the operator has set is left as it is', async t => {
  t.strictSame(run('--max-semi-space-size=32', program, 'bound').flags, ['--max-semi-space-size=32'])
  t.equal(runWith({ MALLOC_ARENA_MAX: '7' }, program, 'bound').arenas, '7')
  t.equal(runWith({ UV_THREADPOOL_SIZE: '4' }, program, 'bound').threads, '4')
})
