/** Bare statements on either kind of database, past all of our own code. */

import Database from 'better-sqlite3'
import { createConnection } from 'mysql2/promise'
import type { DatabaseConfig } from '../../src/shared/catalog/database-config.js'

export type Cell = string | number | null

export interface Sql {
  run(...statements: readonly string[]): Promise<void>
  select(statement: string): Promise<Cell[][]>
}

export const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`

/** Opens and closes a connection each time, as somebody at a terminal would. */
export function sqlOn(database: DatabaseConfig): Sql {
  return database.type === 'sqlite' ? sqliteOn(database.path) : mysqlOn(database)
}

function sqliteOn(path: string): Sql {
  const on = <T>(work: (db: Database.Database) => T): T => {
    const db = new Database(path, { timeout: 10_000 })
    try {
      return work(db)
    } finally {
      db.close()
    }
  }
  return {
    run: async (...statements) => void on(db => db.exec(statements.join(';'))),
    select: async statement => on(db => db.prepare(statement).raw().all() as Cell[][]),
  }
}

function mysqlOn(config: DatabaseConfig & { type: 'mysql' }): Sql {
  const query = async (statement: string): Promise<unknown> => {
    const connection = await createConnection({
      ...(config.unixSocket === undefined
        ? { host: config.host, port: config.port }
        : { socketPath: config.unixSocket }),
      user: config.user,
      password: config.password,
      database: config.dbName,
      charset: 'utf8mb4',
      multipleStatements: true,
      rowsAsArray: true,
    })
    try {
      return (await connection.query(statement))[0]
    } finally {
      await connection.end()
    }
  }
  return {
    run: async (...statements) => void (await query(statements.join(';'))),
    select: async statement => (await query(statement)) as Cell[][],
  }
}
