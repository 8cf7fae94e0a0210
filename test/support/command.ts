/** seaf-backup-cmd as a person runs it: a process with an exit code. */

import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { ChildProcess } from 'node:child_process'
import type { Pair } from './pair.js'

const COMMAND = fileURLToPath(new URL('../../scripts/seaf-backup-cmd.js', import.meta.url))

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export const runCommand = (pair: Pair, ...args: string[]): Promise<Ran> => runCommandWith(pair, {}, args)

export interface Circumstances {
  readonly env?: NodeJS.ProcessEnv
  /** It is killed then, if it has not ended. */
  readonly killAfterMs?: number
  /** Once this is so, it is killed. */
  readonly until?: () => Promise<boolean>
  /** Gets what types Ctrl-C into it. */
  readonly started?: (interrupt: () => void) => void
}

/** `code` is null for one that was killed. */
export function runCommandWith(
  pair: Pair,
  { env, killAfterMs, until, started }: Circumstances,
  args: readonly string[],
): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [COMMAND, ...args, '--conf', join(pair.backup.dir, 'conf')], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    })
    const kill = killAfterMs === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), killAfterMs)
    const said = { stdout: '', stderr: '' }
    child.stdout.on('data', (chunk: Buffer) => (said.stdout += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (said.stderr += chunk.toString()))
    child.on('error', reject)
    if (until) void killOnce(child, until)
    started?.(() => child.kill('SIGINT'))
    child.on('exit', () => clearTimeout(kill))
    child.on('close', code => resolve({ code, ...said }))
  })
}

async function killOnce(child: ChildProcess, until: () => Promise<boolean>): Promise<void> {
  while (child.exitCode === null && !(await until())) await delay(20)
  child.kill('SIGKILL')
}
