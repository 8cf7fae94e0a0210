/** What the tests of the binlog archive share: the server's own files, and what of them is archived. */

import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { readArchive } from '../../src/backup/binlog/archive-layout.js'
import { FORMAT_DESCRIPTION, MAGIC, eventHeader } from '../../src/shared/binlog-events.js'
import type { Test } from 'tap'
import type { ArchiveRun } from '../../src/backup/binlog/archive-layout.js'
import type { Mariadb } from './mariadb.js'
import type { Pair } from './pair.js'

export const BINLOG_ARGS = ['--log-bin=mysql-bin', '--server-id=1', '--max-allowed-packet=64M']

export const stateOf = (pair: Pair): string => join(pair.backup.dir, 'seaf-backup-state')
export const runsOf = (pair: Pair): ArchiveRun[] => readArchive(stateOf(pair))

/** Of the server, by name. */
export async function serversFiles(server: Mariadb): Promise<Map<string, Buffer>> {
  const dir = join(server.dir, 'data')
  const names = (await readdir(dir)).filter(name => /^mysql-bin\.\d+$/.test(name))
  return new Map(await Promise.all(names.map(async name => [name, await readFile(join(dir, name))] as const)))
}

/**
 * A server marks a file as in use in its own first event while it writes to it, leaves it so when it is killed, and never
 * sends it. Every other bit is the same.
 */
export function closed(file: Buffer): Buffer {
  const copy = Buffer.from(file)
  const flagsAt = MAGIC.byteLength + 17
  if (copy.byteLength > flagsAt && eventHeader(copy.subarray(MAGIC.byteLength)).type === FORMAT_DESCRIPTION)
    copy.writeUInt16LE(copy.readUInt16LE(flagsAt) & ~1, flagsAt)
  return copy
}

/** Every file of the run is the server's, byte for byte, and all that the server has from the run's first on is there. */
export async function sameAsServer(t: Test, run: ArchiveRun | undefined, server: Mariadb): Promise<void> {
  const theirs = await serversFiles(server)
  const names = [...theirs.keys()].sort()
  const first = run?.files[0]?.name ?? 'no file'
  t.strictSame(
    run?.files.map(({ name }) => name),
    names.slice(names.indexOf(first)),
    'the files follow each other',
  )
  for (const { name, path, bytes } of run?.files ?? []) {
    const ours = (await readFile(path)).subarray(0, bytes)
    t.ok(ours.equals(closed(theirs.get(name) ?? Buffer.alloc(0))), `${name} is the server's, ${bytes} bytes`)
  }
}

/** Resolves when all that the server has now is archived. */
export async function archived(pair: Pair, server: Mariadb): Promise<void> {
  const at = Number(await server.query('SELECT ROUND(UNIX_TIMESTAMP(NOW(3)) * 1000)'))
  await pair.until('archived', async () => ((await pair.status()).binlog?.upTo ?? 0) > at)
}
