import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import {
  MUSIC,
  NOTES,
  PHOTOS,
  controlTarget,
  failure,
  library,
  progress,
  report,
  startControl,
} from '../support/control.js'
import type { ChildProcess } from 'node:child_process'
import type { ControlTarget } from '../../src/backup/control/control-api.js'

const COMMAND = fileURLToPath(new URL('../../scripts/seaf-backup-cmd.js', import.meta.url))
const SCRIPT = '/usr/bin/script'

const damaged = (at: number) =>
  ({
    kind: 'blocks',
    id: String(at).padStart(40, 'b'),
    problem: 'corrupt',
    path: `/2026/${at}.jpg`,
    where: 'head',
  }) as const

const FAILED = library(NOTES, {
  name: 'Notes',
  state: 'failed',
  lagMs: 90_061_000,
  failure: failure({ damaged: Array.from({ length: 12 }, (_, i) => damaged(i)), damagedTotal: 12 }),
})

interface Outcome {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** The environment of the tests must not name a Seafile installation. */
const ENV = { ...process.env, SEAFILE_CENTRAL_CONF_DIR: '', SEAFILE_DATA_DIR: '' }

function start(args: readonly string[]): { child: ChildProcess; outcome: Promise<Outcome> } {
  const child = spawn(process.execPath, [COMMAND, ...args], { env: ENV, stdio: ['ignore', 'pipe', 'pipe'] })
  const texts = Promise.all([child.stdout.toArray(), child.stderr.toArray()])
  const outcome = once(child, 'close').then(async ([code]: unknown[]) => {
    const [out, err] = (await texts).map(chunks => Buffer.concat(chunks as Buffer[]).toString())
    return { code: code as number | null, out: out ?? '', err: err ?? '' }
  })
  return { child, outcome }
}

const run = (...args: string[]): Promise<Outcome> => start(args).outcome

async function runAgainst(target: ControlTarget, ...args: string[]): Promise<Outcome> {
  await using host = await startControl(target)
  return await run('--state', host.stateDir, ...args)
}

t.test('command: no daemon, it says which socket it tried and what to run, and exits with 4', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'seaf-backup-cmd-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))

  const { code, out, err } = await run('status', '--state', dir)
  t.equal(code, 4)
  t.equal(out, '')
  t.match(err, join(dir, 'control.sock'))
  t.match(err, 'systemctl start seaf-backup-server')
  t.equal(err.split('\n').length, 2, 'one line')

  t.equal((await run('sync', '--all', '--socket', join(dir, 'other.sock'))).code, 4)
})

t.test('command: asked wrongly, it says so, exits with 2 and asks nobody', async t => {
  for (const args of [
    ['frobnicate'],
    ['status', '--frobnicate'],
    ['sync', '--state', '/nowhere'],
    ['sync', PHOTOS, '--all', '--state', '/nowhere'],
    ['sync', PHOTOS, NOTES, '--state', '/nowhere'],
    [],
  ]) {
    const { code, out, err } = await run(...args)
    t.equal(code, 2, args.join(' '))
    t.equal(out, '')
    t.not(err, '')
    t.notMatch(err, /^ +at .+:\d+/m, 'no stack trace')
  }

  const nowhere = await run('status')
  t.equal(nowhere.code, 2)
  t.match(nowhere.err, '--state DIR')
})

t.test('command: --help and --version answer without a daemon', async t => {
  const help = await run('--help')
  t.equal(help.code, 0)
  for (const word of ['status', 'sync', '--conf', '--data', '--state', '--socket', '130']) t.match(help.out, word)
  const version = await run('--version')
  t.equal(version.code, 0)
  t.match(version.out, /^\d+\.\d+\.\d+\n$/)
})

t.test('status: a failed library, the form is exact and the exit code is 3', async t => {
  const libraries = [
    library(PHOTOS, { state: 'syncing', lagMs: 5 }),
    FAILED,
    library(MUSIC, { state: 'failed', failure: failure() }),
  ]
  const { code, out, err } = await runAgainst(controlTarget(report(libraries)), 'status')
  t.equal(
    out,
    `Total number of libraries: 3
Number of synchronized libraries: 0
Number of libraries waiting for sync: 0
Number of libraries syncing: 1
Number of libraries failed to sync: 2

List of syncing libraries:
${PHOTOS}

List of libraries failed to sync:
${NOTES}
${MUSIC}
`,
  )
  t.equal(err, '')
  t.equal(code, 3)
})

t.test('status: all synchronized, only the fixed block is printed and the exit code is 0', async t => {
  const { code, out } = await runAgainst(controlTarget(report([library(PHOTOS)])), 'status')
  t.equal(
    out,
    `Total number of libraries: 1
Number of synchronized libraries: 1
Number of libraries waiting for sync: 0
Number of libraries syncing: 0
Number of libraries failed to sync: 0
`,
  )
  t.equal(code, 0)
})

t.test('status: a primary that is not to be had comes after the fixed block, and the exit code is 3', async t => {
  const problem = {
    code: 'TOKEN_MISMATCH',
    message: 'ask the primary: it refused our token',
    nextStep: 'compare',
  } as const
  const refused = await runAgainst(controlTarget(report([], { reachable: true, problem })), 'status')
  t.match(refused.out, /failed to sync: 0\n\nPrimary: ask the primary.* \(TOKEN_MISMATCH\)\nNext step: compare\n$/)
  t.equal(refused.code, 3)

  const away = { reachable: false, lastContactAgoMs: 200_000 }
  const silent = await runAgainst(controlTarget(report([library(PHOTOS)], away)), 'status')
  t.match(silent.out, /\n\nPrimary: https:.* does not answer, last contact 3 min 20 s ago\nNext step: .*\n$/)
  t.equal(silent.code, 3)
})

t.test('status: a library that waits is behind after a minute, or when nobody knows for how long', async t => {
  const waiting = (lagMs: number | null) =>
    runAgainst(controlTarget(report([library(PHOTOS, { state: 'waiting', lagMs })])), 'status')
  t.equal((await waiting(200)).code, 0)
  t.equal((await waiting(60_000)).code, 3)
  t.equal((await waiting(null)).code, 3)
})

t.test('status --verbose: lag, reason, next step and damaged paths of each library', async t => {
  const never = library(PHOTOS, {
    name: null,
    owner: null,
    state: 'waiting',
    head: null,
    recordedAt: null,
    lagMs: null,
  })
  const { code, out } = await runAgainst(controlTarget(report([FAILED, never])), 'status', '--verbose')
  const blocks = out.split('\n\n').slice(2)
  t.equal(
    blocks[0],
    `${PHOTOS}
  name: unknown
  owner: unknown
  state: waiting
  lag: unknown
  head: none yet`,
  )
  const paths = Array.from({ length: 10 }, (_, i) => `    /2026/${i}.jpg (block ${damaged(i).id} corrupt)`)
  t.equal(
    blocks[1],
    `${NOTES}
  name: Notes
  owner: jo@example.com
  state: failed (OBJECT_CORRUPT)
  lag: 1 d 1 h
  head: ${'c'.repeat(40)}, recorded 2026-01-02T03:04:05.006Z
  reason: pull library 3f1c09bb: block 9be1d0c2 holds 77aa01f3
  next step: run seaf-fsck on the primary
  damaged: 12 objects
${paths.join('\n')}
    and 2 more: see --json
`,
  )
  t.equal(code, 3)
})

t.test('status: a library named with terminal controls changes nothing on the terminal', async t => {
  const name = 'evil\u001b[2J\u202e\nname: good'
  const { out } = await runAgainst(controlTarget(report([library(PHOTOS, { name })])), 'status', '--verbose')
  t.match(out, '  name: evil?[2J??name: good\n')
})

t.test('status --json: the whole report, as the daemon gave it', async t => {
  const whole = report([FAILED])
  const { code, out } = await runAgainst(controlTarget(whole), 'status', '--json')
  t.strictSame(JSON.parse(out), JSON.parse(JSON.stringify(whole)))
  t.equal(code, 3)
})

t.test('sync: a library that fails prints code, reason, next step and paths, and exits with 1', async t => {
  const { code, out, err } = await runAgainst(controlTarget(report([FAILED])), 'sync', NOTES)
  t.equal(code, 1)
  t.equal(out, '')
  for (const part of ['OBJECT_CORRUPT', 'holds 77aa01f3', 'seaf-fsck', '/2026/0.jpg', '2 more']) t.match(err, part)
})

t.test('sync: an ambiguous prefix lists what it could be, an unknown one says so; both exit with 2', async t => {
  const target = controlTarget(report([library(PHOTOS), library(NOTES)]))
  const ambiguous = await runAgainst(target, 'sync', '3f1c')
  t.equal(ambiguous.code, 2)
  t.match(ambiguous.err, `  ${PHOTOS}\n  ${NOTES}\n`)
  t.match(ambiguous.err, 'LIBRARY_AMBIGUOUS')

  const unknown = await runAgainst(target, 'sync', 'ffff', '--json')
  t.equal(unknown.code, 2)
  t.match(JSON.parse(unknown.out), { error: { code: 'LIBRARY_UNKNOWN' } })
  t.equal((await runAgainst(target, 'sync', 'not-an-id')).code, 2)
})

t.test('sync: a library that is synchronized exits with 0, and --force reaches the daemon', async t => {
  const target = controlTarget(report([library(PHOTOS)]), {
    sync: async (id, { force }, onProgress) => {
      onProgress(progress())
      return library(id, force ? { holes: 2, skipped: [damaged(0), damaged(1)] } : {})
    },
  })
  const { code, out, err } = await runAgainst(target, 'sync', '3f1c')
  t.equal(code, 0)
  t.equal(out, `${PHOTOS} synchronized\n`)
  t.equal(err, '100 of 400 objects, 1.0 MiB of 4.0 MiB, 1.0 MiB/s, 3.0 s left\n')

  const forced = await runAgainst(target, 'sync', '--force', PHOTOS)
  t.match(forced.out, `${PHOTOS} synchronized with 2 missing objects\nskipped: 2 objects\n  /2026/0.jpg (block `)
  t.match(JSON.parse((await runAgainst(target, 'sync', PHOTOS, '--json')).out), { id: PHOTOS, state: 'synchronized' })
})

t.test('libraries: one a line, control characters kept from the terminal, unknown as a word', async t => {
  const one = library(PHOTOS, { name: 'Pho\u001b[2Jtos', lagMs: 1_200, sizeBytes: 3 * 1_048_576 })
  const other = library(NOTES, {
    state: 'waiting',
    lagMs: null,
    sizeBytes: null,
    changedAt: null,
    owner: null,
    holes: 2,
  })
  const gone = library(MUSIC, { deletedOnPrimary: true })
  const { code, out } = await runAgainst(controlTarget(report([one, other, gone])), 'libraries')
  t.equal(code, 0)
  const lines = out.split('\n').map(line => line.split(/ {2,}/))
  t.strictSame(lines.slice(0, 4), [
    ['LIBRARY', 'STATE', 'LAG', 'SIZE', 'LAST CHANGE', 'OWNER', 'NAME'],
    [PHOTOS, 'synchronized', '1.2 s', '3.0 MiB', '2026-01-02T03:04:05Z', 'jo@example.com', 'Pho?[2Jtos'],
    [NOTES, 'waiting-2-missing', 'unknown', 'unknown', 'unknown', 'unknown', 'Photos'],
    [MUSIC, 'deleted', '0 ms', '1.0 MiB', '2026-01-02T03:04:05Z', 'jo@example.com', 'Photos'],
  ])
  const json = JSON.parse((await runAgainst(controlTarget(report([one])), 'libraries', '--json')).out) as unknown[]
  t.match(json, [{ id: PHOTOS, sizeBytes: 3 * 1_048_576 }])
})

t.test('log: every head that was recorded, newest first; a limit that is none is refused with 2', async t => {
  const entry = { head: 'b'.repeat(40), displaced: 'a'.repeat(40), relation: 'rewound', cause: 'forced' } as const
  const entries = [
    { ...entry, primaryHadAt: null, recordedAt: Date.UTC(2026, 0, 2) },
    { ...entry, displaced: null, relation: 'new', cause: 'push', primaryHadAt: 1_000, recordedAt: 2_000 } as const,
  ]
  const asked: unknown[] = []
  const headLog = (id: string, limit: number) => (asked.push([id, limit]), entries)
  const target = controlTarget(report([library(PHOTOS)]), { headLog })
  const { code, out } = await runAgainst(target, 'log', '3f1c', '--limit', '7')
  t.equal(code, 0)
  t.strictSame(asked, [[PHOTOS, 7]])
  t.strictSame(
    out.split('\n').map(line => line.split(/ {2,}/)),
    [
      ['DURABLE HERE', 'ON THE PRIMARY', 'CAUSE', 'MOVE', 'HEAD', 'DISPLACED'],
      ['2026-01-02T00:00:00Z', 'unknown', 'forced', 'rewound', 'bbbbbbbbbb', 'aaaaaaaaaa'],
      ['1970-01-01T00:00:02Z', '1970-01-01T00:00:01Z', 'push', 'new', 'bbbbbbbbbb', '-'],
      [''],
    ],
  )
  t.strictSame(JSON.parse((await runAgainst(target, 'log', PHOTOS, '--json')).out), entries)
  t.equal((await runAgainst(target, 'log', PHOTOS, '--limit', '0')).code, 2)
  t.equal((await runAgainst(target, 'log', 'ffff')).code, 2)
})

t.test('sync --all: lists those that failed and exits with 1, and with 0 when there are none', async t => {
  const some = await runAgainst(controlTarget(report([library(PHOTOS), FAILED])), 'sync', '--all')
  t.equal(some.code, 1)
  t.equal(some.out, 'Synchronized: 1, failed: 1\n')
  t.match(some.err, `${NOTES} failed: OBJECT_CORRUPT\n`)

  const json = await runAgainst(controlTarget(report([FAILED])), 'sync', '--all', '--json')
  t.match(JSON.parse(json.out), { synchronized: 0, failed: 1, libraries: [{ id: NOTES }] })
  t.equal((await runAgainst(controlTarget(report([library(PHOTOS)])), 'sync', '--all')).code, 0)
})

t.test('sync: interrupted, it exits with 130, and the daemon hears of it', async t => {
  const waiting = Promise.withResolvers<AbortSignal>()
  const target = controlTarget(report([library(PHOTOS)]), {
    sync: (_id, _options, _p, signal) => wait(signal, waiting),
  })
  await using host = await startControl(target)
  const { child, outcome } = start(['sync', PHOTOS, '--state', host.stateDir])
  const signal = await waiting.promise
  child.kill('SIGINT')

  t.equal((await outcome).code, 130)
  if (!signal.aborted) await once(signal, 'abort')
  t.ok(signal.aborted)
})

t.test('sync: a daemon that stops meanwhile is reported with what happens next, and exits with 1', async t => {
  const waiting = Promise.withResolvers<AbortSignal>()
  const target = controlTarget(report([library(PHOTOS)]), {
    sync: (_id, _options, _p, signal) => wait(signal, waiting),
  })
  await using host = await startControl(target)
  const { outcome } = start(['sync', PHOTOS, '--state', host.stateDir])
  await waiting.promise
  await host.stop()

  const { code, err } = await outcome
  t.equal(code, 1)
  t.match(err, /STOPPING/)
  t.match(err, 'Next step: ')
})

t.test('sync: on a terminal it draws a bar', { skip: !existsSync(SCRIPT) && 'script(1) is not installed' }, async t => {
  const target = controlTarget(report([library(PHOTOS)]), {
    sync: async (id, _options, onProgress) => {
      onProgress(progress())
      return library(id)
    },
  })
  await using host = await startControl(target)
  const line = [process.execPath, COMMAND, 'sync', PHOTOS, '--state', host.stateDir].map(a => `'${a}'`).join(' ')
  const child = spawn(SCRIPT, ['-qec', line, '/dev/null'], { env: ENV, stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'close')
  const screen = Buffer.concat((await child.stdout.toArray()) as Buffer[]).toString()

  t.strictSame((await exited)[0], 0)
  t.match(screen, /[█░].*100 of 400 objects/u)
  t.match(screen, `${PHOTOS} synchronized`)
})

function wait(signal: AbortSignal, waiting: PromiseWithResolvers<AbortSignal>): Promise<never> {
  waiting.resolve(signal)
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
}
