/** Other people's programs: whether they are here, and running one until it ends. Ended with us, however we end. */

import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcess, SpawnOptions } from 'node:child_process'

/** The end of what a program said before it failed. */
const SAID_CHARS_MAX = 2_000

/** With `setpriv`, a program does not outlive us even when we are killed. */
const WITH_US = ['--pdeathsig=KILL', '--'] as const

export function startProgram(program: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
  return spawn('setpriv', [...WITH_US, program, ...args], { stdio: 'ignore', ...options })
}

/** Resolves when it has ended well; rejects with what it said when not. */
export async function runProgram(program: string, args: readonly string[], options: SpawnOptions = {}): Promise<void> {
  const child = startProgram(program, args, { stdio: ['ignore', 'ignore', 'pipe'], ...options })
  await ended(child, program)
}

export function ended(child: ChildProcess, program: string): Promise<void> {
  let said = ''
  child.stderr?.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-SAID_CHARS_MAX)))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => {
      if (code === 0) resolve()
      else reject(new Error(`${program} ended with ${code ?? signal}: ${said.trim()}`))
    })
  })
}

export async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise<void>(resolve => child.once('exit', () => resolve()))
  child.kill('SIGKILL')
  await gone
}

const installed = new Map<string, boolean>()

export function isInstalled(program: string): boolean {
  let found = installed.get(program)
  if (found === undefined) {
    found = spawnSync('sh', ['-c', 'command -v "$1"', 'sh', program]).status === 0
    installed.set(program, found)
  }
  return found
}

/** The first line that has a number in it. */
export function versionOf(program: string): string {
  const args = program === 'rclone' || program === 'restic' ? ['version'] : ['--version']
  const { stdout } = spawnSync(program, args, { encoding: 'utf8' })
  const line = (stdout ?? '').split('\n').find(text => /\d/.test(text)) ?? 'version unknown'
  return line.replace(/\s+/g, ' ').trim()
}
