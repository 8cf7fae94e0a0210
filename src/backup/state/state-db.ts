/**
 * What the daemon knows beside Seafile's own rows: one SQLite file in the state directory.
 *
 * WAL with synchronous=FULL: what was recorded survives a power cut. Losing the
 * file loses no data: heads are read back from `Branch`, and each library is
 * walked again before its head vouches for anything.
 */

import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { BackupError, reason, systemCode } from '../../shared/errors.js'
import { storeErrorCode } from '../../shared/store/durable-file.js'

/** Each entry brings the schema from its index to the next version; entries are never changed, only added. */
const MIGRATIONS: readonly string[] = [
  `CREATE TABLE library (
     repo TEXT PRIMARY KEY,
     head TEXT,               -- recorded in Branch by us
     recorded_at INTEGER,     -- Unix ms when it was durable here
     rows TEXT,               -- LibraryRows as JSON, as the primary had them with that head
     digest TEXT,             -- of those rows, in the primary's words
     vouched TEXT,            -- commit whose closure is here, but for the holes
     vouched_since INTEGER,   -- truncate time under which it was pulled
     vouched_gc TEXT,         -- id of the last seaf-gc here when it was pulled
     primary_head TEXT,
     deleted INTEGER NOT NULL DEFAULT 0,
     failure TEXT             -- JSON {code, message}; null: none
   ) WITHOUT ROWID;
   CREATE TABLE hole (
     repo TEXT NOT NULL,
     id TEXT NOT NULL,
     kind TEXT NOT NULL,
     problem TEXT NOT NULL,
     path TEXT,
     place TEXT NOT NULL,     -- 'head' or 'history'
     accepted INTEGER NOT NULL,
     PRIMARY KEY (repo, id)
   ) WITHOUT ROWID;
   CREATE TABLE head_log (
     id INTEGER PRIMARY KEY,
     repo TEXT NOT NULL,
     head TEXT NOT NULL,
     displaced TEXT,
     relation TEXT NOT NULL,  -- new, forward, revisit, unproven, rewound, diverged
     cause TEXT NOT NULL,     -- push, sweep, manual, forced
     primary_had_at INTEGER,  -- Unix ms by our clock; null: not known
     recorded_at INTEGER NOT NULL
   );
   CREATE INDEX head_log_repo ON head_log (repo, id);`,
  `CREATE TABLE head_move (  -- announced before the rows move, gone once head_log has it
     repo TEXT PRIMARY KEY,
     head TEXT NOT NULL,
     relation TEXT NOT NULL,
     cause TEXT NOT NULL,
     primary_had_at INTEGER,
     announced_at INTEGER NOT NULL
   ) WITHOUT ROWID;`,
  `ALTER TABLE library ADD COLUMN store TEXT; -- where its fs objects and blocks lie; null: of its rows nothing is known
   ALTER TABLE library ADD COLUMN name TEXT;
   ALTER TABLE library ADD COLUMN owner TEXT;
   ALTER TABLE library ADD COLUMN size_bytes INTEGER;
   ALTER TABLE library ADD COLUMN update_time INTEGER; -- Unix s, RepoInfo
   ALTER TABLE library ADD COLUMN base_commit TEXT;    -- of a virtual library
   UPDATE library SET
     store = COALESCE(json_extract(rows, '$.virtual.originRepo'), repo),
     name = json_extract(rows, '$.info.name'),
     owner = json_extract(rows, '$.owner'),
     size_bytes = json_extract(rows, '$.size.bytes'),
     update_time = json_extract(rows, '$.info.updateTime'),
     base_commit = json_extract(rows, '$.virtual.baseCommit')
   WHERE rows IS NOT NULL;
   ALTER TABLE library DROP COLUMN rows;`,
  `CREATE TABLE presence (   -- when it was noticed that the primary has it no more, or has it again
     id INTEGER PRIMARY KEY,
     repo TEXT NOT NULL,
     present INTEGER NOT NULL,
     at INTEGER NOT NULL    -- Unix ms
   );
   CREATE INDEX presence_repo ON presence (repo, id);`,
  `CREATE TABLE contact (    -- until when all that the primary had was heard of
     only INTEGER PRIMARY KEY CHECK (only = 1),
     at INTEGER NOT NULL    -- Unix ms
   );`,
]

const STATE_FILE = 'state.db'
const READ_LOCKED_MS_MAX = 10_000

/** Throws STATE_UNUSABLE when the file is damaged or of a newer program, DIRECTORY_UNUSABLE when it cannot be made. */
export function openStateDb(stateDir: string): Database.Database {
  const file = join(stateDir, STATE_FILE)
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o700 })
    const db = new Database(file)
    db.pragma('journal_mode = WAL')
    db.pragma('synchronous = FULL')
    migrate(db, file)
    return db
  } catch (error) {
    throw openError(file, error)
  }
}

/**
 * For a command, beside the daemon or without it. @throws BackupError STATE_UNUSABLE when there is none, a damaged one,
 * or one of another version
 */
export function openStateToRead(stateDir: string): Database.Database {
  const file = join(stateDir, STATE_FILE)
  if (!existsSync(file))
    throw new BackupError('STATE_UNUSABLE', `read ${file}: it is not there; is this the state directory of the backup?`)
  try {
    const db = new Database(file, { readonly: true, fileMustExist: true, timeout: READ_LOCKED_MS_MAX })
    expectVersion(db, file)
    return db
  } catch (error) {
    throw openError(file, error)
  }
}

function expectVersion(db: Database.Database, file: string): void {
  const version = db.pragma('user_version', { simple: true }) as number
  if (version === MIGRATIONS.length) return
  db.close()
  const step =
    version < MIGRATIONS.length ? 'start seaf-backup-server of this version once' : 'install the newer version'
  throw new BackupError('STATE_UNUSABLE', `read ${file}: it is of another version of this program; ${step}`)
}

/** Of opening the file or reading what it holds: rows that do not parse are damage too. */
export function openError(file: string, error: unknown): BackupError {
  if (error instanceof BackupError) return error
  const unreadable = [SyntaxError, TypeError, RangeError].some(kind => error instanceof kind) // deeper than any stack
  const damaged =
    unreadable || /^SQLITE_(NOTADB|CORRUPT)/.test(systemCode(error) ?? '') || /malformed JSON/.test(reason(error))
  return new BackupError(
    damaged ? 'STATE_UNUSABLE' : 'DIRECTORY_UNUSABLE',
    damaged
      ? `open ${file}: it is damaged. Move it away and start again: heads are read back from the database, and every library is checked once`
      : `open ${file} (state directory, --state): ${reason(error)}`,
    { file },
    { cause: error },
  )
}

function migrate(db: Database.Database, file: string): void {
  const version = db.pragma('user_version', { simple: true }) as number
  if (version > MIGRATIONS.length) {
    throw new BackupError(
      'STATE_UNUSABLE',
      `open ${file}: it was written by a newer version of this program; install that one`,
    )
  }
  for (let v = version; v < MIGRATIONS.length; v++) {
    db.transaction(() => {
      db.exec(MIGRATIONS[v] as string)
      db.pragma(`user_version = ${v + 1}`)
    })()
  }
}

/** A failing write to the state is a failing disk: same codes as the store. */
export function stateError(operation: string, error: unknown): BackupError {
  const full = systemCode(error) === 'SQLITE_FULL'
  return new BackupError(
    full ? 'STORE_FULL' : storeErrorCode(error),
    `${operation}: ${reason(error)}`,
    {},
    { cause: error },
  )
}
