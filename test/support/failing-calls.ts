/** System calls of a running daemon that fail as on a broken disk, made by strace(1). */

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import type { ChildProcess } from 'node:child_process'

/** For tap's `skip`: false, or why no call can be made to fail here. */
export function cannotFailCalls(): string | false {
  const { status, error } = spawnSync('strace', ['-qq', '-o', '/dev/null', 'true'])
  if (error) return 'strace is not installed'
  return status !== 0 && 'strace may not trace here'
}

export interface FailingCalls {
  /** As strace names them: `fsync`, `syncfs`. */
  readonly calls: readonly string[]
  /** `EIO`. */
  readonly error: string
  /** Only those that touch this path. Default: all. */
  readonly path?: string
}

/** Resolves when the calls fail, in all threads and in children that come; disposed, they work again. */
export async function failCalls(pid: number, { calls, error, path }: FailingCalls): Promise<AsyncDisposable> {
  const names = calls.join(',')
  const strace = spawn(
    'strace',
    [
      '-f',
      '-p',
      String(pid),
      '-e',
      `trace=${names}`,
      '-e',
      `inject=${names}:error=${error}`,
      ...(path ? ['-P', path] : []),
      '-o',
      '/dev/null',
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  const exited = once(strace, 'exit')
  const kill = () => strace.kill('SIGKILL')
  process.once('exit', kill)
  await attached(strace)
  return {
    async [Symbol.asyncDispose]() {
      process.off('exit', kill)
      strace.kill('SIGTERM') // lets go of the daemon
      await exited
    },
  }
}

/** What it says later is read too: nobody at the other end of the pipe would end it. */
function attached(strace: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = ''
    strace.stderr?.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-2_000)
      if (/attached/.test(said)) resolve()
    })
    strace.once('exit', () => reject(new Error(`strace did not attach: ${said}`)))
  })
}
