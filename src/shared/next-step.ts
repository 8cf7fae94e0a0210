/** What an administrator can do about each error: shown beside it in `status`, `sync` and the runbook. */

import type { ErrorCode } from './errors.js'

/** Stands for the library that the error is about. */
const LIBRARY = '<library id>'

const FSCK = `run seaf-fsck on the primary; to go on without the damaged objects: seaf-backup-cmd sync --force ${LIBRARY}`
const ADOPT = `if the primary is right (after seaf-fsck or a restored database), adopt its head: seaf-backup-cmd sync --force ${LIBRARY}`
const AGAIN = 'nothing: it is tried again'
const DATABASE = 'check the database of the backup and [database] in its seafile.conf'
const CORRECT = 'correct what the message names and try again'

const STEPS: Readonly<Record<ErrorCode, string>> = {
  OBJECT_MISSING: FSCK,
  OBJECT_CORRUPT: FSCK,
  HEAD_REWOUND: ADOPT,
  HEAD_DIVERGED: ADOPT,
  HEAD_MISSING: 'run seaf-fsck --repair for this library on the primary: it writes the Branch row again',
  LIBRARY_GONE: 'nothing: it was deleted on the primary and is kept here',
  PRIMARY_UNREACHABLE: 'check that seaf-backup-primary runs, and the key primary_url in seafile.conf of the backup',
  BACKUP_UNREACHABLE: 'check that seaf-backup-server runs, and the key backup_url in seafile.conf of the primary',
  TOKEN_MISMATCH: 'make sync_token the same in seafile.conf of both hosts, and restart the daemon that was changed',
  CLOCK_SKEW: 'set the clocks of both hosts (NTP)',
  PROTOCOL_VERSION: 'install the same version of seaf-backup on both hosts',
  PROTOCOL_BROKEN: 'it is tried again; if it stays, something between the hosts changes the traffic: use https',
  PRIMARY_FAILED: 'it is tried again; look into the log of seaf-backup-primary',
  PRIMARY_CHANGED: AGAIN,
  HEAD_CONFLICT: AGAIN,
  STOPPING: AGAIN,
  STORE_FULL: 'make room on the disk of the backup; syncing goes on by itself',
  STORE_READ_ONLY: 'mount the disk of the backup for writing; syncing goes on by itself',
  STORE_IO: 'look into the kernel log of the backup: its disk fails',
  DATABASE_DOWN: DATABASE,
  DATABASE_REFUSED: DATABASE,
  DATABASE_SCHEMA: DATABASE,
  DUMP_FAILED:
    'mend on the primary what the message names; it is tried again by itself, or at once: seaf-backup-cmd dumps now',
  BINLOG_UNAVAILABLE:
    'change on the primary what the message names; until then the tables are as old as the newest dump after a restore',
  DUMP_DAMAGED: 'look into the kernel log of the backup, and take another one: seaf-backup-cmd dumps now',
  BINLOG_DAMAGED:
    'to have the tables as in the dump alone: restore --without-binlog, promote --accept-loss tables; and look into the kernel log',
  BINLOG_UNREPLAYABLE:
    'to have the tables as in the dump alone: restore --without-binlog, promote --accept-loss tables',
  PROMOTED: 'stop Seafile on the old primary for good; set up a new backup of the new one',
  PROMOTION_STOPPED: 'see what is not certain: seaf-backup-cmd promote --check',
  RESTORE_FAILED: 'mend what the message names, and run the same command again: what is there already is used',
  DUMP_UNKNOWN: 'list what is kept: seaf-backup-cmd dumps',
  TARGET_EXISTS: 'name another place, or say --force to write over it',
  LIBRARY_UNKNOWN: 'list what is known: seaf-backup-cmd status --verbose',
  PATH_UNKNOWN: 'see what is there: seaf-backup-cmd ls <library id> <path>',
  LIBRARY_AMBIGUOUS: 'give more characters of the id',
  CONFIG_INVALID: CORRECT,
  DIRECTORY_UNUSABLE: CORRECT,
  ALREADY_RUNNING: CORRECT,
  LISTEN_FAILED: CORRECT,
  STATE_UNUSABLE: CORRECT,
  BAD_REQUEST: CORRECT,
  INTERNAL: 'this is a defect: please report it with the log of seaf-backup-server',
}

export const nextStep = (code: ErrorCode, repo = LIBRARY): string => STEPS[code].replaceAll(LIBRARY, repo)
