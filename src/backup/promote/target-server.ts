/** Whether the database server here can take what the primary's wrote: of the same kind, and no older. */

import { reason } from '../../shared/errors.js'
import { MysqlClient } from '../restore/mysql-client.js'
import type { MysqlAccess } from '../../shared/mysql-options.js'

interface Version {
  readonly isMariadb: boolean
  readonly major: number
}

/** Of `SELECT VERSION()`; undefined: it says nothing that we know. */
function versionOf(text: string): Version | undefined {
  const major = /^(\d{1,3})\./.exec(text)?.[1]
  return major === undefined ? undefined : { isMariadb: /mariadb/i.test(text), major: Number(major) }
}

/** Why not; null: nothing is known that would keep it. Both as the servers say in answer to `SELECT VERSION()`. */
export function unlikeServer(theirs: string, ours: string): string | null {
  const [from, to] = [versionOf(theirs), versionOf(ours)]
  if (!from || !to) return null
  const both = `the dump is of ${theirs}, the server here is ${ours}`
  if (from.isMariadb !== to.isMariadb)
    return `${both}, of another kind: its SQL stops in the middle. Install ${from.isMariadb ? 'MariaDB' : 'MySQL'} here`
  if (from.major > to.major)
    return `${both}, which is older: its SQL may stop in the middle. Install ${from.major} here`
  return null
}

/** The same of the server here, asked now; also when it cannot be asked. */
export async function unlikeHere(theirs: string, server: MysqlAccess, signal: AbortSignal): Promise<string | null> {
  try {
    using client = new MysqlClient(server)
    return unlikeServer(theirs, (await client.ask('SELECT VERSION()', signal)).trim())
  } catch (error) {
    if (signal.aborted) throw error
    return reason(error)
  }
}
