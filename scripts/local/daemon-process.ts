/** One daemon as a real process, with its log at hand. Ended by pid, also when whoever started it dies. */

import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { ChildProcess } from 'node:child_process'

const MAINS = {
  primary: fileURLToPath(new URL('../../src/primary/main.js', import.meta.url)),
  backup: fileURLToPath(new URL('../../src/backup/main.js', import.meta.url)),
} as const

export interface LogLine {
  readonly msg: string
  readonly [field: string]: unknown
}

/** Long: a loaded machine is no failure. */
const WAIT_MS_MAX = 60_000

export class DaemonProcess {
  readonly #child: ChildProcess
  readonly log: LogLine[] = []
  /** Lines that are no log: what a person would read on the terminal. */
  readonly said: string[] = []
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>
  #onLine: () => void = () => {}

  constructor(role: keyof typeof MAINS, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.#child = spawn(process.execPath, ['--enable-source-maps', MAINS[role], ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, SEAF_BACKUP_LOG: 'info', ...env },
    })
    const kill = () => this.#child.kill('SIGKILL')
    process.once('exit', kill)
    this.exited = new Promise(resolve =>
      this.#child.once('exit', (code, signal) => {
        process.off('exit', kill)
        resolve({ code, signal })
        this.#onLine()
      }),
    )
    for (const stream of [this.#child.stdout, this.#child.stderr]) this.#readLines(stream)
  }

  get pid(): number {
    return this.#child.pid ?? -1
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** The first line with this message, past or to come. Rejects when the process ends without it. */
  async logged(msg: string, from = 0): Promise<LogLine> {
    const until = Date.now() + WAIT_MS_MAX
    for (;;) {
      const line = this.log.slice(from).find(l => l.msg === msg)
      if (line) return line
      if (!this.running) throw new Error(`ended without logging "${msg}":\n${this.text()}`)
      if (Date.now() > until) throw new Error(`did not log "${msg}" within a minute:\n${this.text()}`)
      await new Promise<void>(resolve => {
        this.#onLine = resolve
        setTimeout(resolve, 200)
      })
    }
  }

  text(): string {
    return [...this.log.map(line => JSON.stringify(line)), ...this.said].join('\n')
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.exited
  }

  async stop(): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    this.#child.kill('SIGTERM')
    return this.exited
  }

  #readLines(stream: NodeJS.ReadableStream | null): void {
    let rest = ''
    stream?.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk.toString('utf8')).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) this.#read(line)
      this.#onLine()
    })
  }

  #read(line: string): void {
    try {
      const value = JSON.parse(line) as LogLine
      this.log.push(value)
    } catch {
      if (line.trim() !== '') this.said.push(line)
    }
  }
}
