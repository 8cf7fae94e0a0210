/** Whether a path still leads to the file or directory that it led to: both can be replaced under their names. */

import { statSync } from 'node:fs'

/** Device and inode. Throws what the system says when it cannot be reached. */
export function fileIdentity(path: string): string {
  const { dev, ino } = statSync(path)
  return `${dev}:${ino}`
}
