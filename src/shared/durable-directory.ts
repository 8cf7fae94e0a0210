/** Directories that are still there after a power cut: whatever is made durable below them is lost with their entry. */

import { closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { systemCode } from './errors.js'

/** With those above it that are not there yet. Synced also when it is there: a killed process may have made it. */
export function makeDirectory(dir: string, mode: number): void {
  const first = mkdirSync(dir, { recursive: true, mode }) ?? dir
  for (let made = dir; made.length >= first.length; made = dirname(made)) syncDirectory(dirname(made))
}

function syncDirectory(dir: string): void {
  let fd: number
  try {
    fd = openSync(dir, 'r')
  } catch (error) {
    if (systemCode(error) === 'EACCES') return // not ours to read: what is in it was made by the administrator
    throw error
  }
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
