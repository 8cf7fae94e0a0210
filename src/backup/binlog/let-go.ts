/** Removes from the archive what no dump that is kept needs. */

import { rmSync, statSync } from 'node:fs'
import { storeError } from '../../shared/store/durable-file.js'
import { fileInfoPath, filePath, readArchive, runDir } from './archive-layout.js'
import { oldestKept } from './archive-retention.js'
import { removeRun } from './archive.js'
import type { DumpStore } from '../dumps/dump-store.js'
import type { ArchiveRun } from './archive-layout.js'
import type { DatedRun } from './archive-retention.js'

export interface LettingGo {
  readonly stateDir: string
  readonly dumps: DumpStore
  readonly keepMs: number
  /** Unix ms. */
  readonly now: number
}

/** How many files went; of a damaged run they are not counted. @throws BackupError of the store, or DUMP_DAMAGED */
export function letGo({ stateDir, dumps, keepMs, now }: LettingGo): number {
  const runs = readArchive(stateDir).map(dated)
  const whole = dumps.list().dumps.filter(({ verdict }) => !verdict?.damage)
  const keep = oldestKept(
    runs,
    whole.map(({ dump }) => dump),
    keepMs,
    now,
  )
  let gone = 0
  for (const { run, files } of keep ? runs : []) {
    if (keep && run > keep.run) break
    if (keep && run < keep.run) {
      removeRun(stateDir, run)
      gone += files.length
      continue
    }
    for (const { n } of files) {
      if (keep && n >= keep.n) break
      removeFile(runDir(stateDir, run), n)
      gone += 1
    }
  }
  return gone
}

function dated({ run, began, files, damage }: ArchiveRun): DatedRun {
  const changed = files.map(file => ({ ...file, changedAt: statSync(file.path).mtimeMs }))
  return { run, began, files: changed, isDamaged: damage !== null }
}

/** The bytes first: a name without them is passed over at the beginning of a run. */
function removeFile(dir: string, n: number): void {
  const path = filePath(dir, n)
  try {
    rmSync(path, { force: true })
    rmSync(fileInfoPath(dir, n), { force: true })
  } catch (error) {
    throw storeError(`remove ${path}`, error)
  }
}
