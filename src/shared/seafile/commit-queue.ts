/**
 * Commits in the order in which Seafile walks a history: newest `ctime` first.
 *
 * A binary heap, because a history can hold hundreds of thousands of commits.
 */

export interface Dated {
  readonly ctime: number
}

export class CommitQueue<T extends Dated> {
  readonly #heap: T[] = []

  get size(): number {
    return this.#heap.length
  }

  push(item: T): void {
    const heap = this.#heap
    let at = heap.push(item) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      const above = heap[parent] as T
      if (above.ctime >= item.ctime) break
      heap[at] = above
      at = parent
    }
    heap[at] = item
  }

  /** The newest one; undefined when there is none. */
  pop(): T | undefined {
    const heap = this.#heap
    const top = heap[0]
    const last = heap.pop()
    if (top === undefined || last === undefined || heap.length === 0) return top
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && (heap[child + 1] as T).ctime > (heap[child] as T).ctime) child += 1
      if ((heap[child] as T).ctime <= last.ctime) break
      heap[at] = heap[child] as T
      at = child
    }
    heap[at] = last
    return top
  }
}
