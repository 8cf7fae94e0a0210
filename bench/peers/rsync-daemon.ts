/** rsync to a daemon of its own on loopback. */

import { spawnSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { freePorts } from '../../scripts/local/free-ports.js'
import { killed, runProgram, startProgram } from '../programs.js'
import type { ChildProcess } from 'node:child_process'
import type { Peer, PeerCopy } from './peer.js'

const START_MS_MAX = 10_000
const ASK_EVERY_MS = 20

export class RsyncDaemon implements AsyncDisposable {
  private constructor(
    readonly copy: string,
    readonly port: number,
    private readonly process: ChildProcess,
  ) {}

  static async start(dir: string): Promise<RsyncDaemon> {
    const copy = join(dir, 'copy')
    await mkdir(copy)
    const [port = 0] = await freePorts(1)
    const conf = join(dir, 'rsyncd.conf')
    await writeFile(conf, `use chroot = no\n[copy]\npath = ${copy}\nread only = no\nuid = 0\ngid = 0\n`)
    const daemon = ['--daemon', '--no-detach', `--config=${conf}`, `--port=${port}`, '--address=127.0.0.1']
    const process = startProgram('rsync', daemon)
    const until = performance.now() + START_MS_MAX
    while (spawnSync('rsync', [`rsync://127.0.0.1:${port}/`]).status !== 0) {
      if (performance.now() > until) throw new Error(`rsync daemon did not listen on port ${port}`)
      await delay(ASK_EVERY_MS)
    }
    return new RsyncDaemon(copy, port, process)
  }

  get pid(): number {
    return this.process.pid ?? -1
  }

  /** `port`: of a line to it. Whole files, since objects never change: what an administrator would choose, and faster. */
  start(source: string, port = this.port): ChildProcess {
    return startProgram('rsync', this.#args(source, port), { stdio: ['ignore', 'ignore', 'pipe'] })
  }

  /** `port`: of a line to it. `options`: further ones of rsync. */
  run(
    source: string,
    { port = this.port, options = [] }: { port?: number; options?: readonly string[] } = {},
  ): Promise<void> {
    return runProgram('rsync', [...options, ...this.#args(source, port)])
  }

  [Symbol.asyncDispose](): Promise<void> {
    return killed(this.process)
  }

  #args(source: string, port: number): string[] {
    return ['-a', '--whole-file', `${source}/`, `rsync://127.0.0.1:${port}/copy/`]
  }
}

export const rsync: Peer = {
  name: 'rsync daemon',
  programs: ['rsync'],
  again: true,
  async open(source, dir): Promise<PeerCopy> {
    const daemon = await RsyncDaemon.start(dir)
    return {
      daemons: [daemon.pid],
      run: () => daemon.run(source),
      [Symbol.asyncDispose]: () => daemon[Symbol.asyncDispose](),
    }
  },
}
