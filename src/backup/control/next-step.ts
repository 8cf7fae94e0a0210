/** What an administrator can do about each error: shown beside it in `status`, `sync` and the runbook. */

import type { ErrorCode } from '../../shared/errors.js'

export function nextStep(code: ErrorCode, repo = '<library id>'): string {
  const fsck = `run seaf-fsck on the primary; to go on without the damaged objects: seaf-backup-cmd sync --force ${repo}`
  switch (code) {
    case 'OBJECT_MISSING':
    case 'OBJECT_CORRUPT':
      return fsck
    case 'HEAD_REWOUND':
    case 'HEAD_DIVERGED':
      return `if the primary is right (after seaf-fsck or a restored database), adopt its head: seaf-backup-cmd sync --force ${repo}`
    case 'HEAD_MISSING':
      return 'run seaf-fsck --repair for this library on the primary: it writes the Branch row again'
    case 'LIBRARY_GONE':
      return 'nothing: it was deleted on the primary and is kept here'
    case 'PRIMARY_UNREACHABLE':
      return 'check that seaf-backup-primary runs, and the key primary_url in seafile.conf of the backup'
    case 'BACKUP_UNREACHABLE':
      return 'check that seaf-backup-server runs, and the key backup_url in seafile.conf of the primary'
    case 'TOKEN_MISMATCH':
      return 'make sync_token the same in seafile.conf of both hosts, and restart the daemon that was changed'
    case 'CLOCK_SKEW':
      return 'set the clocks of both hosts (NTP)'
    case 'PROTOCOL_VERSION':
      return 'install the same version of seaf-backup on both hosts'
    case 'PROTOCOL_BROKEN':
      return 'it is tried again; if it stays, something between the hosts changes the traffic: use https'
    case 'PRIMARY_FAILED':
      return 'it is tried again; look into the log of seaf-backup-primary'
    case 'PRIMARY_CHANGED':
    case 'HEAD_CONFLICT':
    case 'STOPPING':
      return 'nothing: it is tried again'
    case 'STORE_FULL':
      return 'make room on the disk of the backup; syncing goes on by itself'
    case 'STORE_READ_ONLY':
      return 'mount the disk of the backup for writing; syncing goes on by itself'
    case 'STORE_IO':
      return 'look into the kernel log of the backup: its disk fails'
    case 'DATABASE_DOWN':
    case 'DATABASE_REFUSED':
    case 'DATABASE_SCHEMA':
      return 'check the database of the backup and [database] in its seafile.conf'
    case 'DUMP_FAILED':
      return 'mend on the primary what the message names; it is tried again by itself, or at once: seaf-backup-cmd dumps now'
    case 'DUMP_DAMAGED':
      return 'look into the kernel log of the backup, and take another one: seaf-backup-cmd dumps now'
    case 'RESTORE_FAILED':
      return 'mend what the message names, and run the same command again: what is there already is used'
    case 'DUMP_UNKNOWN':
      return 'list what is kept: seaf-backup-cmd dumps'
    case 'TARGET_EXISTS':
      return 'name another place, or say --force to write over it'
    case 'LIBRARY_UNKNOWN':
      return 'list what is known: seaf-backup-cmd status --verbose'
    case 'PATH_UNKNOWN':
      return 'see what is there: seaf-backup-cmd ls <library id> <path>'
    case 'LIBRARY_AMBIGUOUS':
      return 'give more characters of the id'
    case 'CONFIG_INVALID':
    case 'DIRECTORY_UNUSABLE':
    case 'ALREADY_RUNNING':
    case 'LISTEN_FAILED':
    case 'STATE_UNUSABLE':
    case 'BAD_REQUEST':
      return 'correct what the message names and try again'
    case 'INTERNAL':
      return 'this is a defect: please report it with the log of seaf-backup-server'
  }
}
