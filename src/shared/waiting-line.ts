/** Who waits for something that is given to one after the other, in order of arrival. Whoever is aborted leaves at once. */
export class WaitingLine<T> {
  readonly #waiting = new Set<(given: T) => void>()

  get length(): number {
    return this.#waiting.size
  }

  /** Resolves to what `give` gives. Rejects with the reason of `signal` once that is aborted; not for one that was so before. */
  join(signal?: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      const take = (given: T) => {
        signal?.removeEventListener('abort', leave)
        resolve(given)
      }
      const leave = () => {
        this.#waiting.delete(take)
        reject(signal?.reason as Error)
      }
      this.#waiting.add(take)
      signal?.addEventListener('abort', leave, { once: true })
    })
  }

  /** To whoever came first; false: nobody waits. */
  give(what: T): boolean {
    for (const take of this.#waiting) {
      this.#waiting.delete(take)
      take(what)
      return true
    }
    return false
  }
}
