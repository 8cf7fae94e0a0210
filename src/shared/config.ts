/**
 * Configuration: Seafile's own seafile.conf, read once, checked whole, frozen.
 *
 * All problems are reported in one error, each with its key, the rule and what
 * was found; secrets are never repeated. What is merely unwise becomes a
 * warning, for the daemon to log. Inside, durations are milliseconds and rates
 * are bytes a second. Keys, units and reasons: conf/seafile.conf.example.
 */

import { readFileSync, statSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { BackupError, reason } from './errors.js'
import { Section } from './config-values.js'
import { findDirectories } from './directories.js'
import { parseKeyFile } from './key-file.js'
import { REPLICA_URL_RULE, parseReplicaUrl } from './replica-url.js'
import { slotsProblem } from './slots.js'
import type { ListenAddress } from './config-values.js'
import type { DatabaseConfig } from './catalog/database-config.js'
import type { DirectoryFlags, Directories, Environment } from './directories.js'
import type { KeyFile } from './key-file.js'
import type { ReplicaAccess } from './replica-url.js'

interface CommonConfig extends Directories {
  readonly database: DatabaseConfig
  /** `[history] keep_days`: days, negative for all; null when not set. The database may say otherwise. */
  readonly historyKeepDays: number | null
  /** 40 hex characters in lower case. Secret. */
  /** One, or while it is replaced two: the new one first. */
  readonly syncTokens: readonly string[]
  readonly listen: ListenAddress
  /** Null: plain HTTP, as behind a reverse proxy. */
  readonly tls: { readonly certFile: string; readonly keyFile: string } | null
  /** Certificates to trust besides the system's. */
  readonly caFile: string | null
  readonly workers: number
  /** Bytes a second; 0: unlimited. */
  readonly maxRate: number
  /** One sentence each, for the log. */
  readonly warnings: readonly string[]
}

export interface PrimaryConfig extends CommonConfig {
  readonly role: 'primary'
  /** ws: or wss: */
  readonly backupUrl: URL
  readonly headsPollIntervalMs: number
  /** Percent of one core; 0: unlimited. */
  readonly maxCpu: number
  /** What is dumped besides Seafile's own database: names, or with SQLite paths below Seafile's directory. Null: as usual. */
  readonly databases: readonly string[] | null
  /** A dump may lock the tables for writing for a moment, where its position in the binlog cannot be had otherwise. */
  readonly dumpLock: boolean
}

export interface BackupConfig extends CommonConfig {
  readonly role: 'backup'
  /** http: or https:, one for each node of the primary; any of them can be asked. */
  readonly primaryUrls: readonly URL[]
  readonly sweepIntervalMs: number
  /** The oldest that a change may grow without being here, and silence last, before `status` says so first. */
  readonly rpoMs: number
  /** When the other tables are dumped; null: never. */
  readonly dumpSchedule: DumpSchedule | null
  readonly keepDumps: KeepDumps
  /** Archived wherever the primary has one; false: never. */
  readonly archiveBinlog: boolean
  readonly binlogIntervalMs: number
  /** How long the archive is kept where no dump says from where on it is needed. */
  readonly keepBinlogMs: number
  /** MySQL's own replica of the primary, that is watched. */
  readonly replica: ReplicaAccess | null
}

/** A cron expression that has been parsed before, and an IANA time zone; null: the host's. */
export interface DumpSchedule {
  readonly pattern: string
  readonly timeZone: string | null
}

/** Of each kind of period, in how many of the last ones that have a dump their newest is kept. */
export interface KeepDumps {
  readonly hourly: number
  readonly daily: number
  readonly weekly: number
  readonly monthly: number
  readonly yearly: number
}

const HOUR_MS = 3_600_000
const MINUTE_MS = 60_000
/** A seafile.conf is some KiB; anything larger is another file. */
const CONFIG_BYTES_MAX = 1024 * 1024

const PRIMARY_LISTEN: ListenAddress = { host: '0.0.0.0', port: 8087 }
const BACKUP_LISTEN: ListenAddress = { host: '0.0.0.0', port: 8086 }

/** Past a week, a sweep is no protection against lost hints any more. */
const POLL_HOURS = { min: 0, above: true, max: 24 * 7, default: 1, unit: 'hours' }
/** Up to twice the longest `sync_poll_interval`; the default, twice the one that is set, lets one sweep fail. */
const RPO_MINUTES = { min: 0, above: true, max: 2 * 60 * POLL_HOURS.max, unit: 'minutes' }
/** All heads in one query: cheap once a second, pointless ten times as often. */
const HEADS_POLL_SECONDS = { min: 0.1, max: 3600, default: 1, unit: 'seconds' }
/** Past 16 the disk, not the processor, is what everybody waits for. */
const WORKERS = { min: 1, max: 16, default: 2, unit: 'threads', whole: true }
/** Below 5 % even a small change would wait for seconds. */
const MAX_CPU = { min: 5, max: 1600, default: 0, unit: 'percent of one core', whole: true, orZero: true }
/** Of each, a count; a century of the longest is enough for anybody. */
const KEEP_DUMPS = { min: 0, max: 10_000, unit: 'dumps', whole: true }
/** Each time is a connection to the database: not more often than seconds. */
const BINLOG_SECONDS = { min: 1, max: 3600, default: 5, unit: 'seconds' }
const KEEP_BINLOG_DAYS = { min: 1, max: 3650, default: 14, unit: 'days', whole: true }
const KEEP_DAYS = { min: -(2 ** 31), max: 2 ** 31 - 1, default: -1, unit: 'days', whole: true }
const PORT = { min: 1, max: 65_535, default: 3306, unit: 'a port', whole: true }

/** The keys of `[backup]` that either role knows: one file may serve both. */
export const BACKUP_KEYS: ReadonlySet<string> = new Set(
  `backup_url primary_url sync_token sync_poll_interval listen tls_cert tls_key ca_file workers max_rate
  max_cpu heads_poll_interval rpo databases dump_schedule dump_timezone keep_hourly keep_daily keep_weekly keep_monthly
  keep_yearly dump_lock binlog_archive binlog_archive_interval keep_binlog_days replica_url`.split(/\s+/),
)

/** @throws BackupError CONFIG_INVALID with every problem of the file */
export function readPrimaryConfig(flags: DirectoryFlags, env: Environment = process.env): PrimaryConfig {
  return readConfig(flags, env, PRIMARY_LISTEN, backup => ({
    role: 'primary' as const,
    backupUrl: backup.url('backup_url', { 'ws:': 'ws:', 'wss:': 'wss:', 'http:': 'ws:', 'https:': 'wss:' }),
    headsPollIntervalMs: Math.round(1000 * backup.number('heads_poll_interval', HEADS_POLL_SECONDS)),
    maxCpu: backup.number('max_cpu', MAX_CPU),
    databases: backup.names('databases'),
    dumpLock: backup.word('dump_lock', ['no', 'yes']) === 'yes',
  }))
}

/** @throws BackupError CONFIG_INVALID with every problem of the file */
export function readBackupConfig(flags: DirectoryFlags, env: Environment = process.env): BackupConfig {
  return readConfig(flags, env, BACKUP_LISTEN, backup => {
    const sweepHours = backup.number('sync_poll_interval', POLL_HOURS)
    const rpoMinutes = backup.number('rpo', { ...RPO_MINUTES, default: 2 * 60 * sweepHours })
    return {
      role: 'backup' as const,
      primaryUrls: backup.urls('primary_url', { 'http:': 'http:', 'https:': 'https:' }),
      sweepIntervalMs: Math.ceil(HOUR_MS * sweepHours),
      rpoMs: Math.ceil(MINUTE_MS * rpoMinutes),
      dumpSchedule: readDumpSchedule(backup),
      keepDumps: Object.freeze({
        hourly: backup.number('keep_hourly', { ...KEEP_DUMPS, default: 48 }),
        daily: backup.number('keep_daily', { ...KEEP_DUMPS, default: 14 }),
        weekly: backup.number('keep_weekly', { ...KEEP_DUMPS, default: 8 }),
        monthly: backup.number('keep_monthly', { ...KEEP_DUMPS, default: 12 }),
        yearly: backup.number('keep_yearly', { ...KEEP_DUMPS, default: 2 }),
      }),
      archiveBinlog: backup.word('binlog_archive', ['auto', 'off']) === 'auto',
      binlogIntervalMs: Math.round(1000 * backup.number('binlog_archive_interval', BINLOG_SECONDS)),
      keepBinlogMs: 24 * HOUR_MS * backup.number('keep_binlog_days', KEEP_BINLOG_DAYS),
      replica: readReplica(backup),
    }
  })
}

function readConfig<Role extends object>(
  flags: DirectoryFlags,
  env: Environment,
  listen: ListenAddress,
  readRole: (backup: Section) => Role,
): CommonConfig & Role {
  const directories = findDirectories(flags, env)
  const path = join(directories.confDir, 'seafile.conf')
  const { file, mode } = readFile(path)
  const problems = [...file.problems]
  const backup = new Section('backup', file, problems)
  const warnings = file
    .keys('backup')
    .filter(key => !BACKUP_KEYS.has(key))
    .map(unknownKey)
  if (mode & 0o004) warnings.push(`${path} holds secrets and can be read by everybody: chmod 640 ${path}`)

  const role = readRole(backup)
  for (const url of Object.values(role).flat()) if (url instanceof URL) warnings.push(...unencrypted(url))
  const common: Omit<CommonConfig, 'warnings'> = {
    ...directories,
    database: readDatabase(new Section('database', file, problems), directories.dataDir, env, warnings),
    historyKeepDays: readKeepDays(new Section('history', file, problems)),
    syncTokens: Object.freeze(backup.syncTokens('sync_token')),
    listen: Object.freeze(backup.listen('listen', listen)),
    tls: readTls(backup, directories.confDir),
    caFile: backup.readableFile('ca_file', directories.confDir),
    workers: backup.number('workers', WORKERS),
    maxRate: backup.rate('max_rate'),
  }
  if (problems.length > 0) {
    throw new BackupError('CONFIG_INVALID', `read ${path}: ${problems.join('; ')}`, { path, problems })
  }
  return Object.freeze({ ...common, ...role, warnings: Object.freeze(warnings) })
}

function readFile(path: string): { file: KeyFile; mode: number } {
  try {
    const { size, mode } = statSync(path)
    if (size > CONFIG_BYTES_MAX) throw new RangeError(`a file of ${size} bytes is no seafile.conf`)
    const text = new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(path))
    return { file: parseKeyFile(text), mode }
  } catch (error) {
    const message = `read ${path}: ${reason(error)}; --conf names the directory that holds seafile.conf`
    throw new BackupError('CONFIG_INVALID', message, { path }, { cause: error })
  }
}

const unknownKey = (key: string): string => `[backup] ${key} is not a key that is known here; it has no effect`

function unencrypted({ protocol, host, hostname }: URL): string[] {
  const local =
    hostname === 'localhost' || hostname === '[::1]' || (isIP(hostname) === 4 && hostname.startsWith('127.'))
  if (local || protocol === 'https:' || protocol === 'wss:') return []
  return [`the connection to ${host} is not encrypted: use https with a certificate, or a private network`]
}

function readTls(backup: Section, confDir: string): CommonConfig['tls'] {
  const certFile = backup.readableFile('tls_cert', confDir)
  const keyFile = backup.readableFile('tls_key', confDir)
  if (certFile !== null && keyFile !== null) return Object.freeze({ certFile, keyFile })
  if (certFile !== null) backup.problem('tls_key', 'must be set when tls_cert is')
  if (keyFile !== null) backup.problem('tls_cert', 'must be set when tls_key is')
  return null
}

/** `off` for none; the two are checked together, since what an expression means depends on the zone. */
function readDumpSchedule(backup: Section): DumpSchedule | null {
  const pattern = backup.text('dump_schedule') ?? '0 * * * *'
  const timeZone = backup.text('dump_timezone') ?? null
  if (pattern.toLowerCase() === 'off') return null
  try {
    if (timeZone !== null) new Intl.DateTimeFormat('en', { timeZone })
  } catch {
    backup.problem('dump_timezone', 'must be a time zone by its name, as Europe/Paris', String(timeZone))
    return null
  }
  const problem = slotsProblem(pattern)
  if (problem !== undefined)
    backup.problem('dump_schedule', `must be a cron expression, as 0 * * * *, or off: ${problem}`, pattern)
  return Object.freeze({ pattern, timeZone })
}

/** A password may be in it: no problem repeats it. */
function readReplica(backup: Section): ReplicaAccess | null {
  const text = backup.text('replica_url')
  if (text === undefined) return null
  const access = parseReplicaUrl(text)
  if (!access) backup.problem('replica_url', REPLICA_URL_RULE)
  return access ?? null
}

function readKeepDays(history: Section): number | null {
  return history.text('keep_days') === undefined ? null : history.number('keep_days', KEEP_DAYS)
}

/** As seaf-server: MySQL unless told otherwise, and the environment of newer Docker set-ups before the file. */
function readDatabase(section: Section, dataDir: string, env: Environment, warnings: string[]): DatabaseConfig {
  const type = section.text('type')?.toLowerCase() ?? 'mysql'
  if (type === 'sqlite') return Object.freeze({ type, path: join(dataDir, 'seafile.db') })
  if (type !== 'mysql') section.problem('type', 'must be mysql or sqlite', type)

  const own = (key: string, variable: string) => env[`SEAFILE_MYSQL_DB_${variable}`] || section.text(key)
  const user = own('user', 'USER')
  const password = own('password', 'PASSWORD')
  const dbName = own('db_name', 'SEAFILE_DB_NAME')
  if (user === undefined) section.problem('user', 'must be set, here or in SEAFILE_MYSQL_DB_USER')
  if (dbName === undefined) section.problem('db_name', 'must be set, here or in SEAFILE_MYSQL_DB_SEAFILE_DB_NAME')
  if (password === undefined) warnings.push('[database] password is not set, nor SEAFILE_MYSQL_DB_PASSWORD')
  const unixSocket = section.text('unix_socket')
  return Object.freeze({
    type: 'mysql' as const,
    host: own('host', 'HOST') ?? '127.0.0.1',
    port: readPort(section, env),
    ...(unixSocket === undefined ? {} : { unixSocket }),
    user: user ?? '',
    password: password ?? '',
    dbName: dbName ?? '',
  })
}

function readPort(section: Section, env: Environment): number {
  const text = env['SEAFILE_MYSQL_DB_PORT'] || undefined
  if (text === undefined) return section.number('port', PORT)
  const port = Number(text)
  if (Number.isInteger(port) && port >= PORT.min && port <= PORT.max) return port
  section.problem('port', 'must be from 1 to 65535 in SEAFILE_MYSQL_DB_PORT', text)
  return PORT.default
}
