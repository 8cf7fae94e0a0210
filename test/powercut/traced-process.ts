/** A program of ours run under strace, and what it did to the files below a directory. */

import { spawn, spawnSync } from 'node:child_process'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { TRACED_CALLS } from './trace.js'
import type { ChildProcess } from 'node:child_process'

const BACKUP_MAIN = fileURLToPath(new URL('../../src/backup/main.js', import.meta.url))
/** Larger than any write of ours: a block has 8 MiB. */
const STRING_BYTES_MAX = 64 * 1024 * 1024
const WAIT_MS_MAX = 120_000

/** Why nothing can be recorded here; false: it can. */
export function cannotTrace(): string | false {
  const { error, status, stderr } = spawnSync('strace', ['-f', '-e', 'trace=none', 'true'], { encoding: 'utf8' })
  if (error) return 'strace is not installed (Debian: strace)'
  return status === 0 ? false : `strace may not trace here: ${stderr.trim().slice(0, 200)}`
}

export interface SaidLine {
  readonly msg?: string
  readonly [field: string]: unknown
}

export class TracedProcess {
  readonly #child: ChildProcess
  readonly lines: SaidLine[] = []
  readonly #other: string[] = []
  readonly ended: Promise<number | null>

  /** `program`: what node runs. The tracer is a grandchild: our child is the program itself. */
  constructor(
    readonly traceFile: string,
    program: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv = {},
  ) {
    const options = ['-D', '-f', '--seccomp-bpf', '-y', '-xx', '-s', String(STRING_BYTES_MAX)]
    const traced = ['-e', `trace=${TRACED_CALLS}`, '-o', traceFile]
    const node = [process.execPath, '--enable-source-maps', program, ...args]
    this.#child = spawn('strace', [...options, ...traced, ...node], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, UV_USE_IO_URING: '0', SEAF_BACKUP_LOG: 'info', ...env },
    })
    const kill = () => this.#child.kill('SIGKILL')
    process.once('exit', kill)
    this.ended = new Promise(resolve =>
      // the tracer holds the same pipes: they are closed when the trace is whole
      this.#child.once('close', code => {
        process.off('exit', kill)
        resolve(code)
      }),
    )
    for (const stream of [this.#child.stdout, this.#child.stderr])
      if (stream) createInterface({ input: stream }).on('line', line => this.#read(line))
  }

  static backup(traceFile: string, confDir: string): TracedProcess {
    return new TracedProcess(traceFile, BACKUP_MAIN, ['--conf', confDir])
  }

  async logged(msg: string): Promise<SaidLine> {
    const until = Date.now() + WAIT_MS_MAX
    for (;;) {
      const line = this.lines.find(l => l.msg === msg)
      if (line) return line
      if (this.#child.exitCode !== null || Date.now() > until) throw new Error(`no "${msg}" in:\n${this.text()}`)
      await delay(20)
    }
  }

  text(): string {
    return [...this.lines.map(line => JSON.stringify(line)), ...this.#other].join('\n')
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.ended
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGTERM')
    await this.ended
  }

  #read(line: string): void {
    try {
      this.lines.push(JSON.parse(line) as SaidLine)
    } catch {
      if (line.trim() !== '') this.#other.push(line)
    }
  }
}
