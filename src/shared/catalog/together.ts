/** What several callers ask for in one turn of the event loop, done in one go: for work whose price is that of one commit. */

/** Undefined: done. */
type Outcome = Error | undefined

export class Together<T> {
  #waiting: Array<{ readonly item: T; readonly resolve: () => void; readonly reject: (error: unknown) => void }> = []

  /** `work` says of each item how it went, in their order; when it rejects, it did nothing for any of them. */
  constructor(private readonly work: (items: readonly T[]) => Promise<readonly Outcome[]>) {}

  /** Resolves when the item was done, rejects with why it was not. */
  add(item: T): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject })
      if (this.#waiting.length === 1) setImmediate(() => void this.#flush())
    })
  }

  async #flush(): Promise<void> {
    const waiting = this.#waiting
    this.#waiting = []
    try {
      const outcomes = await this.work(waiting.map(({ item }) => item))
      for (const [n, { resolve, reject }] of waiting.entries()) {
        const problem = outcomes[n]
        if (problem) reject(problem)
        else resolve()
      }
    } catch (error) {
      for (const { reject } of waiting) reject(error)
    }
  }
}
