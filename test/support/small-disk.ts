/** A disk of its own under a directory of a side: one that a test can fill, freeze and enlarge. */

import { execFile } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** For tap's `skip`: false, or why there is no such disk here. */
export const noSmallDisk = process.getuid?.() !== 0 && 'only root may mount a tmpfs'

export class SmallDisk implements AsyncDisposable {
  private constructor(readonly dir: string) {}

  /** `options` as tmpfs takes them: `size=48m`, `nr_inodes=150`. */
  static async mount(dir: string, options: string): Promise<SmallDisk> {
    await mkdir(dir, { recursive: true })
    await run('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', dir])
    return new SmallDisk(dir)
  }

  async remount(options: string): Promise<void> {
    await run('mount', ['-o', `remount,${options}`, this.dir])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run('umount', ['-l', this.dir])
  }
}
