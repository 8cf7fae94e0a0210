/** The two engines of the conformance suite: each makes empty databases and runs bare SQL, past our own code. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openCatalog, openCatalogReader } from '../../../src/shared/catalog/open-catalog.js'
import { silentLog } from '../../../src/shared/log.js'
import { extractFixture } from '../../support/fixtures.js'
import { mysqlConfig } from '../../support/sides.js'
import { sqlOn } from '../../support/sql.js'
import { newCommit, newRepo } from '../../primary/changes/changes-support.js'
import type { CatalogReader, CatalogWriter, LibraryRows } from '../../../src/shared/catalog/catalog.js'
import type { DatabaseConfig } from '../../../src/shared/catalog/database-config.js'
import type { CommitId } from '../../../src/shared/ids.js'
import type { FixtureName } from '../../support/fixtures.js'
import type { Mariadb } from '../../support/mariadb.js'
import type { Cell } from '../../support/sql.js'

export type Headed = LibraryRows & { readonly head: CommitId }

/** One database, and a way to it that knows nothing of catalogs. */
export interface Bed extends AsyncDisposable {
  readonly config: DatabaseConfig
  sql(...statements: string[]): Promise<void>
  select(statement: string): Promise<Cell[][]>
}

export interface Engine {
  readonly name: 'SQLite' | 'MySQL'
  readonly fixture: FixtureName
  /** A statement that makes every write of this kind to the table fail. */
  forbid(verb: 'INSERT' | 'UPDATE' | 'DELETE', table: string): string
  /** A database without tables. */
  empty(): Promise<Bed>
  /** The database that a real server wrote. */
  real(): Promise<Bed>
}

export const signal = new AbortController().signal

/** A library that has a row in every table but VirtualRepo. */
export function library(over: Partial<Headed> = {}): Headed {
  const head = over.head ?? newCommit()
  return {
    repo: newRepo(),
    head,
    branchName: 'master',
    virtual: null,
    owner: 'jo@example.com',
    info: {
      name: 'Papers',
      updateTime: 1_700_000_000,
      version: 1,
      isEncrypted: 0,
      lastModifier: 'jo@example.com',
      status: 0,
      type: null,
    },
    size: { bytes: 123_456_789_012, head },
    fileCount: 42,
    historyLimitDays: 30,
    validSince: 1_690_000_000,
    ...over,
  }
}

/** A writer on a database with Seafile's tables. */
export interface Opened extends AsyncDisposable {
  readonly bed: Bed
  readonly catalog: CatalogWriter
  readonly reader: CatalogReader
}

/** `more`: statements that change the tables before they are opened. */
export async function openFresh(engine: Engine, ...more: string[]): Promise<Opened> {
  const bed = await engine.empty()
  if (more.length > 0) {
    const maker = await openCatalog(bed.config, silentLog, { create: true })
    await maker[Symbol.asyncDispose]()
    await bed.sql(...more)
  }
  const catalog = await openCatalog(bed.config, silentLog, { create: true })
  const reader = await openCatalogReader(bed.config, silentLog)
  return {
    bed,
    catalog,
    reader,
    async [Symbol.asyncDispose]() {
      await catalog[Symbol.asyncDispose]()
      await reader[Symbol.asyncDispose]()
      await bed[Symbol.asyncDispose]()
    },
  }
}

const ALL_TABLES =
  'Branch Repo RepoHead VirtualRepo RepoOwner RepoInfo RepoSize RepoFileCount RepoHistoryLimit RepoValidSince'.split(
    ' ',
  )

/** Every row of every table of a library, as the engine has it: equal before and after means that nothing was written. */
export async function everyRow(bed: Bed): Promise<Record<string, Cell[][]>> {
  const rows: Record<string, Cell[][]> = {}
  for (const table of ALL_TABLES) rows[table] = await bed.select(`SELECT * FROM ${table} ORDER BY repo_id`)
  return rows
}

export const sqliteEngine: Engine = {
  name: 'SQLite',
  fixture: 'sqlite-small',
  forbid: (verb, table) =>
    `CREATE TRIGGER forbidden BEFORE ${verb} ON ${table} BEGIN SELECT RAISE(ABORT, 'forbidden'); END`,
  async empty() {
    const dir = await mkdtemp(join(tmpdir(), 'sbk-'))
    return sqliteBed(dir, join(dir, 'seafile.db'))
  },
  async real() {
    const dir = await mkdtemp(join(tmpdir(), 'sbk-'))
    await extractFixture('sqlite-small', dir)
    return sqliteBed(dir, join(dir, 'seafile-data', 'seafile.db'))
  },
}

function sqliteBed(dir: string, path: string): Bed {
  return bedOn({ type: 'sqlite', path }, () => rm(dir, { recursive: true, force: true }))
}

function bedOn(config: DatabaseConfig, drop: () => Promise<void>): Bed {
  const { run, select } = sqlOn(config)
  return { config, sql: run, select, [Symbol.asyncDispose]: drop }
}

let databases = 0

export function mysqlEngine(server: () => Mariadb): Engine {
  const bed = (dbName: string): Bed =>
    bedOn(mysqlConfig(server(), dbName), async () => void (await server().query(`DROP DATABASE \`${dbName}\``)))
  return {
    name: 'MySQL',
    fixture: 'mysql-small',
    forbid: (verb, table) =>
      `CREATE TRIGGER forbidden BEFORE ${verb} ON ${table} FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'forbidden'`,
    async empty() {
      const name = `seafile_${++databases}`
      await server().query(`CREATE DATABASE ${name}`)
      return bed(name)
    },
    async real() {
      const dir = await mkdtemp(join(tmpdir(), 'sbk-'))
      await extractFixture('mysql-small', dir)
      await server().loadFile(join(dir, 'seafile_db.sql'), 'seafile_db')
      await rm(dir, { recursive: true, force: true })
      return bed('seafile_db')
    },
  }
}
