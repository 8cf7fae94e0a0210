/** A primary of our own in a temp directory, what a reader sees in it, and the data that a real server wrote. */

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { inflateSync } from 'node:zlib'
import { openCatalog } from '../../../src/shared/catalog/open-catalog.js'
import { silentLog } from '../../../src/shared/log.js'
import { LibraryWriter } from '../../../src/shared/seafile/library-writer.js'
import { parseCommit, parseFs } from '../../../src/shared/seafile/objects.js'
import type { CatalogWriter } from '../../../src/shared/catalog/catalog.js'
import type { CommitId, RepoId } from '../../../src/shared/ids.js'
import type { LibraryWriterParts } from '../../../src/shared/seafile/library-writer.js'
import type { Commit, FsObject } from '../../../src/shared/seafile/objects.js'

const run = promisify(execFile)
const SHARED = resolve('..', 'shared')
export const REFERENCE_CHECK = join(SHARED, 'tools', 'reference-check.py')
export const FIXTURES = join(SHARED, 'fixtures')

/** For `{ skip }` of a test: false, or why it cannot run. */
export const without = (path: string): string | false => (existsSync(path) ? false : `${path} is not here`)

export interface Checked {
  readonly id: RepoId
  readonly name: string
  readonly head: CommitId
  readonly corrupt: string | null
  readonly commits_reachable: number
  readonly commits_kept: number
  readonly merge_commits: number
  readonly commit_id_algorithm: { c: number; go: number; neither: string[] }
  readonly head_state: { files: number; logical_bytes: number; damaged_paths: string[] }
  readonly kept_history: { missing_or_damaged_fs: string[]; missing_or_damaged_blocks: string[] }
  readonly on_disk: { commits: number; fs: number; blocks: number }
  readonly db: { size: number | null; file_count: number | null }
  readonly virtual: { origin_repo: string; path: string; base_commit: string } | null
  readonly encrypted: boolean
}

/** What the independent reader makes of a data directory. */
export async function referenceCheck(dataDir: string): Promise<Checked[]> {
  const args = [REFERENCE_CHECK, dataDir, `sqlite:${join(dataDir, 'seafile.db')}`]
  const { stdout } = await run('python3', args, { maxBuffer: 64 * 1024 * 1024 })
  return (JSON.parse(stdout) as { libraries: Checked[] }).libraries
}

export class Primary implements AsyncDisposable {
  private constructor(
    readonly dataDir: string,
    readonly catalog: CatalogWriter,
    readonly writer: LibraryWriter,
  ) {}

  static async make(parts: Partial<LibraryWriterParts> = {}): Promise<Primary> {
    const dataDir = await mkdtemp(join(tmpdir(), 'library-writer-'))
    const catalog = await openCatalog({ type: 'sqlite', path: join(dataDir, 'seafile.db') }, silentLog, {
      create: true,
    })
    return new Primary(dataDir, catalog, new LibraryWriter({ dataDir, catalog, ...parts }))
  }

  async head(repo: RepoId): Promise<CommitId> {
    return (await this.rows(repo)).head as CommitId
  }

  async rows(repo: RepoId) {
    const read = await this.catalog.read(repo, new AbortController().signal)
    if (!read) throw new Error(`no library ${repo}`)
    return read.rows
  }

  async commit(repo: RepoId, id?: CommitId): Promise<Commit> {
    const commit = id ?? (await this.head(repo))
    return parseCommit(commit, await this.#read('commits', repo, commit))
  }

  async commitText(repo: RepoId, id: CommitId): Promise<string> {
    return (await this.#read('commits', repo, id)).toString('utf8')
  }

  async fs(storeId: RepoId, id: string): Promise<FsObject> {
    return parseFs(inflateSync(await this.#read('fs', storeId, id)))
  }

  block(storeId: RepoId, id: string): Promise<Buffer> {
    return this.#read('blocks', storeId, id)
  }

  /** Files of a commit's tree, path to what its blocks hold; directories that are empty end in a slash. */
  async tree(repo: RepoId, id?: CommitId): Promise<Record<string, string>> {
    const { virtual } = await this.rows(repo)
    const found: Record<string, string> = {}
    const storeId = virtual?.originRepo ?? repo
    const walk = async (dir: string, path: string): Promise<void> => {
      if (/^0+$/.test(dir)) return void (path && (found[`${path}/`] = ''))
      const object = await this.fs(storeId, dir)
      for (const entry of object.type === 'dir' ? object.entries : []) {
        if (entry.mode === 0o040000) await walk(entry.id, `${path}/${entry.name}`)
        else found[`${path}/${entry.name}`] = await this.#content(storeId, entry.id)
      }
    }
    await walk((await this.commit(repo, id)).rootId, '')
    return found
  }

  async *objectFiles(): AsyncGenerator<string> {
    for (const entry of await readdir(this.dataDir, { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) yield join(entry.parentPath, entry.name)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.catalog[Symbol.asyncDispose]()
    await rm(this.dataDir, { recursive: true, force: true })
  }

  async #content(storeId: RepoId, id: string): Promise<string> {
    if (/^0+$/.test(id)) return ''
    const file = await this.fs(storeId, id)
    const blocks = file.type === 'file' ? file.blocks : []
    return Buffer.concat(await Promise.all(blocks.map(block => this.block(storeId, block)))).toString('utf8')
  }

  #read(kind: string, storeId: string, id: string): Promise<Buffer> {
    return readFile(join(this.dataDir, 'storage', kind, storeId, id.slice(0, 2), id.slice(2)))
  }
}

export const put = (path: string, content: string | Uint8Array = path) =>
  ({ op: 'put', path, content: Buffer.from(content) }) as const

export const remove = (path: string) => ({ op: 'remove', path }) as const
