/** Directories for decoders that read files; gone when the process ends. */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

let room: string | undefined

export function roomOf(name: string): string {
  if (room === undefined) {
    const made = mkdtempSync(join(tmpdir(), 'seaf-backup-fuzz-'))
    process.once('exit', () => rmSync(made, { recursive: true, force: true }))
    room = made
  }
  const dir = join(room, name)
  mkdirSync(dir, { recursive: true })
  return dir
}
