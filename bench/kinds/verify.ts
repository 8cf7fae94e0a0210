/** `verify --all --read-data` of a copy of S2, beside what reads and hashes the same files and knows nothing of libraries. */

import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { copyAll, layOurs } from '../ours.js'
import { runProgram } from '../programs.js'
import { median } from '../stats.js'
import { measured } from '../usage.js'
import type { Cost } from '../usage.js'
import type { Measurement } from '../bench.js'

const COMMAND = fileURLToPath(new URL('../../scripts/seaf-backup-cmd.js', import.meta.url))
/** One process for each of the processors that the targets are about. */
const HASH_ALL = 'find "$1" -type f -print0 | xargs -0 -n 8 -P 2 sha1sum > /dev/null'

export const verifyLarge: Measurement = {
  name: 'verify',
  about: 'verify --read-data of S2',
  async run(bench) {
    const source = await bench.large()
    await using pair = await layOurs({ dataDir: source.dataDir })
    await copyAll(pair)
    await pair.backup.process?.stop()
    const { dataDir, dir } = pair.backup
    const [ours, hashed]: [Cost[], Cost[]] = [[], []]
    for (let run = 0; run < bench.settings.runs; run++) {
      await bench.workspace.settle(dataDir)
      ours.push(await measured(() => verifyAll(join(dir, 'conf'))))
      await bench.workspace.settle(dataDir)
      hashed.push(await measured(() => runProgram('bash', ['-c', HASH_ALL, 'hash', join(dataDir, 'storage')])))
    }
    const rows = [
      ['seaf-backup-cmd verify', ...cells(source.bytes, ours)],
      ['sha1sum, two processes', ...cells(source.bytes, hashed)],
    ]
    const megabytes = (source.bytes / 1e6).toFixed(0)
    return {
      title: `verify --all --read-data of S2, ${megabytes} MB`,
      tables: [{ header: ['', 's', 'GB/s', 'CPU s', 'MB RSS'], rows }],
    }
  },
}

export const verifyAll = (confDir: string): Promise<void> =>
  runProgram(process.execPath, [COMMAND, '--conf', confDir, 'verify', '--all', '--read-data'])

function cells(bytes: number, runs: readonly Cost[]): string[] {
  const seconds = median(runs.map(run => run.seconds))
  return [
    seconds.toFixed(2),
    (bytes / 1e9 / seconds).toFixed(2),
    median(runs.map(run => run.cpuSeconds)).toFixed(1),
    median(runs.map(run => run.peakMb)).toFixed(0),
  ]
}
