/**
 * The errors an operator can meet, and what the daemon does about each.
 *
 * A code is public: it appears in logs, in `status --json` and in the runbook
 * (docs/OPERATIONS.md), so it is never renamed. The disposition is decided in
 * this table alone; no caller reads a message to find out whether to retry.
 */

/**
 * `retry`: heals by itself, tried again with backoff. `operator`: the library
 * stays failed until somebody acts or the primary changes. `fatal`: the process
 * cannot go on and exits with 2. `usage`: the request was wrong, nothing was tried.
 */
export type Disposition = 'retry' | 'operator' | 'fatal' | 'usage'

const DISPOSITIONS = {
  /** seafile.conf is missing, unreadable or has errors. */
  CONFIG_INVALID: 'fatal',
  /** A directory that the process needs cannot be created, read or written. */
  DIRECTORY_UNUSABLE: 'fatal',
  /** Another process of the same role holds the state directory. */
  ALREADY_RUNNING: 'fatal',
  /** The address to listen on is taken or not ours. */
  LISTEN_FAILED: 'fatal',
  /** The state database is of a newer version or damaged. */
  STATE_UNUSABLE: 'fatal',
  /** The database does not answer. */
  DATABASE_DOWN: 'retry',
  /** The database refuses the account. */
  DATABASE_REFUSED: 'retry',
  /** A table or column that is needed is not there. */
  DATABASE_SCHEMA: 'retry',
  /** The other side does not answer, or broke off. */
  PRIMARY_UNREACHABLE: 'retry',
  BACKUP_UNREACHABLE: 'retry',
  /** The other side refused our token, or could not prove that it has the same one. */
  TOKEN_MISMATCH: 'retry',
  /** The two clocks are too far apart for requests to be trusted. */
  CLOCK_SKEW: 'retry',
  /** The other side speaks another version of the protocol. */
  PROTOCOL_VERSION: 'retry',
  /** The other side sent something that the protocol does not allow. */
  PROTOCOL_BROKEN: 'retry',
  /** The other side reported a failure of its own. */
  PRIMARY_FAILED: 'retry',
  /** seaf-gc ran on the primary while its objects were being read. */
  PRIMARY_CHANGED: 'retry',
  /** Our head row was moved by somebody else, or seaf-gc ran here, between pull and head move. */
  HEAD_CONFLICT: 'retry',
  /** Disk full, read-only or failing under the store or the state. */
  STORE_FULL: 'retry',
  STORE_READ_ONLY: 'retry',
  STORE_IO: 'retry',
  /** Objects that the library needs are absent, or not what their name says, on the primary. */
  OBJECT_MISSING: 'operator',
  OBJECT_CORRUPT: 'operator',
  /** The primary's head went back to an older commit. */
  HEAD_REWOUND: 'operator',
  /** The primary's head does not descend from ours. */
  HEAD_DIVERGED: 'operator',
  /** The primary lists the library but has no head for it. */
  HEAD_MISSING: 'operator',
  /** The primary does not have this library (any more). */
  LIBRARY_GONE: 'operator',
  /** Seafile's databases could not be dumped: the tool is missing, was refused, or ended with an error or a warning. */
  DUMP_FAILED: 'retry',
  /** The primary's binlog cannot be archived: it keeps none, or its account may not read it. */
  BINLOG_UNAVAILABLE: 'retry',
  /** A dump that is kept here, or the archive of the binlog, is not what was written. */
  DUMP_DAMAGED: 'operator',
  /** The archive of the primary's binlog is not what the server wrote. */
  BINLOG_DAMAGED: 'operator',
  /** The archive of the primary's binlog has what cannot be replayed exactly. */
  BINLOG_UNREPLAYABLE: 'operator',
  /** The command named no dump that is kept here. */
  DUMP_UNKNOWN: 'usage',
  /** This backup was promoted: it serves, and backs up nothing any more. */
  PROMOTED: 'operator',
  /** Something is not certain enough to be promoted without somebody's word. */
  PROMOTION_STOPPED: 'usage',
  /** A restore could not be brought to its end; nothing half restored is left under its name. */
  RESTORE_FAILED: 'operator',
  /** The command would have written over something. */
  TARGET_EXISTS: 'usage',
  /** The command named no library that is known, or more than one. */
  LIBRARY_UNKNOWN: 'usage',
  LIBRARY_AMBIGUOUS: 'usage',
  /** The command named no file or folder that a library had at that time. */
  PATH_UNKNOWN: 'usage',
  BAD_REQUEST: 'usage',
  /** The process is stopping. */
  STOPPING: 'retry',
  /** A defect in this program. */
  INTERNAL: 'retry',
} as const satisfies Record<string, Disposition>

export type ErrorCode = keyof typeof DISPOSITIONS

export class BackupError extends Error {
  override readonly name = 'BackupError'

  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly details: Readonly<Record<string, unknown>> = {},
    options: ErrorOptions = {},
  ) {
    super(message, options)
  }

  get disposition(): Disposition {
    return DISPOSITIONS[this.code]
  }
}

export const isErrorCode = (text: unknown): text is ErrorCode =>
  typeof text === 'string' && Object.hasOwn(DISPOSITIONS, text)

export const errorCodes = (): ErrorCode[] => Object.keys(DISPOSITIONS) as ErrorCode[]

export const isAbort = (error: unknown): boolean => error instanceof Error && error.name === 'AbortError'

/** `ENOENT` and the like, from Node's file and network calls; undefined for anything else. */
export const systemCode = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined

/** What was thrown, as text for a person: one line, causes included, no stack. */
export function reason(error: unknown): string {
  const parts: string[] = []
  for (
    let e: unknown = error;
    e !== undefined && e !== null && parts.length < 4;
    e = (e as { cause?: unknown }).cause
  ) {
    const text = (e instanceof Error ? e.message || systemCode(e) || e.name : String(e)).split('\n', 1)[0] ?? ''
    if (text && !parts.some(p => p.includes(text))) parts.push(text)
  }
  return parts.join(': ')
}

/** Anything thrown, as a `BackupError`; what has no code yet gets `code`. */
export function asBackupError(error: unknown, code: ErrorCode = 'INTERNAL'): BackupError {
  return error instanceof BackupError ? error : new BackupError(code, reason(error), {}, { cause: error })
}
