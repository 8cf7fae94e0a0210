/** Directories that are still there after a power cut: whatever is made durable below them is lost with their entry. */

import { closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { systemCode } from './errors.js'
import { asItsDirectory } from './owner.js'

/** With those above it that are not there yet. Synced also when it is there: a killed process may have made it. */
export function makeDirectory(dir: string, mode: number): void {
  const first = mkdirSync(dir, { recursive: true, mode }) ?? dir
  const made: string[] = []
  for (let one = dir; one.length >= first.length; one = dirname(one)) made.push(one)
  for (const one of made.toReversed()) {
    asItsDirectory(one) // those above first: each takes after its own
    syncDirectory(dirname(one))
  }
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
