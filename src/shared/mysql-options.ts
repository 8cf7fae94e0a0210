/** What the servers' own programs (dump tool, client) are told, and where they are. */

import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

export interface MysqlAccess {
  readonly host: string
  readonly port: number
  readonly unixSocket?: string
  readonly user: string
  /** Secret. */
  readonly password: string
}

/** Text of an option file, for one of mode 0600: what is on a command line, everybody on the host can read. */
export function clientOptions({ host, port, unixSocket, user, password }: MysqlAccess): string {
  const where =
    unixSocket === undefined
      ? [`host=${quoted(host)}`, `port=${port}`, 'protocol=tcp']
      : [`socket=${quoted(unixSocket)}`]
  return ['[client]', `user=${quoted(user)}`, `password=${quoted(password)}`, ...where, ''].join('\n')
}

/** As the client library reads option files: in quotes, with a backslash before itself and before quotes. */
const quoted = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`

/** The first of these that is in PATH; undefined: none is. */
export function findProgram(names: readonly string[], env: NodeJS.ProcessEnv = process.env): string | undefined {
  return names.flatMap(name => (env['PATH'] ?? '').split(delimiter).map(dir => join(dir, name))).find(isProgram)
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
