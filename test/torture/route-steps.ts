/**
 * The steps of the route by name: what a file operation or a statement is, told from its path or its text.
 *
 * Pure, for the preload that counts the steps (failpoints.ts) and for whoever
 * aims at them (aims.ts). A step has a `before` and an `after`, a write also a
 * `during`, in which half of its bytes are there.
 */

export type Phase = 'before' | 'during' | 'after'
export const pointOf = (phase: Phase, step: string): string => `${phase} ${step}`

/** What a path is to the product; undefined: nothing that is on the route. */
export function placeOf(path: string): string | undefined {
  if (/\/tmpfiles\/seaf-backup\/[^/]+$/.test(path)) return 'a temp file'
  if (/\/storage\/(commits|fs|blocks)\/[^/]+\/[0-9a-f]{2}\/[0-9a-f]{38}$/.test(path)) return 'an object'
  if (/\/storage(\/|$)/.test(path)) return 'an object directory'
  if (/\/control\.sock$/.test(path)) return 'the control socket'
  if (/\/binlog-position\.json$/.test(path)) return 'the saved position'
  if (/\/seaf-backup-state\/\.[^/]*\.tmp$/.test(path)) return 'a position temp file'
  if (/\/seaf-backup-state\/\.[^/]*$/.test(path)) return 'the control directory'
  if (/\/seaf-backup-state$/.test(path)) return 'the state directory'
  return undefined
}

const ROW_WRITE = /^(?:INSERT INTO|UPDATE|DELETE FROM) (\w+)/

/** `writer`: the function of the product that is writing the state; a transaction of rows that began IMMEDIATE writes. */
export function sqliteStep(
  file: string,
  sql: string,
  { writer, writing }: { writer: () => string; writing: boolean },
): string | undefined {
  if (file.endsWith('/state.db')) {
    if (sql.startsWith('BEGIN')) return `BEGIN of the state write ${writer()}`
    if (sql === 'COMMIT') return `COMMIT of the state write ${writer()}`
    return sql.startsWith('INSERT INTO head_log') ? 'the head log entry' : undefined
  }
  if (!file.endsWith('/seafile.db')) return undefined
  if (sql === 'BEGIN IMMEDIATE') return 'BEGIN of the rows'
  if (sql === 'COMMIT') return writing ? 'COMMIT of the rows' : 'the end of a read of rows'
  if (sql.startsWith('BEGIN')) return 'a read of rows'
  if (sql.includes('FROM Branch b JOIN Repo')) return 'a read of heads'
  if (sql.includes('CREATE TABLE IF NOT EXISTS Branch')) return 'the schema of the rows'
  const table = ROW_WRITE.exec(sql)?.[1]
  return table && `the row of ${table}`
}

/** Statements travel to MySQL many at a time: what lies between them only the server's death can hit. */
export function mysqlStep(sql: string): string | undefined {
  if (sql.startsWith('START TRANSACTION WITH CONSISTENT SNAPSHOT')) return 'a read of rows'
  if (sql.startsWith('START TRANSACTION')) return 'BEGIN of the rows'
  if (sql.endsWith('COMMIT')) return 'COMMIT of the rows'
  if (sql.includes('FROM Branch b JOIN Repo')) return 'a read of heads'
  return sql.includes('CREATE TABLE IF NOT EXISTS Branch') ? 'the schema of the rows' : undefined
}
