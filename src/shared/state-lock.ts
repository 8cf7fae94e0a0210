/**
 * One process per state directory: a lock that the kernel lets go of when its holder dies, however it dies.
 *
 * It is SQLite's lock on a file of its own, because Node has none for files.
 */

import { join } from 'node:path'
import Database from 'better-sqlite3'
import { makeDirectory } from './durable-directory.js'
import { BackupError, reason, systemCode } from './errors.js'
import { asItsDirectory } from './owner.js'

/** Held until disposed. @throws BackupError ALREADY_RUNNING, DIRECTORY_UNUSABLE */
export function lockState(stateDir: string): Disposable {
  const file = join(stateDir, 'lock')
  let db: Database.Database | undefined
  try {
    makeDirectory(stateDir, 0o700)
    db = new Database(file, { timeout: 0 })
    asItsDirectory(file)
    db.exec('BEGIN EXCLUSIVE') // writes nothing: a full disk is no hindrance
  } catch (error) {
    db?.close()
    const held = systemCode(error)?.startsWith('SQLITE_BUSY') === true
    throw new BackupError(
      held ? 'ALREADY_RUNNING' : 'DIRECTORY_UNUSABLE',
      held
        ? `use state directory ${stateDir}: another daemon uses it; give this one --state DIR, or stop the other`
        : `lock ${file} (state directory, --state): ${reason(error)}`,
      { file },
      { cause: error },
    )
  }
  const held = db
  return { [Symbol.dispose]: () => void held.close() }
}
