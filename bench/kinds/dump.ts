/**
 * A gigabyte of rows beside the libraries: dumped and restored, beside the servers' own tools piped through zstd.
 *
 * Ours goes over the authenticated line, is made durable, read again and counted; the pipe does none of that but one
 * fsync at its end. A restore or promotion of ours has no library in it, so that what is timed are tables.
 */

import { chmod, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startMariadb } from '../../test/support/mariadb.js'
import { Pair } from '../../test/support/pair.js'
import { mysqlConfig } from '../../test/support/sides.js'
import { runProgram } from '../programs.js'
import { median } from '../stats.js'
import { measured } from '../usage.js'
import type { Mariadb } from '../../test/support/mariadb.js'
import type { Bench, Measurement } from '../bench.js'
import type { Cost } from '../usage.js'

const COMMAND = fileURLToPath(new URL('../../scripts/seaf-backup-cmd.js', import.meta.url))
/** Of about 230 bytes of SQL each: 1 GB at scale 1. */
const ROWS = 4_400_000
const ROWS_A_STATEMENT = 200_000
const SERVER = ['--skip-log-bin', '--innodb-buffer-pool-size=512M', '--innodb-log-file-size=256M']
const DATABASES = ['seafile_db', 'ccnet_db', 'seahub_db']
const DUMP = 'mariadb-dump --defaults-file="$1" --single-transaction --quick --hex-blob --routines --triggers --events'
const PIPED_DUMP = `set -o pipefail; ${DUMP} --databases ${DATABASES.join(' ')} | zstd -3 -q -f -o "$2" && sync "$2"`
const PROMOTE = ['--confirm', 'PROMOTE', '--accept-loss', 'primary,libraries,tables']
const PIPED_RESTORE = 'set -o pipefail; zstd -d -c -q "$2" | mariadb --defaults-file="$1"'

export const dump: Measurement = {
  name: 'dump',
  about: 'a dump of 1 GB of rows, its restore and its promotion, beside mariadb-dump | zstd and mariadb <',
  async run(bench) {
    await using theirs = await startMariadb({ args: SERVER })
    bench.say('making rows')
    await fill(theirs, Math.round(ROWS * bench.settings.scale))
    await using ours = await startMariadb({ args: SERVER })
    await ours.query('CREATE DATABASE seafile_db')
    const database = (server: Mariadb) => ({ database: mysqlConfig(server) })
    await using pair = await Pair.start({ primary: database(theirs), backup: database(ours) })
    await pair.settle()
    const costs = { ours: [] as Cost[], piped: [] as Cost[], restored: [] as Cost[], loaded: [] as Cost[] }
    let bytes = 0
    for (let run = 0; run < bench.settings.runs; run++) {
      costs.ours.push(await measured(() => command(pair, 'dumps', 'now'), daemonsOf(pair)))
      const file = join(bench.workspace.fresh('piped'), 'all.sql.zst')
      const options = await optionFile(bench, theirs)
      costs.piped.push(await measured(() => runProgram('bash', ['-c', PIPED_DUMP, 'dump', options, file])))
      bytes = (await stat(file)).size
      costs.restored.push(await intoNewServer(bench, server => restore(bench, pair, server)))
      costs.loaded.push(
        await intoNewServer(bench, server => runProgram('bash', ['-c', PIPED_RESTORE, 'load', server, file])),
      )
    }
    await expectWhole(pair)
    const plain = (await plainBytes(pair)) / 1e6
    await pair.backup.process?.stop()
    const promoted = [await measured(() => command(pair, 'promote', ...PROMOTE))]
    const rows = [
      row('seaf-backup-cmd dumps now', costs.ours, costs.piped),
      row('mariadb-dump | zstd -3, sync', costs.piped, costs.piped),
      row('seaf-backup-cmd restore', costs.restored, costs.loaded),
      row('seaf-backup-cmd promote', promoted, costs.loaded),
      row('zstd -d | mariadb', costs.loaded, costs.loaded),
    ]
    return {
      title: `A dump of ${plain.toFixed(0)} MB of SQL (${(bytes / 1e6).toFixed(0)} MB packed), and its restore`,
      tables: [{ header: ['', 's', 'of the pipe', 'CPU s', 'MB RSS'], rows }],
      notes: [
        'A promotion reads the dump to its end before it fences, and then imports it into the database of the backup; once.',
        'CPU and memory of ours are with both daemons, the dump tool and the client; of none of them with the database server.',
      ],
    }
  },
}

/** Texts that pack as people's do: some of it again and again, some of it never. */
async function fill(server: Mariadb, rows: number): Promise<void> {
  await server.query(`CREATE DATABASE ccnet_db; CREATE DATABASE seahub_db; CREATE DATABASE seafile_db;
    CREATE TABLE seahub_db.events (id BIGINT PRIMARY KEY, user VARCHAR(255), path VARCHAR(255), detail TEXT, at DATETIME)`)
  for (let from = 1; from <= rows; from += ROWS_A_STATEMENT) {
    const to = Math.min(rows, from + ROWS_A_STATEMENT - 1)
    await server.query(`INSERT INTO seahub_db.events SELECT seq, CONCAT('user', seq % 5000, '@example.com'),
      CONCAT('/Projects/', seq % 200, '/Reports/', MD5(seq), '.odt'), CONCAT('{"repo":"', SHA1(seq), '","op":"edit","size":', seq * 7, '}'),
      FROM_UNIXTIME(1600000000 + seq) FROM seahub_db.seq_${from}_to_${to}`)
  }
}

const command = (pair: Pair, ...args: string[]): Promise<void> =>
  runProgram(process.execPath, [COMMAND, '--conf', join(pair.backup.dir, 'conf'), ...args])

const daemonsOf = ({ primary, backup }: Pair): number[] =>
  [primary.process, backup.process].flatMap(daemon => (daemon ? [daemon.pid] : []))

async function optionFile({ workspace }: Bench, server: Mariadb): Promise<string> {
  const file = join(workspace.fresh('options'), 'client.cnf')
  await writeFile(file, `[client]\nuser = ${server.user}\nsocket = ${server.socket}\n`)
  await chmod(file, 0o600)
  return file
}

async function intoNewServer(bench: Bench, load: (optionFile: string) => Promise<void>): Promise<Cost> {
  await using server = await startMariadb({ args: SERVER })
  const options = await optionFile(bench, server)
  return await measured(() => load(options))
}

const restore = (bench: Bench, pair: Pair, server: string): Promise<void> =>
  command(pair, 'restore', '--to', join(bench.workspace.fresh('restored'), 'r'), '--database', server)

interface Kept {
  readonly tables: readonly { readonly table: string; readonly rows: number }[]
}

/** What was timed must have been a dump of all rows. */
async function expectWhole(pair: Pair): Promise<void> {
  const { dumps } = await pair.status()
  const manifest = join(pair.backup.dir, 'seaf-backup-state', 'dumps', String(dumps?.newest?.id), 'manifest.json')
  const { tables } = JSON.parse(await readFile(manifest, 'utf8')) as Kept
  const events = tables.find(({ table }) => table === 'events')
  if (!events || events.rows === 0) throw new Error('the dump that was timed has no rows')
}

async function plainBytes(pair: Pair): Promise<number> {
  const file = join(pair.backup.dir, 'plain.sql')
  await command(pair, 'dumps', 'fetch', 'latest', file)
  return (await stat(file)).size
}

function row(name: string, costs: readonly Cost[], pipe: readonly Cost[]): string[] {
  const of = (all: readonly Cost[], field: keyof Cost) => median(all.map(cost => cost[field]))
  return [
    name,
    of(costs, 'seconds').toFixed(2),
    (of(costs, 'seconds') / of(pipe, 'seconds')).toFixed(2),
    of(costs, 'cpuSeconds').toFixed(1),
    of(costs, 'peakMb').toFixed(0),
  ]
}
