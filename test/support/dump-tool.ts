/** The real dump tool behind a script of a test's, first in PATH of the agent. */

import { spawnSync } from 'node:child_process'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const real = (): string => {
  const found = spawnSync('sh', ['-c', 'command -v mariadb-dump || command -v mysqldump'], { encoding: 'utf8' })
  return found.stdout.trim()
}

/** `script`: shell; `$REAL` is the real tool. `--version` is always the real one's. Gives the environment for the agent. */
export async function dumpToolOf(dir: string, script: string): Promise<NodeJS.ProcessEnv> {
  const bin = join(dir, 'bin')
  await mkdir(bin, { recursive: true })
  const text = `#!/bin/sh\nREAL=${real()}\n[ "$1" = --version ] && exec $REAL --version\n${script}\n`
  await writeFile(join(bin, 'mariadb-dump'), text)
  await chmod(join(bin, 'mariadb-dump'), 0o755)
  return { PATH: `${bin}:${process.env['PATH'] ?? ''}` }
}
