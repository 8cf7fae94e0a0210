/** The servers' own dump tool: which one is installed, what it is told, and what it says. */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { BackupError, reason } from '../../shared/errors.js'
import { findProgram } from '../../shared/mysql-options.js'

const run = promisify(execFile)

/** MariaDB's own name first: under the other one, newer ones complain of being called so. */
const TOOLS = ['mariadb-dump', 'mysqldump']

export interface DumpTool {
  readonly path: string
  /** Its own words: "mariadb-dump from 11.8.3-MariaDB, client 10.19". */
  readonly version: string
}

/** @throws BackupError DUMP_FAILED when none is installed, or does not run */
export async function findDumpTool(env: NodeJS.ProcessEnv = process.env): Promise<DumpTool> {
  const path = findProgram(TOOLS, env)
  if (path === undefined) {
    throw new BackupError(
      'DUMP_FAILED',
      `find ${TOOLS.join(' or ')}: neither is in PATH on the primary; install mariadb-client (or the client of your MySQL)`,
    )
  }
  try {
    const { stdout } = await run(path, ['--version'])
    const [line = ''] = stdout.split('\n')
    return { path, version: line.replace(path, path.split('/').at(-1) ?? path).trim() }
  } catch (error) {
    throw new BackupError('DUMP_FAILED', `run ${path} --version: ${reason(error)}`, {}, { cause: error })
  }
}

/**
 * One snapshot over all databases. `ignored`: `db.table`. `withPosition`: a comment says where in the binlog it lies. Tablespaces would need the PROCESS privilege, and say nothing
 * that a restore needs.
 */
export function dumpArguments(
  tool: DumpTool,
  optionFile: string,
  databases: readonly string[],
  { ignored, withPosition }: { readonly ignored: readonly string[]; readonly withPosition: boolean },
): string[] {
  const isMariadb = isMariadbs(tool)
  return [
    `--defaults-file=${optionFile}`, // first, or it is not obeyed
    '--single-transaction',
    '--quick',
    '--hex-blob',
    '--routines',
    '--triggers',
    '--events',
    '--no-tablespaces',
    '--default-character-set=utf8mb4',
    '--max-allowed-packet=1G',
    // Oracle's asks for what MariaDB does not have, and would make the copy claim the primary's transactions
    ...(isMariadb ? [] : ['--column-statistics=0', '--set-gtid-purged=OFF']),
    ...(withPosition ? [`--${namesSource(tool) ? 'source' : 'master'}-data=2`] : []),
    ...ignored.map(table => `--ignore-table=${table}`),
    '--databases',
    ...databases,
  ]
}

export const isMariadbs = ({ version }: Pick<DumpTool, 'version'>): boolean => /mariadb/i.test(version)

/** Of MySQL's: since 8.0.26 the other word makes it complain. */
function namesSource(tool: DumpTool): boolean {
  const [, ...numbers] = / Ver (\d+)\.(\d+)\.(\d+)/.exec(tool.version) ?? []
  const [major = 0, minor = 0, patch = 0] = numbers.map(Number)
  return !isMariadbs(tool) && (major > 8 || (major === 8 && (minor > 0 || patch >= 26)))
}

/** The tool says this of its own name, or the loader of stdbuf, and nothing of the dump. */
const HARMLESS = [/Deprecated program name/i, /^ERROR: ld\.so: object .* cannot be preloaded/]

/** What it complained of, as one line; empty: nothing. Whoever warns has left something out. */
export const complaints = (stderr: string): string =>
  stderr
    .split('\n')
    .map(line => line.trim())
    .filter(line => line !== '' && !HARMLESS.some(pattern => pattern.test(line)))
    .join('; ')
    .slice(0, 400)
