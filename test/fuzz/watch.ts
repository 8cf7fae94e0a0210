/** What two daemons must show while somebody talks nonsense to them: the same processes, no growth, no failure without a code. */

import { readdirSync } from 'node:fs'
import { isErrorCode } from '../../src/shared/errors.js'
import { residentMb } from '../support/hostile-sockets.js'
import type { LogLine } from '../../scripts/local/daemon-process.js'
import type { Pair } from '../support/pair.js'

const ROLES = ['primary', 'backup'] as const
type Role = (typeof ROLES)[number]

/** pino's number of it. */
const ERROR_LEVEL = 50
const LOOK_EVERY_MS = 500
/** Of either daemon, at any moment: far above what one needs, far below what a machine has. */
const RSS_MB_MAX = 700
/** Grown by less from the middle of the run to its end is no growth. */
const RSS_GROWTH_MB = 60
const FILES_GROWTH = 25

export interface Row {
  readonly rss: Readonly<Record<Role, number>>
  readonly files: Readonly<Record<Role, number>>
}

export class Watch implements Disposable {
  readonly problems: string[] = []
  readonly rows: Row[] = []
  logLines = 0
  readonly #pids: Readonly<Record<Role, number>>
  readonly #timer: NodeJS.Timeout
  #most = { primary: 0, backup: 0 }

  constructor(private readonly pair: Pair) {
    this.#pids = { primary: pair.primary.process?.pid ?? -1, backup: pair.backup.process?.pid ?? -1 }
    this.#timer = setInterval(() => this.look(), LOOK_EVERY_MS)
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  /** Memory now, and what was logged since the last look; lines that were looked at are let go. */
  look(): void {
    for (const role of ROLES) {
      const daemon = this.pair[role].process
      if (!daemon?.running || daemon.pid !== this.#pids[role]) {
        this.#found(`${role}: the process that was started does not run any more: ${daemon?.text().slice(-2_000)}`)
        continue
      }
      this.#most[role] = Math.max(this.#most[role], residentMb(daemon.pid))
      const lines = daemon.log.splice(0)
      this.logLines += lines.length
      for (const line of lines)
        if (!isCoded(line)) this.#found(`${role} logged ${JSON.stringify(line).slice(0, 1_500)}`)
      for (const said of daemon.said.splice(0)) this.#found(`${role} said ${said.slice(0, 500)}`)
    }
  }

  /** To be called when all is quiet: a row for the table. */
  row(): Row {
    this.look()
    const files = (role: Role) => readdirSync(`/proc/${this.#pids[role]}/fd`).length
    const row = { rss: this.#most, files: { primary: files('primary'), backup: files('backup') } }
    this.#most = { primary: 0, backup: 0 }
    this.rows.push(row)
    for (const role of ROLES)
      if (row.rss[role] > RSS_MB_MAX) this.#found(`${role} had ${row.rss[role].toFixed(0)} MB, more than ${RSS_MB_MAX}`)
    return row
  }

  #found(problem: string): void {
    if (this.problems.length < 40 && !this.problems.includes(problem)) this.problems.push(problem)
  }
}

/** An error needs a code; INTERNAL is a defect at any level. */
export function isCoded(line: LogLine): boolean {
  const code = line['code'] ?? (line['err'] as { code?: unknown } | undefined)?.code
  if (code === 'INTERNAL') return false
  return !(Number(line['level']) >= ERROR_LEVEL) || isErrorCode(code)
}

/** What is higher at the end than in the middle: until then caches fill and code is compiled. */
export function growthIn(rows: readonly Row[]): string[] {
  const [first, middle, last] = [rows[0], rows[rows.length >> 1], rows.at(-1)]
  if (!first || !middle || !last || rows.length < 4) return []
  return ROLES.flatMap(role => {
    const [rss, files] = [last.rss[role] - middle.rss[role], last.files[role] - first.files[role]]
    return [
      ...(rss > RSS_GROWTH_MB ? [`${role} grew by ${rss.toFixed(0)} MB in the second half`] : []),
      ...(files > FILES_GROWTH ? [`${role} has ${files} more open files than after the first stretch`] : []),
    ]
  })
}
