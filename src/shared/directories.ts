/**
 * Where things are: the three directories that every process and the command are told of by the same flags.
 *
 * A flag goes before Seafile's own environment variable, and that before what
 * lies beside the directories already known. Nothing here looks at the disk, so
 * that the command finds its socket even when seafile.conf has errors.
 */

import { dirname, join, resolve } from 'node:path'
import { BackupError } from './errors.js'

export interface DirectoryFlags {
  readonly conf?: string | undefined
  readonly data?: string | undefined
  readonly state?: string | undefined
}

export type Environment = Readonly<Record<string, string | undefined>>

export interface Directories {
  /** Holds seafile.conf. */
  readonly confDir: string
  /** seafile-data. */
  readonly dataDir: string
  /** Ours alone: state database, control socket. */
  readonly stateDir: string
}

/** The control socket of the backup daemon, in its state directory. */
export const CONTROL_SOCKET = 'control.sock'

const STATE_DIR = 'seaf-backup-state'

/** Absolute paths. @throws BackupError CONFIG_INVALID when nothing says where seafile.conf is */
export function findDirectories(flags: DirectoryFlags, env: Environment): Directories {
  const confDir = findConfDir(flags, env)
  if (confDir === undefined) {
    throw new BackupError(
      'CONFIG_INVALID',
      'find seafile.conf: its directory is not known; give it with --conf DIR or in SEAFILE_CENTRAL_CONF_DIR',
    )
  }
  const dataDir = findDataDir(flags, env) ?? besideConf(confDir)
  return { confDir, dataDir, stateDir: findStateDir(flags, dataDir) }
}

/**
 * For the command, which reads no seafile.conf: any one of the flags or variables is enough.
 * @throws BackupError CONFIG_INVALID when there is none
 */
export function findStateDirOnly(flags: DirectoryFlags, env: Environment): string {
  const confDir = findConfDir(flags, env)
  const dataDir = findDataDir(flags, env) ?? (confDir === undefined ? undefined : besideConf(confDir))
  if (dataDir !== undefined || given(flags.state) !== undefined) return findStateDir(flags, dataDir ?? '')
  throw new BackupError(
    'CONFIG_INVALID',
    "find the daemon's state directory: give it with --state DIR, or the directory of seafile.conf with --conf DIR",
  )
}

function findConfDir(flags: DirectoryFlags, env: Environment): string | undefined {
  const conf = given(flags.conf) ?? given(env['SEAFILE_CENTRAL_CONF_DIR'])
  return conf === undefined ? undefined : resolve(conf)
}

function findDataDir(flags: DirectoryFlags, env: Environment): string | undefined {
  const data = given(flags.data) ?? given(env['SEAFILE_DATA_DIR'])
  return data === undefined ? undefined : resolve(data)
}

const besideConf = (confDir: string): string => join(dirname(confDir), 'seafile-data')

const findStateDir = (flags: DirectoryFlags, dataDir: string): string =>
  resolve(given(flags.state) ?? join(dirname(dataDir), STATE_DIR))

/** An empty variable is as good as none, as in Seafile's start scripts. */
const given = (text: string | undefined): string | undefined => (text === '' ? undefined : text)
