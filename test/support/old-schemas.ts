/**
 * Seafile's MySQL tables as its versions made them, as far as a replica reads or writes them.
 *
 * From common/branch-mgr.c, common/config-mgr.c and server/repo-mgr.c of the 6.x tags, and from
 * scripts/sql/mysql/seafile.sql since then, of haiwen/seafile-server.
 */

export interface OldSchema {
  /** By table; repo_id is in each that does not name it. */
  readonly tables: Readonly<Record<string, string>>
  /** Since 6.3 rows are numbered, and repo_id is but unique. */
  readonly numbered: boolean
  /** Nothing: what the database has by default. */
  readonly charset: string
}

const V60 = {
  Branch: 'name VARCHAR(10), repo_id CHAR(41), commit_id CHAR(41)',
  Repo: 'repo_id CHAR(37)',
  RepoOwner: 'repo_id CHAR(37), owner_id VARCHAR(255)',
  RepoHead: 'repo_id CHAR(37), branch_name VARCHAR(10)',
  RepoSize: 'repo_id CHAR(37), size BIGINT UNSIGNED, head_id CHAR(41)',
  RepoHistoryLimit: 'repo_id CHAR(37), days INTEGER',
  RepoValidSince: 'repo_id CHAR(37), timestamp BIGINT',
  VirtualRepo: 'repo_id CHAR(36), origin_repo CHAR(36), path TEXT, base_commit CHAR(40)',
  RepoFileCount: 'repo_id CHAR(36), file_count BIGINT UNSIGNED',
}
const INFO = 'repo_id CHAR(36), name VARCHAR(255) NOT NULL, update_time BIGINT, version INTEGER, is_encrypted INTEGER'
const V63 = { ...V60, RepoInfo: `${INFO}, last_modifier VARCHAR(255)` }
const CONF = 'cfg_group VARCHAR(255) NOT NULL, cfg_key VARCHAR(255) NOT NULL, value VARCHAR(255), property INTEGER'
const V70 = { ...V63, RepoInfo: `${V63.RepoInfo}, status INTEGER DEFAULT 0`, SeafileConf: CONF }
const V120 = {
  ...V70,
  RepoInfo: `${V70.RepoInfo}, type VARCHAR(10)`,
  GCID: 'repo_id CHAR(36), gc_id CHAR(36)',
}

const without = (tables: Readonly<Record<string, string>>, ...names: readonly string[]) =>
  Object.fromEntries(Object.entries(tables).filter(([name]) => !names.includes(name)))

export const OLD_SCHEMAS = {
  '6.0': { tables: without(V60, 'RepoFileCount'), numbered: false, charset: 'latin1' },
  '6.2': { tables: V60, numbered: false, charset: 'utf8mb3' },
  '6.3': { tables: V63, numbered: true, charset: '' },
  '7.0': { tables: V70, numbered: true, charset: 'utf8mb3' },
  '9.0 with CHAR(40)': {
    tables: { ...V70, Branch: 'name VARCHAR(10), repo_id CHAR(40), commit_id CHAR(40)' },
    numbered: true,
    charset: 'utf8mb4',
  },
  '13.0': { tables: V120, numbered: true, charset: 'utf8mb4' },
  'no more than the two tables that are needed': {
    tables: { Branch: V60.Branch, Repo: V60.Repo },
    numbered: true,
    charset: 'latin1',
  },
} as const satisfies Record<string, OldSchema>

export type OldVersion = keyof typeof OLD_SCHEMAS

const keyOf = (table: string): string =>
  table === 'Branch' ? '(repo_id, name)' : table === 'SeafileConf' ? '(cfg_group(50), cfg_key(50))' : '(repo_id)'

/** Statements that make the tables. */
export function ddlOf({ tables, numbered, charset }: OldSchema): string[] {
  return Object.entries(tables).map(([table, columns]) => {
    const id = numbered ? 'id BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT, ' : ''
    const key = `${numbered ? 'UNIQUE INDEX' : 'PRIMARY KEY'} ${keyOf(table)}`
    return `CREATE TABLE ${table} (${id}${columns}, ${key}) ENGINE=INNODB ${charset && `DEFAULT CHARSET=${charset}`}`
  })
}

/** The columns of each table that both have. */
export function commonColumns(one: OldSchema, other: OldSchema): [table: string, columns: string][] {
  return Object.entries(one.tables).flatMap(([table, columns]) => {
    const theirs = namesIn(other.tables[table] ?? '')
    const names = namesIn(columns).filter(name => theirs.includes(name))
    return names.length > 0 && table !== 'GCID' && table !== 'SeafileConf' ? [[table, names.join(', ')]] : []
  })
}

const namesIn = (columns: string): string[] => columns.split(', ').map(column => column.split(' ')[0] ?? '')
