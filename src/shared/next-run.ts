/**
 * Work that is good for all who asked for it before it began: whoever asks while it runs shares the next run with all
 * others who do. A run that fails fails for those who wait for the next one too: of what they ask for, it may have lost
 * something, and a second run would not say so.
 */

export class NextRun {
  #running: Promise<void> | undefined
  #next: Promise<void> | undefined

  constructor(private readonly work: () => Promise<void>) {}

  /** Resolves when a run that began after this call has ended, rejects with what that run, or the one before it, rejects with. */
  ask(): Promise<void> {
    if (!this.#running) return this.#begin()
    return (this.#next ??= this.#running.then(
      () => this.#begin(),
      (error: unknown) => {
        this.#next = undefined
        throw error
      },
    ))
  }

  #begin(): Promise<void> {
    this.#next = undefined
    const run = this.work().finally(() => {
      if (this.#running === run) this.#running = undefined
    })
    this.#running = run
    return run
  }
}
