/**
 * How much is under way at once: as much as keeps our threads busy while answers are on their way, within bounds.
 *
 * Whoever works for 10 ms and waits for the primary for 200, its disk or the line, leaves a thread idle unless 20
 * others use it meanwhile (Little's law). Both are measured and nothing is configured. Only the beginnings of answers
 * count as waiting (line-wait.ts): what comes later is a matter of the line's width, of which more pulls have no more.
 * What is here is arithmetic on measured figures; who waits and who works is measured elsewhere.
 */

/**
 * Pulls at once, at most. Each keeps a delta open at the agent, which serves 64 answers at once (JOBS_MAX): a delta
 * is held back until blocks have been fetched, so that deltas alone must never take all of these places.
 */
export const PULLS_MAX = 48
/** First copies among them, at most: what was pushed finds a place. */
export const BACKFILL_MAX = 36
/** Answers with blocks at once, in all threads: what the agent has left beside the deltas. */
const BLOCK_ANSWERS_MAX = 16
/**
 * Requests for blocks at once in one pull: while one is being written the next is on its way. The most is also that of
 * all pulls of a thread. Each holds one block, 8 MB as a rule, so that two threads hold 64 MB of them, however many
 * pulls they run; and each asks for 32 MB, so that one pull has 128 MB on its way: 5 Gbit/s at 200 ms.
 */
const FETCHES = { min: 2, max: 4 } as const

/** Of pulls that are no first copies, besides those: so many a thread. The agent lets them wait their turn if it has to. */
export const URGENT_BLOCK_ANSWERS = 2

/** Of the last pull in the average of all: it takes some dozens to get from one end to the other. */
const PULL_WEIGHT = 1 / 16
/** The same for fetches, of which a pull makes fewer. */
const FETCH_WEIGHT = 1 / 4
/** A pull that has moved so much counts as more: nothing is gained by many of them, and each holds more. */
const HEAVY = { bytes: 16 * 1024 * 1024, objects: 2_000, counts: 4 } as const

/** What a pull was waiting for, in ms. */
export interface PullTimes {
  /** For the beginnings of the primary's answers, while the thread had room for more. */
  readonly waitedMs: number
  /** All the rest of the pull. */
  readonly workedMs: number
}

export const isHeavy = (done: { readonly objects: number; readonly bytes: number }): boolean =>
  done.bytes >= HEAVY.bytes || done.objects >= HEAVY.objects

/** What one of `threads` threads may have open: connections to the primary, and answers with blocks among them. */
export function threadBounds(threads: number): { readonly connections: number; readonly blockAnswers: number } {
  const blockAnswers = Math.max(1, Math.min(FETCHES.max, Math.floor(BLOCK_ANSWERS_MAX / threads)))
  return { connections: Math.ceil(PULLS_MAX / threads) + blockAnswers + URGENT_BLOCK_ANSWERS, blockAnswers }
}

/** Places for pulls, as the queue asks for them. */
export class PullPlaces {
  /** Two first copies a thread, and as many places more for what was pushed, wherever the primary is. */
  readonly #first: number
  /** Of pulls of all lanes, what keeps the threads busy; not rounded. */
  #ideal: number

  /** `heavy`: how many of the running pulls are. */
  constructor(
    private readonly threads: number,
    private readonly heavy: () => number = () => 0,
  ) {
    this.#first = Math.min(2 * threads, BACKFILL_MAX)
    this.#ideal = this.#first
  }

  get all(): number {
    return Math.min(PULLS_MAX, Math.round(this.#ideal) + 2 * this.threads)
  }

  get backfill(): number {
    const extra = this.heavy() * (HEAVY.counts - 1)
    return clamp(Math.round(this.#ideal) - extra, this.#first, BACKFILL_MAX)
  }

  /** A pull has ended. What it alone would ask for is bounded before it is averaged: an odd one changes little. */
  pulled({ waitedMs, workedMs }: PullTimes): void {
    const own = this.threads * (1 + waitedMs / Math.max(workedMs, 1))
    this.#ideal += (clamp(own, this.#first, PULLS_MAX) - this.#ideal) * PULL_WEIGHT
  }
}

/** Requests for blocks of one pull: the next ones are on their way for as long as the first bytes of one take. */
export class FetchPlaces {
  #ideal: number = FETCHES.min

  get count(): number {
    return Math.ceil(this.#ideal - ROUNDING)
  }

  /** `firstMs`: until the first bytes came; `restMs`: until all had come and were written. */
  fetched({ firstMs, restMs }: { readonly firstMs: number; readonly restMs: number }): void {
    const own = clamp(1 + Math.ceil(firstMs / Math.max(restMs, 1)), FETCHES.min, FETCHES.max)
    this.#ideal += (own - this.#ideal) * FETCH_WEIGHT
  }
}

/** An average comes close to where it goes and never there. */
const ROUNDING = 0.1

const clamp = (value: number, min: number, max: number): number => Math.min(max, Math.max(min, value))
