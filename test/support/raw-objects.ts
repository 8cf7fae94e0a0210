/** Object files read with nothing but JSON and zlib: what a test believes about them comes from here, not from the product. */

import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inflateSync } from 'node:zlib'

export type Kind = 'commits' | 'fs' | 'blocks'

export const NO_OBJECT = '0'.repeat(40)

export interface RawCommit {
  readonly commit_id: string
  readonly root_id: string
  readonly parent_id: string | null
  readonly second_parent_id: string | null
  readonly ctime: number
}

interface RawFs {
  readonly type: 1 | 3
  readonly dirents?: ReadonlyArray<{ readonly id: string; readonly name: string; readonly mode: number }>
  readonly block_ids?: readonly string[]
}

export class RawObjects {
  constructor(readonly dataDir: string) {}

  path(kind: Kind, storeId: string, id: string): string {
    return join(this.dataDir, 'storage', kind, storeId, id.slice(0, 2), id.slice(2))
  }

  has(kind: Kind, storeId: string, id: string): boolean {
    return existsSync(this.path(kind, storeId, id))
  }

  /** Gives back how to put it there again. */
  remove(kind: Kind, storeId: string, id: string): () => void {
    const path = this.path(kind, storeId, id)
    const bytes = readFileSync(path)
    rmSync(path)
    return () => writeFileSync(path, bytes)
  }

  bytes(kind: Kind, storeId: string, id: string): Buffer {
    return readFileSync(this.path(kind, storeId, id))
  }

  commit(repo: string, id: string): RawCommit {
    return JSON.parse(readFileSync(this.path('commits', repo, id), 'utf8')) as RawCommit
  }

  fs(storeId: string, id: string): RawFs {
    return JSON.parse(inflateSync(readFileSync(this.path('fs', storeId, id))).toString('utf8')) as RawFs
  }

  list(kind: Kind, storeId: string): string[] {
    const dir = join(this.dataDir, 'storage', kind, storeId)
    if (!existsSync(dir)) return []
    return readdirSync(dir).flatMap(prefix => readdirSync(join(dir, prefix)).map(rest => prefix + rest))
  }

  /** As the server walks a history: newest first, one more commit beyond the limit on each branch. Cycles end. */
  keptCommits(repo: string, head: string, truncateTime: number): RawCommit[] {
    const kept = new Map<string, RawCommit>()
    const waiting = [head]
    for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
      if (kept.has(id)) continue
      const commit = this.commit(repo, id)
      kept.set(id, commit)
      const isLast = truncateTime === 0 || (truncateTime > 0 && commit.ctime < truncateTime && id !== head)
      if (isLast) continue
      for (const parent of [commit.parent_id, commit.second_parent_id]) if (parent) waiting.push(parent)
    }
    return [...kept.values()]
  }

  /** Ids of everything below a directory, by path: `/` is the root; a block has the path of its file. */
  tree(storeId: string, root: string): Map<string, { readonly kind: 'fs' | 'blocks'; readonly path: string }> {
    const found = new Map<string, { kind: 'fs' | 'blocks'; path: string }>()
    const waiting = [{ id: root, path: '/' }]
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      const { id, path } = next
      if (id === NO_OBJECT || found.has(id)) continue
      found.set(id, { kind: 'fs', path })
      const fs = this.fs(storeId, id)
      for (const block of fs.block_ids ?? []) if (!found.has(block)) found.set(block, { kind: 'blocks', path })
      for (const entry of fs.dirents ?? []) {
        const isDirectory = (entry.mode & 0o170000) === 0o040000
        waiting.push({ id: entry.id, path: `${path}${entry.name}${isDirectory ? '/' : ''}` })
      }
    }
    return found
  }
}
