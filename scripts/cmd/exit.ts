/** What the shell sees. Numbers are public: monitoring keys on them. */

import { BackupError } from '../../src/shared/errors.js'

export const EXIT = {
  ok: 0,
  /** The command did not do what was asked. */
  failed: 1,
  /** It was asked wrongly; nothing was attempted. */
  usage: 2,
  /** `status`: the daemon answers, but some library is failed or behind, or the primary is not to be had. */
  behind: 3,
  /** Nobody answers on the control socket. */
  noDaemon: 4,
  interrupted: 130,
} as const

export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

/** Nobody listens on the control socket. No code of its own: no daemon ever reports it. */
export class NoDaemon extends Error {
  override readonly name = 'NoDaemon'

  constructor(
    readonly socketPath: string,
    options: ErrorOptions,
  ) {
    super(`no backup daemon answers on ${socketPath}`, options)
  }
}

/** What an administrator who has typed Ctrl-C must know: whether it goes on, and what is left as it is. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted'
}

export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof NoDaemon) return EXIT.noDaemon
  if (error instanceof BackupError && (error.disposition === 'usage' || error.code === 'CONFIG_INVALID')) {
    return EXIT.usage
  }
  return EXIT.failed
}
