/**
 * Objects on the disk of a live Seafile server, in the way in which that server puts them there.
 *
 * The steps, temp names and fsyncs are the server's own: only a commit is made
 * durable, a block or an fs object is left to the kernel, and what is there
 * already is not written again. This is for a primary. The backup's store
 * (store/disk-object-store.ts) promises more and is the one that replication uses.
 */

import { closeSync, existsSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { randomInt, hash } from 'node:crypto'
import { dirname, join } from 'node:path'
import { EMPTY_ID } from '../../ids.js'
import { storeError, syncFd, syncPath } from '../../store/durable-file.js'
import { deflateFs, encodeFs } from '../encode.js'
import type { BlockId, CommitId, FsId, RepoId } from '../../ids.js'
import type { ObjectRef } from '../../store/object-store.js'
import type { FsObject } from '../objects.js'

export class ObjectWriter {
  readonly #storage: string
  readonly #blockTemp: string

  /** `dataDir`: seafile-data. */
  constructor(dataDir: string) {
    this.#storage = join(dataDir, 'storage')
    this.#blockTemp = join(dataDir, 'tmpfiles')
  }

  has(ref: ObjectRef): boolean {
    return existsSync(this.#path(ref))
  }

  /** `bytes`: as they are to be stored, ciphertext in an encrypted library. */
  putBlock(storeId: RepoId, bytes: Uint8Array): BlockId {
    const id = hash('sha1', bytes, 'hex')
    const ref: ObjectRef = { kind: 'blocks', storeId, id }
    if (!this.has(ref)) this.#put(this.#path(ref), join(this.#blockTemp, id), bytes)
    return id as BlockId
  }

  /** Writes nothing for an empty file or directory. */
  putFs(storeId: RepoId, object: FsObject): FsId {
    const { id, json } = encodeFs(object)
    const ref: ObjectRef = { kind: 'fs', storeId, id }
    if (id !== EMPTY_ID && !this.has(ref)) this.#put(this.#path(ref), this.#path(ref), deflateFs(json))
    return id
  }

  /** When it resolves, the commit survives a power cut; what it refers to may not, as with the server. */
  async putCommit(repo: RepoId, id: CommitId, bytes: Uint8Array): Promise<void> {
    const path = this.#path({ kind: 'commits', storeId: repo, id })
    const temp = tempName(path)
    try {
      const fd = create(path, temp)
      try {
        writeWhole(fd, bytes)
        await syncFd(fd)
      } finally {
        closeSync(fd)
      }
      renameSync(temp, path)
      await syncPath(dirname(path))
    } catch (error) {
      rmSync(temp, { force: true })
      throw storeError(`write commit ${id.slice(0, 8)}`, error)
    }
  }

  #path({ kind, storeId, id }: ObjectRef): string {
    return `${this.#storage}/${kind}/${storeId}/${id.slice(0, 2)}/${id.slice(2)}`
  }

  #put(path: string, tempBase: string, bytes: Uint8Array): void {
    const temp = tempName(tempBase)
    try {
      const fd = create(path, temp)
      try {
        writeWhole(fd, bytes)
      } finally {
        closeSync(fd)
      }
      renameSync(temp, path)
    } catch (error) {
      rmSync(temp, { force: true })
      throw storeError('write object', error)
    }
  }
}

function create(path: string, temp: string): number {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
  if (dirname(temp) !== dirname(path)) mkdirSync(dirname(temp), { recursive: true, mode: 0o755 })
  return openSync(temp, 'wx', 0o600)
}

function writeWhole(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.byteLength;) at += writeSync(fd, bytes, at)
}

const TEMP_CHARS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'

/** mkstemp's form, `<name>.XXXXXX`: whoever lists objects knows to skip it. */
const tempName = (base: string): string =>
  `${base}.${Array.from({ length: 6 }, () => TEMP_CHARS[randomInt(TEMP_CHARS.length)]).join('')}`
