/**
 * The peer: `inotifywait` on seafile-data, and one `rsync` to a daemon on loopback at each change.
 *
 * What an administrator would write in an evening. It has no rows, verifies
 * nothing and syncs nothing to the disk; a change arrives when its file is there.
 */

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { freePorts } from '../scripts/local/free-ports.js'
import type { ChildProcess } from 'node:child_process'

/** Collects what else has changed for 2 ms, then copies once. */
const LOOP = `
inotifywait -m -r -q -e close_write,moved_to,create --format x "$1" | while read -r _; do
  while read -r -t 0.002 _; do :; done
  rsync -a "$1/" "$2"
done`

export const missingPrograms = (): string[] =>
  ['inotifywait', 'rsync'].filter(program => spawnSync(program, ['--version']).error !== undefined)

export class InotifyRsync implements AsyncDisposable {
  private constructor(
    readonly copy: string,
    private readonly dir: string,
    private readonly processes: readonly ChildProcess[],
  ) {}

  static async start(source: string): Promise<InotifyRsync> {
    const dir = await mkdtemp(join(tmpdir(), 'sbr-'))
    const copy = join(dir, 'copy')
    await mkdir(copy)
    const [port = 0] = await freePorts(1)
    const conf = join(dir, 'rsyncd.conf')
    await writeFile(conf, `use chroot = no\n[copy]\npath = ${copy}\nread only = no\nuid = 0\ngid = 0\n`)
    const own = { stdio: 'ignore', detached: true } as const // a group each: the loop has children
    const server = ['--daemon', '--no-detach', `--config=${conf}`, `--port=${port}`, '--address=127.0.0.1']
    const target = `rsync://127.0.0.1:${port}/copy/`
    const daemon = spawn('rsync', server, own)
    while (spawnSync('rsync', ['-a', `${source}/`, target]).status !== 0) await delay(20)
    const loop = spawn('bash', ['-c', LOOP, 'inotify-rsync', source, target], own)
    await delay(500) // inotifywait says nothing when its watches stand
    return new InotifyRsync(copy, dir, [loop, daemon])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.processes) {
      if (child.exitCode !== null || child.pid === undefined) continue
      process.kill(-child.pid, 'SIGKILL')
      await once(child, 'exit')
    }
    await rm(this.dir, { recursive: true, force: true })
  }
}
