/** Whether this thread itself is what is short: then nothing is asked for that would give it more to do. */

const SAMPLE_MS = 250
const BUSY_SHARE = 0.7

type Utilization = ReturnType<typeof performance.eventLoopUtilization>

export class ThreadLoad {
  #before: Utilization = performance.eventLoopUtilization()
  #isBusy = false

  /** Of the last quarter of a second or more; waiting for fsync or for the network is not work. */
  isBusy(): boolean {
    const now = performance.eventLoopUtilization()
    if (now.idle + now.active - this.#before.idle - this.#before.active < SAMPLE_MS) return this.#isBusy
    this.#isBusy = performance.eventLoopUtilization(now, this.#before).utilization > BUSY_SHARE
    this.#before = now
    return this.#isBusy
  }
}
