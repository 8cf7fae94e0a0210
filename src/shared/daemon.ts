/**
 * What both daemons do around their work: flags, signals, exit codes.
 *
 * Exit 0 after a stop that was asked for, 2 when the configuration or the
 * machine must be changed first, 1 after a failure in full run, so that systemd
 * starts it again (its unit does not restart on 2).
 */

import { parseArgs } from 'node:util'
import { BackupError, asBackupError } from './errors.js'
import { openLog } from './log.js'
import { VERSION } from './version.js'
import type { DirectoryFlags } from './directories.js'
import type { Log } from './log.js'

/** systemd's patience is longer (conf/*.service); a stop that hangs must not keep the state locked for ever. */
const STOP_MS_MAX = 10_000

export interface Daemon {
  readonly name: string
  /** One line for `--help`. */
  readonly about: string
  /** Resolves when `signal` was aborted and everything has stopped. */
  run(flags: DirectoryFlags, log: Log, signal: AbortSignal): Promise<void>
}

const OPTIONS = {
  conf: { type: 'string' },
  data: { type: 'string' },
  state: { type: 'string' },
  help: { type: 'boolean' },
  version: { type: 'boolean' },
} as const

const usage = ({ name, about }: Daemon): string => `${name}: ${about}

  --conf DIR    directory that holds seafile.conf (default $SEAFILE_CENTRAL_CONF_DIR)
  --data DIR    seafile-data (default $SEAFILE_DATA_DIR, else seafile-data beside the conf directory)
  --state DIR   our own state (default seaf-backup-state beside seafile-data)
  --help, --version
`

/** Runs until SIGTERM or SIGINT and sets the exit code. */
export async function runDaemon(daemon: Daemon): Promise<void> {
  const flags = readFlags(daemon)
  if (!flags) return
  const log = openLog(daemon.name)
  const stop = new AbortController()
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, () => beginStop(stop, log, name))
  try {
    await daemon.run(flags, log, stop.signal)
    log.info({}, 'stopped')
  } catch (error) {
    const { code, message, disposition } = asBackupError(error)
    if (code === 'INTERNAL') log.error({ err: error }, 'failed')
    process.stderr.write(`${daemon.name}: ${message}\n`)
    process.exitCode = disposition === 'fatal' || disposition === 'usage' ? 2 : 1
  }
  // nothing is running any more; what a library may still hold open must not keep the process
  setTimeout(() => process.exit(), 1_000).unref()
}

function beginStop(stop: AbortController, log: Log, signal: string): void {
  if (stop.signal.aborted) return
  log.info({ signal }, 'stopping')
  setTimeout(() => {
    process.stderr.write(
      'did not stop within 10 s; leaving now. Nothing is lost: the next start goes on from what is durable\n',
    )
    process.exit(1)
  }, STOP_MS_MAX).unref()
  stop.abort()
}

function readFlags(daemon: Daemon): DirectoryFlags | undefined {
  try {
    const { values } = parseArgs({ options: OPTIONS, strict: true, allowPositionals: false })
    if (values.help) return void process.stdout.write(usage(daemon))
    if (values.version) return void process.stdout.write(`${daemon.name} ${VERSION}\n`)
    const { conf, data, state } = values
    return { ...(conf && { conf }), ...(data && { data }), ...(state && { state }) }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    process.stderr.write(`${daemon.name}: ${reason}\nTry: ${daemon.name} --help\n`)
    process.exitCode = 2
    return undefined
  }
}

/** Throws DIRECTORY_UNUSABLE with what to do. */
export function unusable(what: string, path: string, why: string, next: string): BackupError {
  return new BackupError('DIRECTORY_UNUSABLE', `${what} ${path}: ${why}; ${next}`, { path })
}
