/** What the figures were measured on. */

import { spawnSync } from 'node:child_process'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { VERSION } from '../src/shared/version.js'
import { isInstalled, versionOf } from './programs.js'

const GIB = 1024 ** 3

/** One line each. `dir`: where the data is. */
export function machineFacts(dir: string, programs: readonly string[]): string[] {
  const [cpu] = cpus()
  return [
    `${cpus().length} CPUs, ${cpu?.model.trim() ?? 'unknown'}; ${(totalmem() / GIB).toFixed(0)} GiB of memory`,
    `Linux ${release()}, ${filesystem(dir)}`,
    `load average at the start: ${loadavg()
      .map(load => load.toFixed(1))
      .join(', ')}`,
    `seaf-backup ${VERSION}, Node ${process.versions.node}`,
    ...programs.map(program => (isInstalled(program) ? versionOf(program) : `${program}: not installed, left out`)),
  ]
}

function filesystem(dir: string): string {
  const { stdout } = spawnSync('findmnt', ['-no', 'FSTYPE,OPTIONS', '-T', dir], { encoding: 'utf8' })
  return stdout?.trim().replace(/\s+/g, ', ') || 'file system unknown'
}
