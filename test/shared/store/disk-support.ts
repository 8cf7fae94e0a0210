/** A store on a disk that a test may fill, freeze and start again. */

import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { BackupError } from '../../../src/shared/errors.js'
import { DiskObjectStore } from '../../../src/shared/store/disk-object-store.js'
import { storeErrorCode } from '../../../src/shared/store/durable-file.js'
import { TempDir } from '../../support/objects.js'
import type { VerifiedObject } from '../../../src/shared/store/verify.js'

export class OnDisk implements Disposable {
  readonly #dir = new TempDir()
  readonly store = new DiskObjectStore(this.#dir.path)

  constructor() {
    this.store.prepare()
  }

  /** A new process on the same directory. */
  restarted(): DiskObjectStore {
    const next = new DiskObjectStore(this.#dir.path)
    next.prepare()
    return next
  }

  [Symbol.dispose](): void {
    this.#dir[Symbol.dispose]()
  }
}

/** A filesystem of its own, unmounted when the test is over. */
export class Tmpfs implements Disposable {
  readonly #dir = new TempDir()
  readonly path = this.#dir.path

  constructor(options: string) {
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', this.path], { stdio: 'ignore' })
  }

  remount(options: string): void {
    execFileSync('mount', ['-o', `remount,${options}`, this.path])
  }

  [Symbol.dispose](): void {
    execFileSync('umount', [this.path])
    this.#dir[Symbol.dispose]()
  }
}

function noTmpfs(): string | false {
  try {
    new Tmpfs('size=64k')[Symbol.dispose]()
    return false
  } catch {
    return 'a tmpfs cannot be mounted here'
  }
}
/** For `{ skip }` of a test that needs a `Tmpfs`. */
export const skip = noTmpfs()

export const temps = (of: DiskObjectStore) => readdirSync(of.tempDir)

/** Its code, or the one that the worker gives to a bare system error. */
const codeOf = (error: unknown) => (error instanceof BackupError ? error.code : storeErrorCode(error))

export async function failureOf(work: () => Promise<void>): Promise<unknown> {
  try {
    await work()
  } catch (error) {
    return codeOf(error)
  }
  return 'no failure'
}

/** As a pull does it: whatever fails, the batch is discarded. */
export async function storeOrDiscard(into: DiskObjectStore, objects: readonly VerifiedObject[]): Promise<void> {
  const batch = into.openBatch()
  try {
    for (const object of objects) await batch.put(object)
    await batch.commit(new AbortController().signal)
  } finally {
    await batch.discard()
  }
}
