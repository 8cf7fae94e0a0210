/**
 * The tables that a backup needs to be a Seafile database, for a backup that starts with none.
 *
 * As seafile-server's scripts/sql/{sqlite,mysql}/seafile.sql has them; only the
 * tables that this program writes or reads. Seafile makes the others itself
 * when it starts on them, or a restored dump brings them.
 */

/** The three that travel with each head move: a dump has their tables at most, never their rows. */
export const CORE_TABLES = ['Repo', 'Branch', 'RepoHead'] as const

export const SQLITE_SCHEMA = `
CREATE TABLE IF NOT EXISTS Branch (name VARCHAR(10), repo_id CHAR(40), commit_id CHAR(40), PRIMARY KEY (repo_id, name));
CREATE TABLE IF NOT EXISTS Repo (repo_id CHAR(37) PRIMARY KEY);
CREATE TABLE IF NOT EXISTS RepoOwner (repo_id CHAR(37) PRIMARY KEY, owner_id TEXT);
CREATE INDEX IF NOT EXISTS OwnerIndex ON RepoOwner (owner_id);
CREATE TABLE IF NOT EXISTS RepoHead (repo_id CHAR(37) PRIMARY KEY, branch_name VARCHAR(10));
CREATE TABLE IF NOT EXISTS RepoSize (repo_id CHAR(37) PRIMARY KEY, size BIGINT UNSIGNED, head_id CHAR(41));
CREATE TABLE IF NOT EXISTS RepoHistoryLimit (repo_id CHAR(37) PRIMARY KEY, days INTEGER);
CREATE TABLE IF NOT EXISTS RepoValidSince (repo_id CHAR(37) PRIMARY KEY, timestamp BIGINT);
CREATE TABLE IF NOT EXISTS VirtualRepo (repo_id CHAR(36) PRIMARY KEY, origin_repo CHAR(36), path TEXT, base_commit CHAR(40));
CREATE INDEX IF NOT EXISTS virtualrepo_origin_repo_idx ON VirtualRepo (origin_repo);
CREATE TABLE IF NOT EXISTS GarbageRepos (repo_id CHAR(36) PRIMARY KEY);
CREATE TABLE IF NOT EXISTS RepoTrash (repo_id CHAR(36) PRIMARY KEY, repo_name VARCHAR(255), head_id CHAR(40), owner_id VARCHAR(255), size BIGINT UNSIGNED, org_id INTEGER, del_time BIGINT);
CREATE INDEX IF NOT EXISTS repotrash_owner_id_idx ON RepoTrash(owner_id);
CREATE INDEX IF NOT EXISTS repotrash_org_id_idx ON RepoTrash(org_id);
CREATE TABLE IF NOT EXISTS RepoFileCount (repo_id CHAR(36) PRIMARY KEY, file_count BIGINT UNSIGNED);
CREATE TABLE IF NOT EXISTS RepoInfo (repo_id CHAR(36) PRIMARY KEY, name VARCHAR(255) NOT NULL, update_time INTEGER, version INTEGER, is_encrypted INTEGER, last_modifier VARCHAR(255), status INTEGER DEFAULT 0, type VARCHAR(10));
CREATE INDEX IF NOT EXISTS RepoInfoTypeIndex on RepoInfo (type);
CREATE TABLE IF NOT EXISTS SeafileConf (cfg_group VARCHAR(255) NOT NULL, cfg_key VARCHAR(255) NOT NULL, value VARCHAR(255), property INTEGER);
`

const MYSQL_TABLES: readonly string[] = [
  'Branch (id BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT, name VARCHAR(10), repo_id CHAR(41), commit_id CHAR(41), UNIQUE INDEX(repo_id, name))',
  'Repo (id BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT, repo_id CHAR(37), UNIQUE INDEX (repo_id))',
  'RepoOwner (id BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT, repo_id CHAR(37), owner_id VARCHAR(255), UNIQUE INDEX (repo_id), INDEX (owner_id))',
  'RepoHead (id BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT, repo_id CHAR(37), branch_name VARCHAR(10), UNIQUE INDEX(repo_id))',
  'RepoSize (id BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT, repo_id CHAR(37), size BIGINT UNSIGNED, head_id CHAR(41), UNIQUE INDEX (repo_id))',
  'RepoHistoryLimit (id BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT, repo_id CHAR(37), days INTEGER, UNIQUE INDEX(repo_id))',
  'RepoValidSince (id BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT, repo_id CHAR(37), timestamp BIGINT, UNIQUE INDEX(repo_id))',
  'VirtualRepo (id BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT, repo_id CHAR(36), origin_repo CHAR(36), path TEXT, base_commit CHAR(40), UNIQUE INDEX(repo_id), INDEX(origin_repo))',
  'GarbageRepos (id BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT, repo_id CHAR(36), UNIQUE INDEX(repo_id))',
  'RepoTrash (id BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT, repo_id CHAR(36), repo_name VARCHAR(255), head_id CHAR(40), owner_id VARCHAR(255), size BIGINT UNSIGNED, org_id INTEGER, del_time BIGINT, UNIQUE INDEX(repo_id), INDEX(owner_id), INDEX(org_id))',
  'RepoFileCount (id BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT, repo_id CHAR(36), file_count BIGINT UNSIGNED, UNIQUE INDEX(repo_id))',
  'RepoInfo (id BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT, repo_id CHAR(36), name VARCHAR(255) NOT NULL, update_time BIGINT, version INTEGER, is_encrypted INTEGER, last_modifier VARCHAR(255), status INTEGER DEFAULT 0, type VARCHAR(10), UNIQUE INDEX(repo_id), INDEX(type))',
  'SeafileConf (id BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT, cfg_group VARCHAR(255) NOT NULL, cfg_key VARCHAR(255) NOT NULL, value VARCHAR(255), property INTEGER)',
  'GCID (id BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT, repo_id CHAR(36), gc_id CHAR(36), UNIQUE INDEX(repo_id))',
]

const created = (table: string): string => `CREATE TABLE IF NOT EXISTS ${table} ENGINE=INNODB DEFAULT CHARSET=utf8mb4`

export const MYSQL_SCHEMA: readonly string[] = MYSQL_TABLES.map(created)

/** Of the three that a dump leaves out: statements, each with its semicolon. */
export const coreTablesSql = (): string[] =>
  MYSQL_TABLES.filter(table => CORE_TABLES.some(core => table.startsWith(`${core} `))).map(
    table => `${created(table)};`,
  )
