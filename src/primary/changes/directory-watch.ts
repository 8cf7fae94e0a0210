/**
 * The kernel's word that a file of one directory changed, also after the directory was replaced.
 *
 * Not recursive: the object tree below holds millions of files. A watch belongs to the directory that had the name when
 * it began; whether that is still the one is looked at now and then. Events are hints: some come twice, and where they
 * cannot be had whoever listens must poll.
 */

import { watch } from 'node:fs'
import { reason } from '../../shared/errors.js'
import { fileIdentity } from '../../shared/file-identity.js'
import type { FSWatcher } from 'node:fs'

const LOOK_EVERY_MS = 5_000

export interface DirectoryListener {
  /** `name`: of the file in the directory; null: not known. */
  readonly changed: (name: string | null) => void
  /** No events come, for this reason; it is tried again. */
  readonly lost: (why: string) => void
  /** Events come again; what changed in between was not told. */
  readonly found: () => void
}

export class DirectoryWatch implements Disposable {
  #watcher: FSWatcher | undefined
  #identity: string | undefined
  readonly #timer: NodeJS.Timeout

  constructor(
    private readonly directory: string,
    private readonly listener: DirectoryListener,
    lookEveryMs = LOOK_EVERY_MS,
  ) {
    this.#begin()
    this.#timer = setInterval(() => this.#look(), lookEveryMs)
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
    this.#watcher?.close()
  }

  #begin(): void {
    try {
      this.#identity = fileIdentity(this.directory)
      this.#watcher = watch(this.directory, (_event, name) => this.listener.changed(name))
      this.#watcher.on('error', error => this.#lost(error))
    } catch (error) {
      this.#lost(error)
    }
  }

  #look(): void {
    try {
      if (this.#watcher && fileIdentity(this.directory) === this.#identity) return
    } catch (error) {
      return this.#lost(error)
    }
    this.#watcher?.close()
    this.#watcher = undefined
    this.#begin()
    if (this.#watcher) this.listener.found()
  }

  #lost(error: unknown): void {
    this.#watcher?.close()
    this.#watcher = undefined
    this.listener.lost(reason(error))
  }
}
