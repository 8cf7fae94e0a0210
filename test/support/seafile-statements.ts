/** What a Seafile server says to its databases: seaf-server, ccnet and the web part, word for word but for the values. */

import { MYSQL_SCHEMA } from '../../src/shared/catalog/schema.js'

const REPO = '0a0b0c0d-1111-4222-8333-444455556666'
const HEAD = 'ab'.repeat(20)

export const SEAFILE_DATABASES = ['seafile_db', 'ccnet_db', 'seahub_db'] as const

export const SEAFILE_TABLES = `
CREATE DATABASE IF NOT EXISTS seafile_db CHARACTER SET utf8mb4;
CREATE DATABASE IF NOT EXISTS ccnet_db CHARACTER SET utf8mb4;
CREATE DATABASE IF NOT EXISTS seahub_db CHARACTER SET utf8mb4;
ALTER DATABASE seafile_db CHARACTER SET utf8mb4;
USE seafile_db;
${MYSQL_SCHEMA.join(';\n')};
CREATE TABLE RepoUserToken (id BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT, repo_id CHAR(37), email VARCHAR(255), token CHAR(41), UNIQUE INDEX(repo_id, token), INDEX(token), INDEX (email)) ENGINE=INNODB;
CREATE TABLE RepoTokenPeerInfo (id BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT, token CHAR(41), peer_id CHAR(41), peer_ip VARCHAR(50), peer_name VARCHAR(255), sync_time BIGINT, client_ver VARCHAR(20), UNIQUE INDEX(token), INDEX(peer_id)) ENGINE=INNODB;
CREATE TABLE SharedRepo (id BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT, repo_id CHAR(37), from_email VARCHAR(255), to_email VARCHAR(255), permission CHAR(15), INDEX (repo_id), INDEX(from_email), INDEX(to_email)) ENGINE=INNODB;
USE ccnet_db;
CREATE TABLE EmailUser (id BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT, email VARCHAR(255), passwd VARCHAR(256), is_staff BOOL NOT NULL, is_active BOOL NOT NULL, ctime BIGINT, reference_id VARCHAR(255), UNIQUE INDEX (email), UNIQUE INDEX (reference_id)) ENGINE=INNODB;
CREATE TABLE \`Group\` (group_id BIGINT PRIMARY KEY AUTO_INCREMENT, group_name VARCHAR(255), creator_name VARCHAR(255), timestamp BIGINT, type VARCHAR(32), parent_group_id INTEGER) ENGINE=INNODB;
CREATE TABLE GroupUser (id BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT, group_id BIGINT, user_name VARCHAR(255), is_staff tinyint, UNIQUE INDEX (group_id, user_name), INDEX (user_name)) ENGINE=INNODB;
USE seahub_db;
CREATE TABLE share_fileshare (id INT AUTO_INCREMENT PRIMARY KEY, username VARCHAR(255) NOT NULL, repo_id VARCHAR(36) NOT NULL, path LONGTEXT NOT NULL, token VARCHAR(100) NOT NULL UNIQUE, ctime DATETIME(6) NOT NULL, view_cnt INT NOT NULL, expire_date DATETIME(6), details JSON) ENGINE=INNODB;
CREATE TABLE django_session (session_key VARCHAR(40) PRIMARY KEY, session_data LONGTEXT NOT NULL, expire_date DATETIME(6) NOT NULL) ENGINE=INNODB;
CREATE TABLE avatar (id INT AUTO_INCREMENT PRIMARY KEY, picture LONGBLOB, size DOUBLE, kind ENUM('a','b'), price DECIMAL(20,6)) ENGINE=INNODB;
`

const SEAFILE = `SET NAMES utf8mb4;
USE seafile_db;
SET autocommit = 0;
INSERT INTO Repo (repo_id) VALUES ('${REPO}');
INSERT INTO RepoOwner (repo_id, owner_id) VALUES ('${REPO}', 'jo@example.com');
INSERT INTO Branch (name, repo_id, commit_id) VALUES ('master', '${REPO}', '${HEAD}');
INSERT INTO RepoHead (repo_id, branch_name) VALUES ('${REPO}', 'master');
COMMIT;
SET autocommit = 1;
REPLACE INTO RepoOwner (repo_id, owner_id) VALUES ('${REPO}', 'ann@example.com');
INSERT INTO RepoInfo (repo_id, name, update_time, version, is_encrypted, last_modifier) VALUES ('${REPO}', 'Ümläut ☃ 😀 "Branch" /* Repo', 1, 1, 0, 'jo@example.com');
START TRANSACTION;
SELECT commit_id FROM Branch WHERE name = 'master' AND repo_id = '${REPO}' FOR UPDATE;
UPDATE Branch SET commit_id = '${'cd'.repeat(20)}' WHERE name = 'master' AND repo_id = '${REPO}';
COMMIT;
START TRANSACTION;
UPDATE RepoSize SET size = 5, head_id = '${HEAD}' WHERE repo_id = '${REPO}';
INSERT INTO RepoSize (repo_id, size, head_id) VALUES ('${REPO}', 5, '${HEAD}');
COMMIT;
INSERT INTO RepoUserToken (repo_id, email, token) VALUES ('${REPO}', 'jo@example.com', '${'1'.repeat(40)}'), ('${REPO}', 'ann@example.com', '${'2'.repeat(40)}');
INSERT INTO RepoTokenPeerInfo (token, peer_id, peer_ip, peer_name, sync_time, client_ver) VALUES ('${'1'.repeat(40)}', 'p', '::1', 'x', 1, '9');
DELETE t.*, i.* FROM RepoUserToken t, RepoTokenPeerInfo i WHERE t.token = i.token AND t.email = 'jo@example.com';
DELETE FROM RepoUserToken WHERE email = 'jo@example.com' AND token IN ('${'1'.repeat(40)}');
INSERT INTO SharedRepo (repo_id, from_email, to_email, permission) VALUES ('${REPO}', 'ann@example.com', 'jo@example.com', 'rw');
UPDATE SharedRepo SET permission='r' WHERE repo_id IN ('${REPO}') AND from_email='ann@example.com';
REPLACE INTO GarbageRepos (repo_id) VALUES ('${REPO}');
CREATE TABLE IF NOT EXISTS Branch (name VARCHAR(10), repo_id CHAR(40), commit_id CHAR(40), PRIMARY KEY (repo_id, name));
CREATE TABLE IF NOT EXISTS RepoSyncError (id BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT, token CHAR(41), error_time BIGINT UNSIGNED, error_con VARCHAR(1024), UNIQUE INDEX(token));
ALTER TABLE RepoInfo ADD COLUMN extra INTEGER DEFAULT 7;
/* by hand */ ALTER TABLE \`seafile_db\`.\`Branch\` ADD INDEX by_commit (commit_id);
CREATE INDEX seafilerepo_x ON RepoTrash (repo_name);
CREATE INDEX bi ON Branch (name);
UPDATE Branch b, RepoHead h SET b.commit_id = '${'ef'.repeat(20)}', h.branch_name = 'master' WHERE h.repo_id = b.repo_id AND b.repo_id = '${REPO}';
`
const CCNET = `USE ccnet_db;
INSERT INTO EmailUser(email, passwd, is_staff, is_active, ctime) VALUES ('jo@example.com', 'PBKDF2SHA256$10000$x\\\\''; DROP', 0, 1, 1);
UPDATE EmailUser SET passwd='x', is_staff=1 WHERE email='jo@example.com';
INSERT INTO \`Group\`(group_name, creator_name, timestamp, parent_group_id) VALUES ('g', 'jo@example.com', 2, 0);
INSERT INTO GroupUser (group_id, user_name, is_staff) VALUES (LAST_INSERT_ID(), 'jo@example.com', 1);
UPDATE \`Group\` SET group_name = 'Ground' WHERE group_id = 1;
INSERT INTO seafile_db.SharedRepo (repo_id, from_email, to_email, permission) VALUES ('x', 'a', 'b', 'rw');
`
const SEAHUB = `USE seahub_db;
SET NAMES utf8mb4;
SET sql_mode = 'STRICT_TRANS_TABLES';
SET time_zone = '+00:00';
START TRANSACTION;
SAVEPOINT \`s1_x1\`;
INSERT INTO \`share_fileshare\` (\`username\`, \`repo_id\`, \`path\`, \`token\`, \`ctime\`, \`view_cnt\`, \`expire_date\`, \`details\`) VALUES ('jo', '${REPO}', '/a \\\\'' b', 'tok1', NOW(6), 0, NULL, '{"Repo": 1}');
RELEASE SAVEPOINT \`s1_x1\`;
SAVEPOINT \`s2\`;
DELETE FROM \`share_fileshare\`;
ROLLBACK TO SAVEPOINT \`s2\`;
UPDATE \`share_fileshare\` SET \`view_cnt\` = (\`share_fileshare\`.\`view_cnt\` + 1) WHERE \`share_fileshare\`.\`token\` = 'tok1';
COMMIT;
INSERT INTO django_session VALUES (UUID(), RAND(), NOW(6)) ;
INSERT INTO django_session (session_key, session_data, expire_date) VALUES ('k', 'd', '2026-01-01') ON DUPLICATE KEY UPDATE session_data = 'e';
INSERT INTO avatar (picture, size, kind, price) VALUES (X'00ff27225c0a0d1a', 1.5, 'b', 12345.678900), (REPEAT('x', 30000), NULL, NULL, -1);
CREATE TABLE \`new_model\` (\`id\` integer AUTO_INCREMENT NOT NULL PRIMARY KEY, \`when\` datetime(6) NOT NULL);
ALTER TABLE \`new_model\` ADD COLUMN \`name\` varchar(9) DEFAULT 'x' NOT NULL;
INSERT INTO new_model (\`when\`) VALUES (CURRENT_TIMESTAMP(6));
RENAME TABLE new_model TO newer_model;
CREATE TABLE copied AS SELECT id, \`when\` FROM newer_model;
CREATE VIEW shares AS SELECT token FROM share_fileshare;
CREATE TRIGGER counted BEFORE INSERT ON newer_model FOR EACH ROW SET NEW.name = 'trigger';
INSERT INTO newer_model (\`when\`) VALUES ('2026-02-03');
CREATE TABLE doomed (a INT); DROP TABLE doomed;
TRUNCATE TABLE django_session;
INSERT INTO django_session VALUES ('again', 'é', '2026-01-01');
`
const OTHERS = `CREATE DATABASE other; USE other;
CREATE TABLE t (a INT PRIMARY KEY, b TEXT); INSERT INTO t VALUES (1, 'x');
UPDATE t SET b = 'y';
INSERT INTO seahub_db.django_session VALUES ('from elsewhere', '', '2026-01-01');
START TRANSACTION;
INSERT INTO t VALUES (2, '');
INSERT INTO ccnet_db.GroupUser (group_id, user_name, is_staff) VALUES (77, 'x', 0);
SAVEPOINT a;
INSERT INTO seafile_db.Repo (repo_id) VALUES ('y');
COMMIT;
CREATE USER somebody IDENTIFIED BY 'secret'; GRANT SELECT ON *.* TO somebody; DROP USER somebody;
ANALYZE TABLE seahub_db.avatar;
`

/** Of all that a day may bring: core tables and others, in transactions alone and mixed, and other databases. */
export const SEAFILE_DAY: readonly string[] = [SEAFILE, CCNET, SEAHUB, OTHERS]
