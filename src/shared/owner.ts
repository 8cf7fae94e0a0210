/**
 * Who owns what is made: commands are run as root, the daemon often is not, and must read and remove what they leave.
 */

import { chownSync, statSync } from 'node:fs'
import { dirname } from 'node:path'

/** As root, `path` is given to the owner of the directory that it lies in; else nothing happens. */
export function asItsDirectory(path: string): void {
  if (process.geteuid?.() !== 0) return
  const [own, directory] = [statSync(path), statSync(dirname(path))]
  if (own.uid !== directory.uid || own.gid !== directory.gid) chownSync(path, directory.uid, directory.gid)
}
