/** Everything that a head reaches, read and hashed; what was found whole is remembered until `forget`. */

import { hash } from 'node:crypto'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { inflateSync } from 'node:zlib'
import { NO_OBJECT, RawObjects } from '../support/raw-objects.js'
import type { Kind } from '../support/raw-objects.js'

export interface Owed {
  readonly repo: string
  readonly storeId: string
  readonly head: string
  /** Only the latest state is owed, not the history. */
  readonly headAlone: boolean
}

interface Fs {
  readonly dirents?: ReadonlyArray<{ readonly id: string }>
  readonly block_ids?: readonly string[]
}

export class ClosureCheck {
  readonly #objects: RawObjects
  /** Trees and blocks, as `storeId id`. */
  readonly #whole = new Set<string>()
  /** Commits with all their history, as `repo id`. */
  readonly #wholeHistory = new Set<string>()
  readonly #present = new Set<string>()

  constructor(dataDir: string) {
    this.#objects = new RawObjects(dataDir)
  }

  forget(): void {
    this.#whole.clear()
    this.#wholeHistory.clear()
    this.#present.clear()
  }

  /** A sentence for each file of the object tree, wanted by somebody or not, that is not what its name says. */
  *strangers(): Iterable<string> {
    for (const kind of ['commits', 'fs', 'blocks'] as const)
      for (const storeId of namesIn(join(this.#objects.dataDir, 'storage', kind)))
        for (const id of this.#objects.list(kind, storeId)) {
          try {
            this.#expectItself(kind, storeId, id)
          } catch (error) {
            yield `${kind} ${storeId}: ${id} is not itself: ${error instanceof Error ? error.message : String(error)}`
          }
        }
  }

  #expectItself(kind: Kind, storeId: string, id: string): void {
    const bytes = this.#read(kind, storeId, id)
    if (kind !== 'commits') return expectHash(kind, id, kind === 'fs' ? inflateSync(bytes) : bytes)
    const commit = this.#objects.commit(storeId, id)
    if (commit.commit_id !== id) throw new Error(`it calls itself ${commit.commit_id}`)
  }

  hasCommit(repo: string, id: string): boolean {
    const key = `${repo} ${id}`
    if (this.#present.has(key) || this.#wholeHistory.has(key)) return true
    if (!this.#objects.has('commits', repo, id)) return false
    this.#present.add(key)
    return true
  }

  /** Throws with the first object that is absent or is not what its name says. */
  expectWhole({ repo, storeId, head, headAlone }: Owed): void {
    const seen = new Set<string>()
    const waiting = [head]
    for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
      const key = `${repo} ${id}`
      if (seen.has(key) || this.#wholeHistory.has(key)) continue
      seen.add(key)
      const commit = this.#objects.commit(repo, id)
      if (commit.commit_id !== id) throw new Error(`commit ${id} calls itself ${commit.commit_id}`)
      this.#expectTree(storeId, commit.root_id)
      if (headAlone) return
      for (const parent of [commit.parent_id, commit.second_parent_id]) if (parent) waiting.push(parent)
    }
    for (const key of seen) this.#wholeHistory.add(key)
  }

  /** Children first: what is in `whole` is so with everything below it. */
  #expectTree(storeId: string, id: string): void {
    const key = `${storeId} ${id}`
    if (id === NO_OBJECT || this.#whole.has(key)) return
    const json = inflateSync(this.#read('fs', storeId, id))
    expectHash(`fs ${id}`, id, json)
    const fs = JSON.parse(json.toString('utf8')) as Fs
    for (const entry of fs.dirents ?? []) this.#expectTree(storeId, entry.id)
    for (const block of fs.block_ids ?? []) {
      const blockKey = `${storeId} block ${block}`
      if (this.#whole.has(blockKey)) continue
      expectHash(`block ${block}`, block, this.#read('blocks', storeId, block))
      this.#whole.add(blockKey)
    }
    this.#whole.add(key)
  }

  #read(kind: Kind, storeId: string, id: string): Buffer {
    return readFileSync(this.#objects.path(kind, storeId, id))
  }
}

function expectHash(what: string, id: string, bytes: Buffer): void {
  const found = hash('sha1', bytes, 'hex')
  if (found !== id) throw new Error(`${what} holds ${found}`)
}

const namesIn = (dir: string): string[] => (existsSync(dir) ? readdirSync(dir) : [])
