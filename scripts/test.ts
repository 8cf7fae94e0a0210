/**
 * `npm test`, after build and lint: sees to what the tests need, runs them, counts them.
 *
 *   node dist/scripts/test.js [--long] [part of a file's name]...
 *
 * Files named `*.long.test.ts` take minutes each (real deadlines, many kills): they run when they are named, or with `--long`.
 * The last line is always "N passed, N failed, N skipped", counted over
 * assertions. Tests whose needs are not met skip themselves by name, and are
 * counted and shown as skipped.
 */

import { spawn, spawnSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  fsyncSync,
  globSync,
  mkdtempSync,
  openSync,
  rmSync,
  statfsSync,
  writeSync,
} from 'node:fs'
import { once } from 'node:events'
import { availableParallelism, tmpdir } from 'node:os'
import { delimiter, join, relative } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Readable } from 'node:stream'

const COMPILED = fileURLToPath(new URL('..', import.meta.url))
const PROJECT = fileURLToPath(new URL('../..', import.meta.url))

/** Tests wait as long as they work, for daemons and deadlines; more at once would measure the machine's patience. */
const JOBS = Math.min(6, Math.max(4, availableParallelism()))
/** For one file: a test that waits longer than this waits for ever. */
const FILE_SECONDS_MAX = 300
/** To say by itself which test it was. */
const GRACE_SECONDS = 30

interface Need {
  readonly what: string
  /** Any one of them will do. */
  readonly programs: readonly string[]
  /** The Debian package that has them. */
  readonly debianPackage: string
}

const NEEDS: readonly Need[] = [
  { what: 'tests with a real MariaDB', programs: ['mariadbd', 'mysqld'], debianPackage: 'mariadb-server' },
  { what: 'tests on the data of a real Seafile server', programs: ['zstd'], debianPackage: 'zstd' },
  { what: 'tests with power cuts and failing disks', programs: ['strace'], debianPackage: 'strace' },
  { what: 'comparison with the reference reader', programs: ['python3'], debianPackage: 'python3' },
]

/** Servers are not on everybody's PATH. */
const SEARCHED = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']

const isInstalled = ({ programs }: Need): boolean =>
  programs.some(program => SEARCHED.some(dir => dir !== '' && existsSync(join(dir, program))))

function seeToNeeds(): void {
  const missing = NEEDS.filter(need => !isInstalled(need))
  if (missing.length > 0 && process.getuid?.() === 0) install(missing.map(({ debianPackage }) => debianPackage))
  for (const need of missing.filter(need => !isInstalled(need))) {
    console.log(`${need.programs[0]} is not installed (Debian: ${need.debianPackage}): ${need.what} will be skipped`)
  }
}

/** What cannot be installed is skipped by the tests themselves, so a failure here only has to be seen. */
function install(packages: readonly string[]): void {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const aptGet = (...args: string[]) =>
    spawnSync('apt-get', args, { env, stdio: ['ignore', 'ignore', 'inherit'] }).status
  console.log(`installing what the tests need: ${packages.join(' ')}`)
  const done = aptGet('update', '-q') === 0 && aptGet('install', '-qy', '--no-install-recommends', ...packages) === 0
  if (!done) console.log(`could not install ${packages.join(' ')} with apt-get`)
}

/** Compiled tests that still have a source; all of them, or those whose name has one of `parts`. */
function testFiles(parts: readonly string[], long: boolean): string[] {
  const isWanted = (file: string): boolean =>
    parts.length > 0 ? parts.some(part => file.includes(part)) : file.endsWith('.long.test.ts') === long
  return globSync('test/**/*.test.ts', { cwd: PROJECT })
    .filter(isWanted)
    .map(file => join(COMPILED, file.replace(/\.ts$/, '.js')))
    .toSorted()
}

interface Totals {
  passed: number
  failed: number
  skipped: number
}

/** tap's own closing comment, `# { total: 9, pass: 7, fail: 1, skip: 1 }`. */
function readTotals(line: string): Totals | undefined {
  if (!/^# \{ total: \d+/.test(line)) return undefined
  const count = (name: string) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(line)?.[1] ?? 0)
  return { passed: count('pass'), failed: count('fail') + count('todo'), skipped: count('skip') }
}

/** Failures with their details, what is skipped; not every assertion that holds. */
const isWorthShowing = (line: string): boolean =>
  !/^\s*$|^\s+(ok (?!.*# SKIP)|# |\d+\.\.\d+)|^(TAP version|1\.\.|# )/.test(line)

/** A good disk needs under 1 ms; at 10 the tests, which wait for some ten thousand syncs, would take an hour. */
const SLOW_SYNC_MS = 3
const SYNCS = 15
const MEMORY = '/dev/shm'
const MEMORY_BYTES_MIN = 6e9

/** Where tests write: on the disk, as a backup does; in memory where the disk is too slow to be waited for. */
function directoryForTests(): string {
  const disk = tmpdir()
  if (process.env['TMPDIR'] !== undefined || !existsSync(MEMORY)) return disk
  const syncMs = medianSyncMs(disk)
  const { bavail, bsize } = statfsSync(MEMORY)
  if (syncMs < SLOW_SYNC_MS || bavail * bsize < MEMORY_BYTES_MIN) return disk
  console.log(`a sync takes ${syncMs.toFixed(1)} ms in ${disk}: the tests write to ${MEMORY} (set TMPDIR to choose)`)
  return MEMORY
}

function medianSyncMs(dir: string): number {
  const own = mkdtempSync(join(dir, 'sbt-'))
  const fd = openSync(join(own, 'sync'), 'w')
  try {
    const times = Array.from({ length: SYNCS }, () => {
      const startedAt = performance.now()
      writeSync(fd, 'x')
      fsyncSync(fd)
      return performance.now() - startedAt
    })
    return times.toSorted((a, b) => a - b)[SYNCS >> 1] ?? 0
  } finally {
    closeSync(fd)
    rmSync(own, { recursive: true })
  }
}

/** Files one after the other on JOBS places, those with daemons first: they take longest. */
async function runFiles(files: readonly string[]): Promise<Totals> {
  const env = { ...process.env, TMPDIR: directoryForTests(), TAP_TIMEOUT: String(FILE_SECONDS_MAX) }
  const totals: Totals = { passed: 0, failed: 0, skipped: 0 }
  const left = files.toSorted((a, b) => Number(b.includes('/pair/')) - Number(a.includes('/pair/')))
  const work = async () => {
    for (let file = left.shift(); file; file = left.shift()) {
      const { passed, failed, skipped } = await runFile(file, env)
      totals.passed += passed
      totals.failed += failed
      totals.skipped += skipped
    }
  }
  await Promise.all(Array.from({ length: JOBS }, work))
  return totals
}

/**
 * Each file is a program that prints TAP. Not by `tap run`: that loads its instruments into every daemon that a test
 * starts, which doubled the time that a pair needs to begin.
 */
async function runFile(file: string, env: NodeJS.ProcessEnv): Promise<Totals> {
  const startedAt = performance.now()
  const child = spawn(process.execPath, ['--enable-source-maps', file], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const late = setTimeout(() => child.kill('SIGKILL'), 1000 * (FILE_SECONDS_MAX + GRACE_SECONDS))
  const ended = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>
  const said: string[] = []
  let totals: Totals | undefined
  const read = async (stream: Readable) => {
    for await (const line of createInterface({ input: stream })) {
      totals = readTotals(line) ?? totals
      if (isWorthShowing(line)) said.push(line)
    }
  }
  await Promise.all([read(child.stdout), read(child.stderr)])
  const [code, killed] = await ended
  clearTimeout(late)
  const isGood = code === 0 && totals !== undefined && totals.failed === 0
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  console.log(`${isGood ? 'ok' : 'not ok'} ${relative(COMPILED, file)} ${seconds} s`)
  for (const line of isGood ? said.filter(isSkip) : said) console.log(`  ${line}`)
  if (isGood && totals) return totals
  if (totals === undefined) console.log(`  ended without a summary: ${killed ?? `exit code ${code}`}`)
  const { passed = 0, failed = 0, skipped = 0 } = totals ?? {}
  return { passed, failed: Math.max(1, failed), skipped }
}

const isSkip = (line: string): boolean => line.includes('# SKIP')

const parts = process.argv.slice(2).filter(arg => arg !== '--long')
const files = testFiles(parts, process.argv.includes('--long'))
if (files.length === 0) {
  console.log(`no test file has a name with ${parts.join(' or ')}`)
  console.log('0 passed, 0 failed, 0 skipped')
  process.exitCode = 1
} else {
  seeToNeeds()
  const { passed, failed, skipped } = await runFiles(files)
  console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`)
  process.exitCode = failed === 0 ? 0 : 1
}
