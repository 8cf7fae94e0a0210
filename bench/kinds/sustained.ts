/**
 * Commits without a pause over 200 libraries: does the lag stay bounded?
 *
 * Their objects are laid down before, as clients upload them before they ask a
 * server for the head to move; what is timed is heads that move, so the writer
 * takes little of the machine that it shares with both daemons.
 */

import { setTimeout as delay } from 'node:timers/promises'
import { mariadbInstalled } from '../../test/support/mariadb.js'
import { Pair, never } from '../../test/support/pair.js'
import { testDatabase } from '../../test/support/sides.js'
import { Arrivals } from '../../test/soak/arrivals.js'
import { Seeded } from '../data/seeded.js'
import { OWNER } from '../data/source.js'
import { agentPid, backupPid, synchronized } from '../ours.js'
import { quantile } from '../stats.js'
import { peakMb } from '../usage.js'
import type { CommitId, RepoId } from '../../src/shared/ids.js'
import type { Engine } from '../../test/support/sides.js'
import type { Bench, Measurement } from '../bench.js'

const LIBRARIES = 200
/** Of each library at scale 1: 20 s of commits at the steady rate. */
const COMMITS = 50
const FILE_BYTES = 4_000
/** Commits a second; 0: as fast as the database takes them. */
const RATES = [500, 0]
const ENGINES = { sqlite: 'SQLite', mysql: 'MariaDB, binlog' } as const

/** A head that is to move; its objects are on the primary. */
interface Prepared {
  readonly repo: RepoId
  readonly from: CommitId
  readonly to: CommitId
}

export const sustained: Measurement = {
  name: 'sustained',
  about: 'commits a second over 200 libraries, and the lag',
  async run(bench) {
    const rows: string[][] = []
    for (const engine of ['sqlite', 'mysql'] as const) {
      if (engine === 'mysql' && !mariadbInstalled()) continue
      for (const rate of RATES) rows.push(await row(bench, engine, rate))
    }
    return {
      title: `Commits over ${LIBRARIES} libraries, as offered and as taken`,
      tables: [
        {
          header: [
            '',
            'commits',
            'commits/s',
            'lag p50 ms',
            'p95',
            'max',
            'last one after ms',
            'agent MB',
            'backup MB',
          ],
          rows,
        },
      ],
      notes: [
        'Lag: from the moment that Branch moved on the primary until a head that includes the commit is durable on the ' +
          'backup. A library that moves faster than it is copied is copied less often: the newest head brings all.',
      ],
    }
  },
}

async function row(bench: Bench, engine: Engine, rate: number): Promise<string[]> {
  await using stack = new AsyncDisposableStack()
  const primary = stack.use(await testDatabase(engine))
  const backup = stack.use(await testDatabase(engine))
  const side = ({ database }: typeof primary) => (database ? { database } : {})
  const pair = stack.use(await Pair.start({ primary: side(primary), backup: side(backup) }))
  const prepared = await prepare(pair, Math.max(2, Math.round(COMMITS * bench.settings.scale)))
  await synchronized(pair, LIBRARIES)
  await using arrivals = new Arrivals(pair.backup.database)
  const seconds = await moveHeads(pair, prepared, { rate, arrivals })
  const movedAt = performance.now()
  await arrivals.all()
  const lastAfter = performance.now() - movedAt
  const { times } = arrivals.take()
  return [
    `${ENGINES[engine]}, ${rate === 0 ? 'as fast as it can' : `${rate}/s offered`}`,
    String(prepared.length),
    (prepared.length / seconds).toFixed(0),
    ...[0.5, 0.95, 1].map(share => quantile(times, share).toFixed(0)),
    lastAfter.toFixed(0),
    peakMb(agentPid(pair)).toFixed(0),
    peakMb(backupPid(pair)).toFixed(0),
  ]
}

/** In the order in which they are to happen: each library in turn. */
async function prepare(pair: Pair, commits: number): Promise<Prepared[]> {
  const seeded = new Seeded('sustained')
  const writer = await pair.writer()
  const repos: RepoId[] = []
  for (let n = 0; n < LIBRARIES; n++) repos.push(await writer.createLibrary({ name: `Busy ${n}`, owner: OWNER }))
  const heads = (await pair.heads('primary')) as Map<RepoId, CommitId>
  const prepared: Prepared[] = []
  for (let n = 0; n < commits; n++) {
    for (const repo of repos) {
      const from = heads.get(repo) as CommitId
      const put = { op: 'put', path: `/file ${n}.bin`, content: seeded.bytes(FILE_BYTES) } as const
      const to = await writer.uploadCommit(repo, [put], { parent: from })
      heads.set(repo, to)
      prepared.push({ repo, from, to })
    }
  }
  return prepared
}

/** Resolves to the seconds that it took. */
async function moveHeads(
  pair: Pair,
  prepared: readonly Prepared[],
  { rate, arrivals }: { readonly rate: number; readonly arrivals: Arrivals },
): Promise<number> {
  const catalog = await pair.catalog()
  const startedAt = performance.now()
  for (const [n, { repo, from, to }] of prepared.entries()) {
    const early = rate === 0 ? 0 : startedAt + (1000 * n) / rate - performance.now()
    if (early > 1) await delay(early)
    if (!(await catalog.updateBranch(repo, from, to, never))) throw new Error(`head of ${repo} was moved by others`)
    arrivals.expect(repo, to, performance.now())
  }
  return (performance.now() - startedAt) / 1000
}
