/**
 * Which databases a Seafile server has besides the libraries' own, and where its set-up says so.
 *
 * MySQL: the environment of Docker set-ups, else ccnet.conf and
 * seahub_settings.py beside seafile.conf, else the names of Seafile's own
 * installer. SQLite: files below Seafile's directory. `[backup] databases` goes
 * before all of it.
 */

import { readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { BackupError, reason, systemCode } from '../../shared/errors.js'
import { SEAFILE_DB } from '../../shared/wire/dump-messages.js'
import { parseKeyFile } from '../../shared/key-file.js'
import type { Environment } from '../../shared/directories.js'

/** As Seafile's scripts lay them out. */
const SQLITE_FILES = [
  'ccnet/PeerMgr/usermgr.db',
  'ccnet/GroupMgr/groupmgr.db',
  'ccnet/OrgMgr/orgmgr.db',
  'ccnet/misc/config.db',
  'seahub.db',
] as const
const FILE_BYTES_MAX = 1024 * 1024

/** Seafile's own database first; each once. */
export function mysqlDatabases(
  confDir: string,
  seafileDb: string,
  given: readonly string[] | null,
  env: Environment = process.env,
): string[] {
  const others = given ?? [
    env['SEAFILE_MYSQL_DB_CCNET_DB_NAME'] || ccnetDb(confDir) || 'ccnet_db',
    env['SEAFILE_MYSQL_DB_SEAHUB_DB_NAME'] || seahubDb(confDir) || 'seahub_db',
  ]
  return [...new Set([seafileDb, ...others])]
}

function ccnetDb(confDir: string): string | undefined {
  const text = textOf(join(confDir, 'ccnet.conf'))
  return text === undefined ? undefined : parseKeyFile(text).get('Database', 'DB')
}

/** The first NAME below DATABASES: a Python file, of which that much is as the installer writes it. */
function seahubDb(confDir: string): string | undefined {
  const text = textOf(join(confDir, 'seahub_settings.py'))
  return text === undefined ? undefined : /^DATABASES\s*=[^]*?['"]NAME['"]\s*:\s*['"]([^'"\n]+)['"]/m.exec(text)?.[1]
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').slice(0, FILE_BYTES_MAX)
  } catch {
    return undefined // not every set-up has it, and it may not be ours to read
  }
}

/** What may not be looked at may be there: without it a dump would only look whole. */
function isThere(path: string): boolean {
  try {
    statSync(path)
    return true
  } catch (error) {
    const code = systemCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return false
    throw new BackupError('DUMP_FAILED', `look for ${path}: ${reason(error)}`, {}, { cause: error })
  }
}

export interface SqliteFiles {
  readonly files: readonly { readonly name: string; readonly path: string }[]
  readonly absent: readonly string[]
}

/** `seafileDb` is always among them. Names are paths below the directory that holds seafile-data. */
export function sqliteFiles(seafileDb: string, given: readonly string[] | null): SqliteFiles {
  const dataDir = dirname(seafileDb)
  const top = dirname(dataDir)
  const others = (given ?? SQLITE_FILES).map(name => ({ name, path: join(top, name) }))
  const there = others.filter(({ path }) => given !== null || isThere(path))
  return {
    files: [{ name: SEAFILE_DB, path: seafileDb }, ...there],
    absent: others.filter(other => !there.includes(other)).map(({ name }) => name),
  }
}
