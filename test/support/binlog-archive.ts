/** An archive of a real server's binlog, as the backup would have made it; and dumps that know where in it they are. */

import { execFile } from 'node:child_process'
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import {
  encodeFileInfo,
  encodeReached,
  encodeRunInfo,
  fileInfoPath,
  filePath,
  reachedPath,
  runDir,
  runInfoPath,
} from '../../src/backup/binlog/archive-layout.js'
import { daysAround, zoneOf, zoneSql } from '../../src/shared/system-zone.js'
import { CORE_TABLES } from '../../src/shared/catalog/schema.js'
import type { BinlogPosition } from '../../src/shared/binlog-events.js'
import type { Mariadb } from './mariadb.js'

const run = promisify(execFile)

export interface ArchiveOptions {
  readonly run?: number
  readonly why?: string
  /** Unix ms. */
  readonly began?: number
  /** What the server's clock shows beyond ours, ms. */
  readonly skewMs?: number
  /** The first file that is archived. Default: the server's first. */
  readonly from?: string
  /** As an agent that is too old to tell it. */
  readonly withoutZone?: boolean
}

/** All that the server has logged up to now. Gives where the files of the run are. */
export async function layArchive(stateDir: string, server: Mariadb, options: ArchiveOptions = {}): Promise<string> {
  const dir = runDir(stateDir, options.run ?? 1)
  await mkdir(dir, { recursive: true })
  const logs = (await server.query('SHOW BINARY LOGS')).trim().split('\n')
  const [last, size] = (logs.at(-1) ?? '').split('\t')
  const at = Date.now()
  const names = logs.map(line => line.split('\t')[0] ?? '')
  const archived = names.slice(options.from === undefined ? 0 : names.indexOf(options.from))
  const days = daysAround(at)
  const [called, offsets] = (await server.query(zoneSql(days))).trim().split('\t')
  const zone = zoneOf(days, called, offsets) ?? null
  for (const [index, name] of archived.entries()) {
    await copyFile(join(server.dir, 'data', name), filePath(dir, index + 1))
    await writeFile(
      fileInfoPath(dir, index + 1),
      encodeFileInfo({ name, zone: options.withoutZone === true ? null : zone }),
    )
  }
  if (last !== archived.at(-1)) throw new Error(`the server writes to ${last}`)
  const version = (await server.query('SELECT VERSION()')).trim()
  const info = { server: { version, id: 1 }, began: options.began ?? 0, why: options.why ?? 'first' }
  await writeFile(runInfoPath(dir), encodeRunInfo(info))
  const reached = { n: archived.length, offset: Number(size), serverTime: at + (options.skewMs ?? 0), at }
  await writeFile(reachedPath(dir), encodeReached(reached))
  return dir
}

/** SQL of a dump as the agent takes it, and where in the binlog it is. */
export async function dumpOf(
  server: Mariadb,
  databases: readonly string[],
): Promise<{ readonly sql: string; readonly position: BinlogPosition }> {
  const core = CORE_TABLES.map(table => `--ignore-table=${databases[0] ?? ''}.${table}`)
  const { stdout } = await run(
    'mariadb-dump',
    [
      ...['--no-defaults', `--socket=${server.socket}`, `--user=${server.user}`, '--single-transaction'],
      ...[
        '--master-data=2',
        '--hex-blob',
        '--routines',
        '--triggers',
        '--events',
        ...core,
        '--databases',
        ...databases,
      ],
    ],
    { maxBuffer: 1e9 },
  )
  return { sql: stdout, position: positionIn(stdout) }
}

export function positionIn(sql: string): BinlogPosition {
  const [, file = '', offset = '0'] =
    /^-- CHANGE MASTER TO MASTER_LOG_FILE='([^']+)', MASTER_LOG_POS=(\d+);/m.exec(sql) ?? []
  return { file, offset: Number(offset) }
}

/** Of a dump that is kept: where its snapshot is, for one that was taken when nothing was written. */
export async function notePosition(stateDir: string, id: string, position: BinlogPosition): Promise<void> {
  const manifest = join(stateDir, 'dumps', id, 'manifest.json')
  const json = JSON.parse(await readFile(manifest, 'utf8')) as object
  await writeFile(manifest, JSON.stringify({ ...json, position }))
}

export async function binlogEnd(server: Mariadb): Promise<BinlogPosition> {
  const [file = '', offset] = (await server.query('SHOW MASTER STATUS')).trim().split('\t')
  return { file, offset: Number(offset) }
}
