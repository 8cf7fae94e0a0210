/** Objects made for a test, verified as the real ones are, and a temp directory to keep them in. */

import { hash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EMPTY_ID, parseBlockId, parseCommitId, parseFsId, parseRepoId } from '../../src/shared/ids.js'
import { deflateFs, encodeFs } from '../../src/shared/seafile/encode.js'
import { verify } from '../../src/shared/store/verify.js'
import type { CommitId } from '../../src/shared/ids.js'
import type { Dirent, FsObject } from '../../src/shared/seafile/objects.js'
import type { ObjectReader, ObjectRef } from '../../src/shared/store/object-store.js'
import type { VerifiedObject } from '../../src/shared/store/verify.js'

export const REPO = parseRepoId('0b1ec700-0000-4000-8000-000000000001')

/** An id that nothing has, the same for the same text. */
export const idOf = (text: string): string => hash('sha1', text, 'hex')
export const commitIdOf = (text: string): CommitId => parseCommitId(idOf(text))

export function block(content: string | Buffer, storeId: string = REPO): VerifiedObject {
  const bytes = Buffer.from(content)
  return verify({ kind: 'blocks', storeId, id: hash('sha1', bytes, 'hex') }, bytes)
}

export function fs(object: FsObject, storeId: string = REPO): VerifiedObject {
  const { id, json } = encodeFs(object)
  return verify({ kind: 'fs', storeId, id }, deflateFs(json))
}

export const file = (...blocks: readonly string[]): VerifiedObject =>
  fs({ type: 'file', size: blocks.length, blocks: blocks.map(parseBlockId) })

export const FILE_MODE = 0o100644
export const DIR_MODE = 0o040000

export const entry = (name: string, id: string, mode = FILE_MODE): Dirent => ({
  name,
  id: parseFsId(id),
  mode,
  mtime: 0,
  modifier: '',
  size: 0,
})

/** Children by name: files and directories as they are, anything else as a directory entry. */
export const dir = (children: Readonly<Record<string, VerifiedObject>>): VerifiedObject =>
  fs({
    type: 'dir',
    entries: Object.entries(children).map(([name, child]) =>
      entry(name, child.ref.id, child.is === 'fs' && child.fs.type === 'dir' ? DIR_MODE : FILE_MODE),
    ),
  })

export interface CommitParts {
  readonly rootId?: string
  readonly parents?: readonly string[]
  readonly ctime?: number
}

/** Its id comes from `name`: the store takes a commit at its word. */
export function commit(name: string, { rootId = EMPTY_ID, parents = [], ctime = 0 }: CommitParts = {}): VerifiedObject {
  const id = commitIdOf(name)
  const json = {
    commit_id: id,
    repo_id: REPO,
    root_id: rootId,
    parent_id: parents[0] ?? null,
    second_parent_id: parents[1] ?? null,
    ctime,
  }
  return verify({ kind: 'commits', storeId: REPO, id }, Buffer.from(JSON.stringify(json)))
}

/** A store in memory, which counts what was read. */
export class MemoryReader implements ObjectReader {
  readonly #objects = new Map<string, VerifiedObject>()
  reads = 0

  constructor(...objects: readonly VerifiedObject[]) {
    for (const object of objects) this.#objects.set(object.ref.kind + object.ref.id, object)
  }

  read({ kind, id }: ObjectRef) {
    this.reads += 1
    const object = this.#objects.get(kind + id)
    return object ? { state: 'whole' as const, object } : { state: 'missing' as const }
  }
}

export class TempDir implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'seaf-backup-test-'));

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}
