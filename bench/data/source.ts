/** A Seafile server's data directory that was made for a measurement, with what is in it. */

import { readdirSync, statSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { openCatalog } from '../../src/shared/catalog/open-catalog.js'
import { silentLog } from '../../src/shared/log.js'
import { LibraryWriter } from '../../src/shared/seafile/library-writer.js'
import type { RepoId } from '../../src/shared/ids.js'
import type { Seeded } from './seeded.js'

export const OWNER = 'ada@example.com'
/** 2026-01-01, Unix ms: commits are dated from here on, an hour apart. */
const FIRST_COMMIT_AT = Date.UTC(2026, 0, 1)
const HOUR_MS = 3_600_000

export interface Source {
  /** seafile-data, with its `seafile.db`. */
  readonly dataDir: string
  readonly repos: readonly RepoId[]
  /** Commits, fs objects and blocks. */
  readonly objects: number
  readonly bytes: number
}

/** Lays out a data directory with SQLite and fills it through `fill`, which returns the libraries that it made. */
export async function makeSource(
  dir: string,
  seeded: Seeded,
  fill: (writer: LibraryWriter) => Promise<RepoId[]>,
): Promise<Source> {
  const dataDir = join(dir, 'seafile-data')
  for (const name of ['storage', 'tmpfiles']) await mkdir(join(dataDir, name), { recursive: true })
  await using catalog = await openCatalog({ type: 'sqlite', path: databasePath(dataDir) }, silentLog, { create: true })
  let now = FIRST_COMMIT_AT
  const writer = new LibraryWriter({
    dataDir,
    catalog,
    now: () => (now += HOUR_MS),
    random: count => seeded.bytes(count),
  })
  const repos = await fill(writer)
  return { dataDir, repos, ...filesBelow(join(dataDir, 'storage')) }
}

export const databasePath = (dataDir: string): string => join(dataDir, 'seafile.db')

/** What a copy is measured by. */
export function filesBelow(dir: string): { readonly objects: number; readonly bytes: number } {
  const files = readdirSync(dir, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
  const bytes = files.reduce((total, { parentPath, name }) => total + statSync(join(parentPath, name)).size, 0)
  return { objects: files.length, bytes }
}
