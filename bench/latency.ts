/**
 * `npm run bench:latency`: how long after a commit its head is durable on the backup, beside the peer, in one run.
 *
 *   npm run bench:latency -- [--commits 200] [--source sqlite|binlog|poll]...
 *
 * Both systems stand by all the time and get their commits in turn: ours, the
 * peer's, ours. A time begins when `Branch` has moved on the primary. Ours ends
 * when `Branch` has moved on the backup, with everything it reaches verified
 * and durable; the peer's when the commit's file is there.
 */

import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, mkdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { openCatalog, openCatalogReader } from '../src/shared/catalog/open-catalog.js'
import { silentLog } from '../src/shared/log.js'
import { LibraryWriter } from '../src/shared/seafile/library-writer.js'
import { mariadbInstalled } from '../test/support/mariadb.js'
import { Pair, never } from '../test/support/pair.js'
import { testDatabase } from '../test/support/sides.js'
import { timedCatalog } from '../scripts/local/timed-catalog.js'
import { InotifyRsync, missingPrograms } from './inotify-rsync.js'
import { quantile, table } from './stats.js'
import type { CatalogReader, CatalogWriter } from '../src/shared/catalog/catalog.js'
import type { RepoId } from '../src/shared/ids.js'
import type { PairOptions } from '../test/support/pair.js'
import type { Engine } from '../test/support/sides.js'

const SOURCES = {
  sqlite: { engine: 'sqlite', title: 'SQLite, file watch' },
  binlog: { engine: 'mysql', title: 'MariaDB, binlog' },
  poll: { engine: 'mysql', title: 'MariaDB, poll 1 s' },
} as const
type Source = keyof typeof SOURCES

const WARM_UP = 10
const FILE_BYTES = 4_000
/** More often, the looking itself holds up whom it looks at. */
const LOOK_EVERY_MS = 2
const BURST = { libraries: 50, commits: 1_000 }
const NO_BINLOG = ['--skip-log-bin']

/** A primary's writer that knows when Branch moved. */
interface Writing {
  readonly repo: RepoId
  commit(): Promise<{ readonly head: string; readonly at: number }>
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { commits: { type: 'string', default: '200' }, source: { type: 'string', multiple: true } },
  })
  const commits = Number(values.commits)
  const wanted = (values.source ?? Object.keys(SOURCES)).filter((name): name is Source => name in SOURCES)
  const missing = missingPrograms()
  if (missing.length > 0) console.log(`${missing.join(', ')} not installed: measured without the peer`)
  const rows: string[][] = []
  const bursts: string[][] = []
  for (const source of wanted) {
    if (SOURCES[source].engine === 'mysql' && !mariadbInstalled()) {
      console.log(`mariadbd is not installed: ${SOURCES[source].title} is left out`)
      continue
    }
    const measured = await measure(source, commits, missing.length === 0)
    rows.push(...measured.rows)
    bursts.push(measured.burst)
  }
  const inTurn = `${commits} single-file commits, one after another, ms from the primary's commit`
  console.log(`\n${table([inTurn, 'p50', 'p95', 'p99', 'max'], rows)}`)
  const burst = `${BURST.commits} commits over ${BURST.libraries} libraries, as fast as they can be written`
  const columns = ['written in', 'all heads equal after', 'sweeps', 'agent RSS', 'backup RSS']
  console.log(`\n${table([burst, ...columns], bursts)}`)
}

async function measure(
  source: Source,
  commits: number,
  withPeer: boolean,
): Promise<{ rows: string[][]; burst: string[] }> {
  const { engine, title } = SOURCES[source]
  await using system = await startPair(engine, source === 'poll' ? NO_BINLOG : undefined)
  const { pair } = system
  await using peer = withPeer ? await startPeer() : undefined
  const ours = await writing(pair.primary.dataDir, await pair.catalog())
  await using here = await openCatalogReader(pair.backup.database, silentLog)

  const times = { ours: [] as number[], peer: [] as number[] }
  for (let n = 0; n < WARM_UP + commits; n++) {
    const ourTime = await timed(ours, head => headIs(here, ours.repo, head))
    const peerTime = peer && (await timed(peer.writing, head => peer.has(head)))
    if (n < WARM_UP) continue
    times.ours.push(ourTime)
    if (peerTime !== undefined) times.peer.push(peerTime)
  }
  const rows = [[title, ...figures(times.ours)]]
  if (peer) rows.push(['  inotifywait + rsync', ...figures(times.peer)])
  return { rows, burst: [title, ...(await measureBurst(pair, here))] }
}

async function timed(writing: Writing, arrived: (head: string) => Promise<boolean>): Promise<number> {
  const { head, at } = await writing.commit()
  while (!(await arrived(head))) await delay(LOOK_EVERY_MS)
  const ms = performance.now() - at
  await delay(20 + Math.random() * 20) // whatever trails must not meet the next one, nor always miss it
  return ms
}

const headIs = async (reader: CatalogReader, repo: RepoId, head: string): Promise<boolean> =>
  (await reader.heads(never)).get(repo) === head

const figures = (samples: readonly number[]): string[] =>
  [0.5, 0.95, 0.99, 1].map(share => quantile(samples, share).toFixed(1))

async function startPair(engine: Engine, args?: string[]): Promise<AsyncDisposable & { readonly pair: Pair }> {
  const stack = new AsyncDisposableStack()
  const primary = stack.use(await testDatabase(engine, args))
  const backup = stack.use(await testDatabase(engine))
  const side = ({ database }: typeof primary) => (database ? { database } : {})
  const options: PairOptions = { primary: side(primary), backup: side(backup) }
  const pair = stack.use(await Pair.start(options))
  return { pair, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

async function startPeer(): Promise<
  AsyncDisposable & { readonly writing: Writing; has(head: string): Promise<boolean> }
> {
  const dir = await mkdtemp(join(tmpdir(), 'sbr-'))
  const dataDir = join(dir, 'seafile-data')
  for (const name of ['storage', 'tmpfiles']) await mkdir(join(dataDir, name), { recursive: true })
  const catalog = await openCatalog({ type: 'sqlite', path: join(dataDir, 'seafile.db') }, silentLog, { create: true })
  const itsWriting = await writing(dataDir, catalog)
  await itsWriting.commit()
  const peer = await InotifyRsync.start(dataDir)
  const commits = join(peer.copy, 'storage', 'commits', itsWriting.repo)
  return {
    writing: itsWriting,
    has: async head => existsSync(join(commits, head.slice(0, 2), head.slice(2))),
    async [Symbol.asyncDispose]() {
      await peer[Symbol.asyncDispose]()
      await catalog[Symbol.asyncDispose]()
      await rm(dir, { recursive: true, force: true })
    },
  }
}

async function writing(dataDir: string, catalog: CatalogWriter): Promise<Writing> {
  const timedOnes = timedCatalog(catalog)
  const writer = new LibraryWriter({ dataDir, catalog: timedOnes.catalog })
  const repo = await writer.createLibrary({ name: 'Latency', owner: 'ada@example.com' })
  let n = 0
  return {
    repo,
    async commit() {
      const path = `/folder ${n % 10}/file ${n++}.bin`
      const head = await writer.commit(repo, [{ op: 'put', path, content: randomBytes(FILE_BYTES) }])
      return { head, at: timedOnes.movedAt() }
    },
  }
}

/** Libraries first, which are no part of it; then all commits, then the wait for the last head. */
async function measureBurst(pair: Pair, here: CatalogReader): Promise<string[]> {
  const writer = await pair.writer()
  const repos: RepoId[] = []
  for (let n = 0; n < BURST.libraries; n++) repos.push(await writer.createLibrary({ name: `Burst ${n}`, owner: 'a@b' }))
  await equal(pair, here)
  const sweepsBefore = sweeps(pair)
  const startedAt = performance.now()
  for (let n = 0; n < BURST.commits; n++) {
    const content = randomBytes(FILE_BYTES)
    await writer.commit(repos[n % repos.length] as RepoId, [{ op: 'put', path: `/file ${n}`, content }])
  }
  const writtenAt = performance.now()
  await equal(pair, here)
  const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`
  return [
    seconds(writtenAt - startedAt),
    seconds(performance.now() - writtenAt),
    String(sweeps(pair) - sweepsBefore),
    peakMemory(pair.primary.process?.pid),
    peakMemory(pair.backup.process?.pid),
  ]
}

async function equal(pair: Pair, here: CatalogReader): Promise<void> {
  const theirs = await pair.heads('primary')
  for (;;) {
    const ours = await here.heads(never)
    if ([...theirs].every(([repo, head]) => ours.get(repo) === head)) return
    await delay(5)
  }
}

const sweeps = (pair: Pair): number => (pair.backup.process?.log ?? []).filter(({ msg }) => msg === 'swept').length

function peakMemory(pid: number | undefined): string {
  const kib = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return `${Math.round(Number(kib) / 1024)} MiB`
}

await main()
