/** Connections of the agent to its MySQL server. Their driver is loaded with the first one: who has SQLite needs none. */

import type { Connection as PlainConnection } from 'mysql2'
import type { Connection } from 'mysql2/promise'
import type { MysqlConfig } from '../shared/catalog/database-config.js'

const CONNECT_MS_MAX = 10_000

export const connectionOptions = ({ host, port, unixSocket, user, password, dbName }: MysqlConfig) => ({
  ...(unixSocket === undefined ? { host, port } : { socketPath: unixSocket }),
  user,
  password,
  database: dbName,
  connectTimeout: CONNECT_MS_MAX,
})

/** For queries; rows are arrays. Rejects as the driver does. */
export async function connect(config: MysqlConfig): Promise<Connection> {
  const { createConnection } = await import('mysql2/promise')
  return createConnection({ ...connectionOptions(config), rowsAsArray: true })
}

/** For commands that are no queries; it is connected when it says so. */
export async function connectPlain(config: MysqlConfig): Promise<PlainConnection> {
  const { createConnection } = await import('mysql2')
  return createConnection(connectionOptions(config))
}
