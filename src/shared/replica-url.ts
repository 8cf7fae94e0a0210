/** Where MySQL's own replica of the primary is, and as whom it is asked how it does. */

import type { MysqlAccess } from './mysql-options.js'

export interface ReplicaAccess extends MysqlAccess {
  /** Without the password, for people. */
  readonly shown: string
}

export const REPLICA_URL_RULE =
  'must be mysql://user:password@host:port/ or unix://user:password@localhost/path/of/the/socket'

const PORT = 3306

/** Undefined: it is none. Percent signs stand for what a URL cannot hold as it is. */
export function parseReplicaUrl(text: string): ReplicaAccess | undefined {
  const url = URL.parse(text)
  if (!url || url.username === '' || url.search !== '' || url.hash !== '') return undefined
  const user = decoded(url.username)
  const password = decoded(url.password)
  const path = decoded(url.pathname)
  if (user === undefined || password === undefined || path === undefined) return undefined
  const { protocol, hostname } = url
  const host = hostname.replace(/^\[|\]$/g, '')
  if (protocol === 'unix:' && path.length > 1 && hostname === 'localhost') {
    return {
      host,
      port: PORT,
      unixSocket: path,
      user,
      password,
      shown: `unix://${url.username}@localhost${url.pathname}`,
    }
  }
  if (protocol !== 'mysql:' || host === '' || path.length > 1) return undefined
  const port = url.port === '' ? PORT : Number(url.port)
  return { host, port, user, password, shown: `mysql://${url.username}@${hostname}:${port}/` }
}

function decoded(part: string): string | undefined {
  try {
    return decodeURIComponent(part)
  } catch {
    return undefined
  }
}
