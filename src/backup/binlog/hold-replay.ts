/**
 * The files of the archive that a restore replays in the end, hours later, whatever retention does meanwhile.
 *
 *   binlog/.using-…-PID/0.binlog   of a command; removed when that process is no more
 */

import { randomUUID } from 'node:crypto'
import { linkSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { makeDirectory } from '../../shared/durable-directory.js'
import { BackupError, reason, systemCode } from '../../shared/errors.js'
import { storeError } from '../../shared/store/durable-file.js'
import { archiveDir } from './archive-layout.js'
import type { Replay } from './replay-plan.js'

export interface HeldReplay extends Disposable {
  /** With parts that stay. */
  readonly replay: Replay
}

/** @throws BackupError BINLOG_DAMAGED: a file has gone since it was planned; or of the store */
export function holdReplay(stateDir: string, replay: Replay): HeldReplay {
  const dir = join(archiveDir(stateDir), `.using-${randomUUID()}-${process.pid}`)
  const remove = (): void => rmSync(dir, { recursive: true, force: true })
  try {
    makeDirectory(dir, 0o700)
    const parts = replay.parts.map((part, index) => {
      const path = join(dir, `${index}.binlog`)
      linkSync(part.path, path)
      return { ...part, path }
    })
    return { replay: { ...replay, parts }, [Symbol.dispose]: remove }
  } catch (error) {
    remove()
    if (systemCode(error) !== 'ENOENT') throw storeError(`hold the archived binlog in ${dir}`, error)
    const message = `hold the archived binlog that is to be replayed: ${reason(error)}`
    const nextStep = 'run it again: old files of the archive may have been removed since it was planned'
    throw new BackupError('BINLOG_DAMAGED', message, { nextStep }, { cause: error })
  }
}
