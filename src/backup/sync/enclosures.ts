/**
 * What came along with events and waits for its library's turn: only the newest, while nothing else was heard since.
 *
 * An enclosure holds the primary's rows as they were when the event was sent. Whatever is heard later of the library,
 * by another event, a sweep or a sync, may know better, and the primary is asked.
 */

import type { RepoId } from '../../shared/ids.js'
import type { Library } from '../state/library-state.js'

/** Of all that wait: where so much is behind, a question more makes no difference. */
const BYTES_MAX = 4 * 1024 * 1024

export class Enclosures {
  readonly #waiting = new Map<RepoId, { readonly bytes: Buffer; readonly heardAt: number | undefined }>()
  #bytes = 0

  /** To be called with each event, at once: null takes away what an older one brought. */
  put(library: Library, bytes: Buffer | null): void {
    this.take(library)
    if (!bytes || this.#bytes + bytes.byteLength > BYTES_MAX) return
    this.#bytes += bytes.byteLength
    this.#waiting.set(library.repo, { bytes, heardAt: library.heardAt })
  }

  /** What came with the last that was heard of this library. It is given once. */
  take({ repo, heardAt }: Library): Buffer | null {
    const waiting = this.#waiting.get(repo)
    if (!waiting) return null
    this.#waiting.delete(repo)
    this.#bytes -= waiting.bytes.byteLength
    return waiting.heardAt === heardAt ? waiting.bytes : null
  }
}
