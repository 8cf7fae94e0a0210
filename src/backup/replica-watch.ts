/**
 * How MySQL's own replica of the primary does (`replica_url`): it is asked now and then, and what it says is shown.
 * Nothing here depends on it.
 */

import { isAbort, reason, systemCode } from '../shared/errors.js'
import { startLoop } from '../shared/lifecycle.js'
import { sleep } from '../shared/timing.js'
import { printable } from '../shared/wire/frames.js'
import type { Log } from '../shared/log.js'
import type { ReplicaAccess } from '../shared/replica-url.js'
import type { ReplicaStatus } from '../shared/wire/control-messages.js'

const LOOK_MS = 10_000
const ANSWER_MS_MAX = 10_000
const PROBLEM_LENGTH_MAX = 400

/** MariaDB's of every connection, MySQL's, and that of servers before 8.0.22 and 10.5. */
const QUESTIONS = ['SHOW ALL SLAVES STATUS', 'SHOW REPLICA STATUS', 'SHOW SLAVE STATUS']

type Row = Readonly<Record<string, unknown>>

export interface ReplicaWatchOptions {
  readonly replica: ReplicaAccess
  readonly log: Log
  readonly onDeath: (error: unknown) => void
  /** Default: 10 s. */
  readonly lookMs?: number
}

export class ReplicaWatch implements AsyncDisposable {
  readonly #options: ReplicaWatchOptions
  readonly #loop: AsyncDisposable
  #seen: { readonly behindSeconds: number | null; readonly problem: string | null } | undefined
  /** performance.now() since which there is a problem. */
  #since: number | undefined

  constructor(options: ReplicaWatchOptions) {
    this.#options = options
    this.#loop = startLoop(signal => this.#run(signal), options.onDeath)
  }

  status(): ReplicaStatus {
    const { problem = null, behindSeconds = null } = this.#seen ?? {}
    return {
      url: this.#options.replica.shown,
      asked: this.#seen !== undefined,
      behindSeconds,
      problem,
      problemForMs: this.#since === undefined ? null : Math.round(performance.now() - this.#since),
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#loop[Symbol.asyncDispose]()
  }

  async #run(signal: AbortSignal): Promise<void> {
    for (;;) {
      const seen = await look(this.#options.replica)
      signal.throwIfAborted()
      if (seen.problem !== null && seen.problem !== (this.#seen?.problem ?? null)) {
        this.#options.log.warn(
          { replica: this.#options.replica.shown, reason: seen.problem },
          'the replica is not well',
        )
      }
      this.#since = seen.problem === null ? undefined : (this.#since ?? performance.now())
      this.#seen = seen
      await sleep(this.#options.lookMs ?? LOOK_MS, signal)
    }
  }
}

async function look(replica: ReplicaAccess): Promise<{ behindSeconds: number | null; problem: string | null }> {
  try {
    return judge(await ask(replica))
  } catch (error) {
    if (isAbort(error)) throw error
    return { behindSeconds: null, problem: said(`it cannot be asked: ${reason(error)}`) }
  }
}

async function ask({ host, port, unixSocket, user, password }: ReplicaAccess): Promise<readonly Row[]> {
  const { createConnection } = await import('mysql2/promise') // few name a replica
  const connection = await createConnection({
    ...(unixSocket === undefined ? { host, port } : { socketPath: unixSocket }),
    user,
    password,
    connectTimeout: ANSWER_MS_MAX,
  })
  connection.on('error', () => {}) // the next query tells
  try {
    let refusal: unknown
    for (const sql of QUESTIONS) {
      try {
        const [rows] = await connection.query({ sql, timeout: ANSWER_MS_MAX })
        return rows as Row[]
      } catch (error) {
        if (systemCode(error) !== 'ER_PARSE_ERROR') throw error
        refusal = error
      }
    }
    throw refusal
  } finally {
    connection.destroy()
  }
}

/** MySQL and MariaDB call the same things by two names each. */
function judge(rows: readonly Row[]): { behindSeconds: number | null; problem: string | null } {
  if (rows.length === 0) return { behindSeconds: null, problem: 'it is no replica: the server replicates from nobody' }
  const problems = rows.flatMap(row => problemOf(row) ?? [])
  const behind = rows.map(row => of(row, 'Seconds_Behind_Master', 'Seconds_Behind_Source'))
  const known = behind.filter(one => one !== null && one !== undefined).map(Number)
  return {
    behindSeconds: known.length === rows.length && known.every(Number.isFinite) ? Math.max(0, ...known) : null,
    problem: problems.length > 0 ? said(problems.join('; ')) : null,
  }
}

function problemOf(row: Row): string | undefined {
  const receives = String(of(row, 'Slave_IO_Running', 'Replica_IO_Running'))
  const applies = String(of(row, 'Slave_SQL_Running', 'Replica_SQL_Running'))
  const stopped = [
    ...(receives === 'Yes' ? [] : [`it receives nothing (${receives}) ${String(row['Last_IO_Error'] ?? '')}`.trim()]),
    ...(applies === 'Yes' ? [] : [`it applies nothing (${applies}) ${String(row['Last_SQL_Error'] ?? '')}`.trim()]),
  ]
  return stopped.length > 0 ? stopped.join(', ') : undefined
}

const of = (row: Row, ...names: readonly string[]): unknown =>
  names.map(name => row[name]).find(value => value !== undefined)

const said = (why: string): string => printable(why).slice(0, PROBLEM_LENGTH_MAX)
