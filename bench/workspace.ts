/**
 * One directory for everything that a run of the benchmarks writes, deleted at the very end.
 *
 * Creates that are timed soon after a large tree was deleted on the same ext4
 * take up to seven times as long, for any program: so copies of many files stay
 * until all is measured, and only copies of few, large files go at once.
 */

import { mkdirSync, mkdtempSync, renameSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runProgram } from './programs.js'

const FEW_FILES = 1_000
/** After an interrupt a daemon that was killed a moment ago may still make a file. */
const DELETE_ATTEMPTS_MAX = 20
const DROP_CACHES = '/proc/sys/vm/drop_caches'
/** Clean pages, directory entries and inodes. */
const ALL_CACHES = '3'

export class Workspace implements Disposable {
  #made = 0

  private constructor(
    readonly dir: string,
    private readonly cold: boolean,
  ) {}

  /** From here on it is also where this process and its children make temporary files. */
  static open({ cold }: { cold: boolean }): Workspace {
    const dir = mkdtempSync(join(tmpdir(), 'sbb-')) // short: a socket's path has 107 bytes at most
    process.env['TMPDIR'] = dir
    const workspace = new Workspace(dir, cold)
    process.once('exit', () => workspace[Symbol.dispose]()) // also after an interrupt
    return workspace
  }

  /** Empty, and never used before. */
  fresh(what: string): string {
    const dir = join(this.dir, `${what}-${++this.#made}`)
    mkdirSync(dir)
    return dir
  }

  /** Takes a directory out of a place that is about to be deleted. Returns where it is now. */
  keep(dir: string): string {
    const kept = join(this.fresh('kept'), 'kept')
    renameSync(dir, kept)
    return kept
  }

  /** What becomes of a copy that was measured: one of few files is deleted, which costs nobody's creates anything. */
  leave(copy: string, files: number): void {
    if (files <= FEW_FILES) rmSync(copy, { recursive: true, force: true })
  }

  /** Bytes that may still be written here. */
  get free(): number {
    const { bavail, bsize } = statfsSync(this.dir)
    return bavail * bsize
  }

  /** Before each timed run, alike for all: nothing of the one before is still being written, and `source` is cached (or not). */
  async settle(source: string): Promise<void> {
    await this.sync()
    if (this.cold) writeFileSync(DROP_CACHES, ALL_CACHES)
    else await runProgram('bash', ['-c', 'tar -cf - -C "$1" . | cat > /dev/null', 'warm', source]) // tar itself skips reading for /dev/null
  }

  /** All of the file system, as `cp` leaves it to be done. */
  async sync(): Promise<void> {
    await runProgram('sync', ['-f', this.dir])
  }

  [Symbol.dispose](): void {
    rmSync(this.dir, { recursive: true, force: true, maxRetries: DELETE_ATTEMPTS_MAX })
  }
}
