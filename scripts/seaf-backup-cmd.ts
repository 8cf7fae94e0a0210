/**
 * seaf-backup-cmd: what the backup host's administrator types.
 *
 * A client of the backup daemon's control socket: it opens no database, reads
 * no seafile.conf, and works for whoever may open the socket. Verbs are in
 * cmd/verbs.ts, exit codes in cmd/exit.ts.
 */

import { join } from 'node:path'
import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { asBackupError, systemCode } from '../src/shared/errors.js'
import { nextStep as nextStepOf } from '../src/shared/next-step.js'
import { CONTROL_SOCKET, findStateDirOnly } from '../src/shared/directories.js'
import { VERSION } from '../src/shared/version.js'
import { HEAD_LOG_ENTRIES_MAX } from '../src/shared/wire/control-messages.js'
import { ControlClient } from './cmd/client.js'
import { EXIT, Interrupted, NoDaemon, exitCodeOf } from './cmd/exit.js'
import { renderError } from './cmd/render.js'
import { libraries, log, status, sync } from './cmd/verbs.js'
import type { ExitCode } from './cmd/exit.js'
import type { DiffOptions } from './cmd/files.js'
import type { PromoteOptions } from './cmd/promote.js'
import type { RestoreOptions } from './cmd/restore.js'
import type { StatusOptions } from './cmd/verbs.js'

interface WhereFlags {
  readonly conf?: string
  readonly data?: string
  readonly state?: string
  readonly socket?: string
}

interface SyncFlags {
  readonly all: boolean
  readonly force: boolean
  readonly full: boolean
  readonly json: boolean
}

/** A screen or two. */
const LOG_ENTRIES = 100

interface VerifyFlags {
  readonly all: boolean
  readonly history: boolean
  readonly readData: boolean
  readonly json: boolean
}

const EXIT_CODES = `
Exit codes: 0 ok, 1 failed, 2 usage, 3 status: failed, behind or overdue, 4 no daemon, 130 interrupted`

interface Runners {
  /** For a verb that asks the daemon. */
  run(verb: (client: ControlClient) => Promise<ExitCode>): Promise<void>
  /** For one that needs none. */
  runAlone(verb: (flags: WhereFlags) => Promise<ExitCode>): Promise<void>
}

/** Calls a runner with the verb to carry out. Commander's own errors are thrown, not exited with. */
function commandLine({ run, runAlone }: Runners, signal: AbortSignal) {
  const program = new Command('seaf-backup-cmd')
    .description('Shows and steers the backup of a Seafile server. Runs on the backup host.')
    .version(VERSION)
    .option('--conf <dir>', 'directory that holds seafile.conf (default: $SEAFILE_CENTRAL_CONF_DIR)')
    .option('--data <dir>', 'seafile-data (default: $SEAFILE_DATA_DIR, else beside --conf)')
    .option('--state <dir>', "the daemon's state directory (default: seaf-backup-state beside seafile-data)")
    .option('--socket <path>', `control socket (default: ${CONTROL_SOCKET} in the state directory)`)
    .addHelpText('after', EXIT_CODES)
    .showHelpAfterError('(run with --help to see how it is used)')
    .exitOverride()

  program
    .command('status')
    .description('how many libraries are backed up, and which are not')
    .option('-v, --verbose', 'lag, reason and next step of every library', false)
    .option('--json', 'everything that is known, for programs', false)
    .action((options: StatusOptions) => run(client => status(client, options, signal)))

  program
    .command('libraries')
    .description('all libraries: state, lag, size, last change, owner, name')
    .option('--json', 'everything that is known of each, for programs', false)
    .action((options: { json: boolean }) => run(client => libraries(client, options, signal)))

  program
    .command('log')
    .description('every head that was recorded of a library, newest first')
    .argument('<library>', 'library id, or as much of its beginning as is unique')
    .option('-n, --limit <number>', 'at most so many', limitOf, LOG_ENTRIES)
    .option('--json', 'as JSON', false)
    .action((library: string, options: { limit: number; json: boolean }) =>
      run(client => log(client, { library, ...options }, signal)),
    )

  const verifyVerb = program
    .command('verify')
    .description('read the copy itself and report every missing or damaged object; needs no daemon')
    .argument('[library]', 'library id, or as much of its beginning as is unique')
    .option('--all', 'every library', false)
    .option('--history', 'kept history too, not the latest state alone', false)
    .option('--read-data', 'read and hash every block, not only look whether it is there', false)
    .option('--json', 'one JSON object a line', false)
    .action((library: string | undefined, { all, history, readData, json }: VerifyFlags) => {
      if (all === (library !== undefined)) verifyVerb.error('error: give either a library id or --all')
      return runAlone(async flags => {
        const { verify } = await import('./cmd/verify.js')
        return verify(flags, { library: library ?? null, history, readData }, { json }, signal)
      })
    })

  const syncVerb = program
    .command('sync')
    .description('back up a library now, and wait until it is done')
    .argument('[library]', 'library id, or as much of its beginning as is unique')
    .option('--all', 'every library', false)
    .option('--force', 'also when the head went back or objects are damaged; what is skipped stays listed', false)
    .option('--full', 'believe nothing that is here: read every object, fetch again what is absent or damaged', false)
    .option('--json', 'the result as JSON, without progress', false)
    .action((library: string | undefined, { all, force, full, json }: SyncFlags) => {
      if (all === (library !== undefined)) syncVerb.error('error: give either a library id or --all')
      return run(client => sync(client, { library: library ?? null, force, full }, { json }, signal))
    })
  addDumpVerbs(program, { run, runAlone }, signal)
  addRestoreVerb(program, { run, runAlone }, signal)
  addFileVerbs(program, { run, runAlone }, signal)
  addDrillVerb(program, { run, runAlone }, signal)
  addPromoteVerb(program, { run, runAlone }, signal)
  return program
}

/** Loaded only when they are asked for. */
const dumpVerbs = () => import('./cmd/dumps.js')

function addDumpVerbs(program: Command, { run, runAlone }: Runners, signal: AbortSignal): void {
  const dumps = program
    .command('dumps')
    .description("dumps of Seafile's other tables: users, groups, shares, settings; needs no daemon but for now")
  const json = ['--json', 'as JSON', false] as const
  dumps
    .command('list', { isDefault: true })
    .description('those that are kept, newest first')
    .option(...json)
    .action((options: { json: boolean }) => runAlone(async flags => (await dumpVerbs()).list(flags, options)))
  dumps
    .command('now')
    .description('take one, and wait until it is kept')
    .option(...json)
    .action((options: { json: boolean }) => run(async client => (await dumpVerbs()).now(client, options, signal)))
  dumps
    .command('verify')
    .description('read them again, to the end')
    .argument('[id]', 'one of them, or as much of its beginning as is unique; latest')
    .option(...json)
    .action((id: string | undefined, options: { json: boolean }) =>
      runAlone(async flags => (await dumpVerbs()).verify(flags, id ?? null, options, signal)),
    )
  dumps
    .command('fetch')
    .description('unpack one: SQL into a file, or SQLite databases below a directory')
    .argument('<id>', 'its id, or as much of its beginning as is unique; latest')
    .argument('<to>', 'file or directory; - for standard output')
    .option('--force', 'write over what is there', false)
    .action((id: string, to: string, { force }: { force: boolean }) =>
      runAlone(async flags => (await dumpVerbs()).fetch(flags, { id, to, force }, signal)),
    )
  dumps
    .command('prune')
    .description('remove what no keep_ rule holds, as the daemon does after each dump')
    .option('--dry-run', 'only say what would be removed', false)
    .option(...json)
    .action((options: { dryRun: boolean; json: boolean }) =>
      runAlone(async flags => (await dumpVerbs()).prune(flags, options)),
    )
}

function addRestoreVerb(program: Command, { runAlone }: Runners, signal: AbortSignal): void {
  const several = (value: string, before: readonly string[]) => [...before, value]
  program
    .command('restore')
    .description('a complete seafile-data and its databases of an instant, in a directory of its own; needs no daemon')
    .requiredOption('--to <dir>', 'a directory that is not there yet')
    .option('--at <when>', '"2026-11-20 14:03:10 Europe/Paris", 2026-11-20T13:03:10Z, or latest', 'latest')
    .option('--library <id>', 'only this one; may be given again', several, [])
    .option('--database <file>', 'option file ([client]) of the server for the tables of a MySQL dump')
    .option('--without-tables', 'libraries alone', false)
    .option('--without-binlog', 'the other tables as in the dump alone, whatever came after it', false)
    .option('--tables-only', 'rows alone, for a server whose files are well', false)
    .option('--with-deleted', 'also libraries that the primary had deleted', false)
    .option('--accept-holes', 'also libraries with missing or damaged objects', false)
    .option('--dry-run', 'only say what would be restored, and what is lost by it', false)
    .option('--force', 'write over databases of the same names on the server', false)
    .option('--json', 'one JSON object a line', false)
    .action((options: RestoreOptions) =>
      runAlone(async flags => (await import('./cmd/restore.js')).restore(flags, options, signal)),
    )
}

function addPromoteVerb(program: Command, { runAlone }: Runners, signal: AbortSignal): void {
  program
    .command('promote')
    .description('make this backup the server: a checklist, a fence, the other tables, and what remains to be done')
    .option('--check', 'only the checklist', false)
    .option(
      '--accept-loss <words>',
      'what is given up, of those that the checklist calls LOSS: primary,libraries,tables',
    )
    .option('--without-tables', 'leave users, groups and shares out', false)
    .option('--keep-tokens', 'clients stay signed in: the primary served nobody since it was heard last', false)
    .option('--with-deleted', 'bring back libraries that the primary had deleted', false)
    .option('--confirm <word>', 'PROMOTE, in place of being asked')
    .option('--json', 'one JSON object a line', false)
    .action((options: PromoteOptions) =>
      runAlone(async flags => (await import('./cmd/promote.js')).promote(flags, options, signal)),
    )
}

function addDrillVerb(program: Command, { runAlone }: Runners, signal: AbortSignal): void {
  program
    .command('drill')
    .description('rehearse a restore in a scratch directory and database, compare, and keep a report; needs no daemon')
    .option('--accept-holes', 'libraries with missing or damaged objects count as restored', false)
    .option('--json', 'the report as JSON', false)
    .action((options: { acceptHoles: boolean; json: boolean }) =>
      runAlone(async flags => (await import('./cmd/drill.js')).drill(flags, options, signal)),
    )
}

const fileVerbs = () => import('./cmd/files.js')
const LIBRARY = ['<library>', 'library id, or as much of its beginning as is unique'] as const
const AT = ['--at <when>', 'an instant, latest, or a commit as log shows it', 'latest'] as const

function addFileVerbs(program: Command, { runAlone }: Runners, signal: AbortSignal): void {
  program
    .command('ls')
    .description('what a folder of a library holds, now or at any recorded time; needs no daemon')
    .argument(...LIBRARY)
    .argument('[path]', 'in the library', '/')
    .option(...AT)
    .option('-R, --recursive', 'with all that is below', false)
    .option('--json', 'one JSON object a line', false)
    .action((library: string, path: string, { at, ...options }: { at: string; recursive: boolean; json: boolean }) =>
      runAlone(async flags => (await fileVerbs()).ls(flags, { library, path, at }, options, signal)),
    )
  program
    .command('cat')
    .description('the bytes of one file, to standard output; needs no daemon')
    .argument(...LIBRARY)
    .argument('<path>', 'in the library')
    .option(...AT)
    .action((library: string, path: string, { at }: { at: string }) =>
      runAlone(async flags => (await fileVerbs()).cat(flags, { library, path, at }, signal)),
    )
  program
    .command('get')
    .description('a file or a folder out of a library; needs no daemon')
    .argument(...LIBRARY)
    .argument('<path>', 'in the library')
    .argument('<to>', 'file or directory to write')
    .option(...AT)
    .option('--force', 'write over what is there', false)
    .option('--json', 'the result as JSON', false)
    .action(
      (library: string, path: string, to: string, { at, ...options }: { at: string; force: boolean; json: boolean }) =>
        runAlone(async flags => (await fileVerbs()).get(flags, { library, path, at }, { to, ...options }, signal)),
    )
  program
    .command('diff')
    .description('what changed in a library between two times; needs no daemon')
    .argument(...LIBRARY)
    .argument('[path]', 'in the library', '/')
    .requiredOption('--from <when>', 'an instant, or a commit as log shows it')
    .option('--to <when>', 'the same', 'latest')
    .option('--text', 'of text files, the lines that changed', false)
    .option('--json', 'one JSON object a line', false)
    .action((library: string, path: string, options: DiffOptions) =>
      runAlone(async flags => (await fileVerbs()).diff(flags, { library, path }, options, signal)),
    )
}

function limitOf(text: string): number {
  const limit = Number(text)
  if (Number.isInteger(limit) && limit >= 1 && limit <= HEAD_LOG_ENTRIES_MAX) return limit
  throw new InvalidArgumentError(`It must be from 1 to ${HEAD_LOG_ENTRIES_MAX}.`)
}

const ASKED_DAEMON = 'the backup daemon goes on by itself'
const ALONE = 'this command does not go on by itself: run it again'

async function main(args: readonly string[]): Promise<ExitCode> {
  const interrupt = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => interrupt.abort())

  let exitCode: ExitCode = EXIT.ok
  let interrupted = ASKED_DAEMON
  const program = commandLine(
    {
      run: async verb => void (exitCode = await verb(new ControlClient(socketPath(program.opts<WhereFlags>())))),
      runAlone: async verb => {
        interrupted = ALONE
        exitCode = await verb(program.opts<WhereFlags>())
      },
    },
    interrupt.signal,
  )
  try {
    await program.parseAsync(args, { from: 'user' })
    return exitCode
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage // it has said why
    if (interrupt.signal.aborted) {
      process.stderr.write(`interrupted; ${error instanceof Interrupted ? error.message : interrupted}\n`)
      return EXIT.interrupted
    }
    if (systemCode(error) === 'EPIPE') return EXIT.ok // its reader has seen enough
    report(error, args.includes('--json'))
    return exitCodeOf(error)
  }
}

function socketPath({ socket, ...flags }: WhereFlags): string {
  return socket ?? join(findStateDirOnly(flags, process.env), CONTROL_SOCKET)
}

function report(error: unknown, json: boolean): void {
  if (error instanceof NoDaemon) {
    const nextStep = 'start it (systemctl start seaf-backup-server), or name its state directory with --state DIR'
    process.stderr.write(`seaf-backup-cmd: ${error.message}: ${nextStep}\n`)
    return
  }
  const { code, message, details } = asBackupError(error)
  const { nextStep, candidates } = details
  const shown = {
    code,
    message,
    nextStep: typeof nextStep === 'string' ? nextStep : nextStepOf(code),
    ...(Array.isArray(candidates) ? { candidates: candidates as string[] } : {}),
  }
  if (json)
    process.stdout.write(`${JSON.stringify({ error: shown })}\n`) // one line, as whoever reads lines expects
  else process.stderr.write(renderError(shown))
}

process.stdout.on('error', error => {
  if (systemCode(error) !== 'EPIPE') throw error
  // Its reader has seen enough, as `| head` does.
})
process.exitCode = await main(process.argv.slice(2))
