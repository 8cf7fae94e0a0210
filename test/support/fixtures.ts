/** Data that a real Seafile server wrote, beside the project; tests that need it skip by name where it is absent. */

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { DatabaseConfig } from '../../src/shared/catalog/database-config.js'

const run = promisify(execFile)
export const SHARED_DIR = fileURLToPath(new URL('../../../../shared/', import.meta.url)) // from dist/test/support

export type FixtureName = 'sqlite-small' | 'mysql-small' | 'timeline-sqlite'

/** For tap's `skip`: false, or why. */
export function fixturesMissing(): string | false {
  return existsSync(`${SHARED_DIR}fixtures`) ? false : 'the fixtures of a real server (../shared/fixtures) are not here'
}

export async function extractFixture(name: FixtureName, into: string): Promise<void> {
  await run('tar', ['--zstd', '-xf', `${SHARED_DIR}fixtures/${name}.tar.zst`, '-C', into, '--strip-components=1'])
}

export interface ExpectedLibrary {
  readonly id: string
  readonly kind: string | null
  readonly head: string
  readonly corrupt: 'head' | 'history' | null
  readonly commits_kept: number
  readonly head_state: { readonly damaged_paths: readonly string[] }
  readonly kept_history: { readonly damaged_paths: readonly string[] }
  readonly [figure: string]: unknown
}

export interface Expected {
  readonly as_of: number
  readonly libraries: readonly ExpectedLibrary[]
}

export async function expectedOf(name: FixtureName): Promise<Expected> {
  return JSON.parse(await readFile(`${SHARED_DIR}fixtures/${name}.expected.json`, 'utf8')) as Expected
}

/** What an independent reader (python, none of our code) finds in a data directory and its database. */
export async function referenceCheck(dataDir: string, database: DatabaseConfig, asOf?: number): Promise<Expected> {
  const db =
    database.type === 'sqlite' ? `sqlite:${database.path}` : `mysql:${database.dbName}:${String(database.unixSocket)}`
  const now = asOf === undefined ? [] : ['--now', String(asOf)]
  const { stdout } = await run('python3', [`${SHARED_DIR}tools/reference-check.py`, dataDir, db, ...now], {
    maxBuffer: 1e9,
  })
  return JSON.parse(stdout) as Expected
}
