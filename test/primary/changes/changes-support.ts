/** What the tests of the change sources share: a sink that remembers, and libraries made of bare rows. */

import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createConnection } from 'mysql2/promise'
import { parseCommitId, parseRepoId } from '../../../src/shared/ids.js'
import { MYSQL_SCHEMA } from '../../../src/shared/catalog/schema.js'
import { openCatalogReader } from '../../../src/shared/catalog/open-catalog.js'
import { silentLog } from '../../../src/shared/log.js'
import { mysqlConfig } from '../../support/sides.js'
import { startMariadb } from '../../support/mariadb.js'
import type { Connection } from 'mysql2/promise'
import type { CatalogReader } from '../../../src/shared/catalog/catalog.js'
import type { CommitId, RepoId } from '../../../src/shared/ids.js'
import type { ChangeHint, ChangeSink } from '../../../src/primary/changes/change-source.js'
import type { MysqlConfig } from '../../../src/shared/catalog/database-config.js'
import type { Mariadb } from '../../support/mariadb.js'

/** Longer than anything here takes on a busy machine: only a fault waits so long. */
const PATIENCE_MS = 20_000

export const newRepo = (): RepoId => parseRepoId(randomUUID())
export const newCommit = (): CommitId => parseCommitId(randomBytes(20).toString('hex'))

export class RecordingSink implements ChangeSink {
  hints: ChangeHint[] = []
  everything = 0
  positions: string[] = []
  why: string | null = null
  readonly reasons: string[] = []
  readonly #waiting = new Set<() => void>()

  changed(hint: ChangeHint): void {
    this.hints.push(hint)
    this.#wake()
  }

  allMayHaveChanged(): void {
    this.everything += 1
    this.#wake()
  }

  position(text: string): void {
    this.positions.push(text)
    this.#wake()
  }

  degraded(why: string): void {
    this.why = why
    this.reasons.push(why)
    this.#wake()
  }

  restored(): void {
    this.why = null
    this.#wake()
  }

  /** The newest head that was hinted; undefined: no hint. */
  headOf(repo: RepoId): CommitId | null | undefined {
    return this.hints.findLast(hint => hint.repo === repo)?.head
  }

  forget(): void {
    this.hints = []
    this.everything = 0
    this.positions = []
  }

  /** Resolves once `holds`; rejects with `what` when it does not come true. */
  async until(what: string, holds: () => boolean): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(look)
        reject(new Error(`waited in vain: ${what}; the source says: ${this.why ?? 'all is well'}`))
      }, PATIENCE_MS)
      const look = () => {
        if (!holds()) return
        clearTimeout(timer)
        this.#waiting.delete(look)
        resolve()
      }
      this.#waiting.add(look)
      look()
    })
  }

  #wake(): void {
    for (const look of [...this.#waiting]) look()
  }
}

export async function temporaryDirectory(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'sbc-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

/** A MariaDB with Seafile's tables, a reader as the agent has it, and a writer as the server is. */
export class SeafileMariadb implements AsyncDisposable {
  private constructor(
    readonly server: Mariadb,
    readonly config: MysqlConfig,
    readonly reader: CatalogReader,
  ) {}

  static async start(...args: string[]): Promise<SeafileMariadb> {
    const server = await startMariadb(args.length > 0 ? { args } : {})
    await server.query('CREATE DATABASE seafile_db')
    await server.query(MYSQL_SCHEMA.join(';'), 'seafile_db')
    const config = mysqlConfig(server) as MysqlConfig
    return new SeafileMariadb(server, config, await openCatalogReader(config, silentLog))
  }

  async connect(): Promise<Connection> {
    return createConnection({ socketPath: this.server.socket, user: 'root', database: 'seafile_db' })
  }

  async sql(...statements: string[]): Promise<void> {
    await this.server.query(statements.join(';'), 'seafile_db')
  }

  async addLibrary(head = newCommit()): Promise<RepoId> {
    const repo = newRepo()
    await this.sql(
      `INSERT INTO Branch (name, repo_id, commit_id) VALUES ('master', '${repo}', '${head}')`,
      `INSERT INTO Repo (repo_id) VALUES ('${repo}')`,
    )
    return repo
  }

  async moveHead(repo: RepoId): Promise<CommitId> {
    const head = newCommit()
    await this.sql(`UPDATE Branch SET commit_id = '${head}' WHERE name = 'master' AND repo_id = '${repo}'`)
    return head
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.reader[Symbol.asyncDispose]()
    await this.server[Symbol.asyncDispose]()
  }
}
