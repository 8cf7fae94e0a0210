/**
 * A preload for a daemon: in the place of `sync -f` it starts a program of the test, in all its threads. That one does
 * nothing until the test says how its call ends, so that a test decides who is told of a failing disk, and when.
 */

import childProcess from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { basename, join } from 'node:path'

const PROGRAM_KEY = 'SEAF_BACKUP_TEST_SYNC'

/** Calls are numbered as they come, from 1. One whose daemon died ends by itself. */
const PROGRAM = `#!/bin/sh
cd "$(dirname "$0")" || exit 1
n=1; until mkdir "call.$n" 2>/dev/null; do n=$((n + 1)); done
echo $$ > "call.$n/new"; mv "call.$n/new" "call.$n/pid"
until [ -e "answer.$n" ] || [ -e answer.all ]; do kill -0 $PPID 2>/dev/null || exit 1; sleep 0.02; done
[ "$(cat "answer.$n" 2>/dev/null)" = fail ] || exit 0
echo "sync: error syncing: Input/output error" >&2; exit 1
`

export class FakeSync {
  private constructor(private readonly dir: string) {}

  static async lay(dir: string): Promise<FakeSync> {
    await mkdir(dir)
    await writeFile(join(dir, 'sync'), PROGRAM, { mode: 0o755 })
    return new FakeSync(dir)
  }

  /** For the daemon. */
  get env(): NodeJS.ProcessEnv {
    return { NODE_OPTIONS: `--import=${import.meta.url}`, [PROGRAM_KEY]: join(this.dir, 'sync') }
  }

  /** Of the `n`th call; undefined: there was none yet. */
  async pid(n: number): Promise<number | undefined> {
    const file = join(this.dir, `call.${n}`, 'pid')
    return existsSync(file) ? Number(await readFile(file, 'utf8')) : undefined
  }

  fail(n: number): Promise<void> {
    return this.#answer(String(n), 'fail')
  }

  /** All that wait, and all that come. */
  succeed(): Promise<void> {
    return this.#answer('all', '')
  }

  async #answer(to: string, text: string): Promise<void> {
    const file = join(this.dir, `answer.${to}`)
    await writeFile(`${file}.new`, text)
    await rename(`${file}.new`, file)
  }
}

function install(program: string): void {
  const { spawn } = childProcess
  childProcess.spawn = ((command: string, ...rest: [readonly string[], childProcess.SpawnOptions]) =>
    spawn(basename(command) === 'sync' ? program : command, ...rest)) as typeof spawn
  syncBuiltinESMExports()
}

const program = process.env[PROGRAM_KEY]
if (program !== undefined) install(program)
