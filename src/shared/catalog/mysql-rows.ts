/** Rows of several statements in one packet, taken as they come, and never a transaction left open behind a failure. */

import type { Connection } from 'mysql2'
import type { PoolConnection } from 'mysql2/promise'
import type { Value } from './library-tables.js'

export type ResultRow = readonly Value[]

/** An open snapshot would be what the next call on this connection reads, and hold up changes of tables. */
export async function orRollBack<T>(connection: PoolConnection, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    await connection.query('ROLLBACK').catch(() => connection.destroy())
    throw error
  }
}

/** Rows as they come, none kept: `statement` is the index in `sql` of the one that a row answers. */
export function rowByRow(
  connection: PoolConnection,
  sql: string,
  take: (row: ResultRow, statement: number) => void,
): Promise<void> {
  const core = connection.connection as unknown as Connection
  let broke: (error: Error) => void = () => {}
  const read = new Promise<void>((resolve, reject) => {
    const query = core.query(sql)
    let failure: unknown
    query.on('result', (row: unknown, statement: number) => {
      // statements without rows answer with a header; what is thrown here would end the process
      if (failure !== undefined || !Array.isArray(row)) return
      try {
        take(row as ResultRow, statement)
      } catch (error) {
        failure = error
      }
    })
    query.on('error', reject)
    query.on('end', () => (failure === undefined ? resolve() : reject(failure as Error)))
    core.once('error', (broke = reject)) // of a connection that breaks, a query without a callback is not told
  }).finally(() => core.off('error', broke))
  return orRollBack(connection, () => read)
}
