/**
 * How many threads read objects: as many as were set, and more while all of them do nothing but wait for the disk.
 *
 * A thread reads one object after another, so that on a disk that takes 10 ms for each it reads a hundred a second
 * however idle the processors are. One more is of use only where that is so: never where threads wait for a processor,
 * nor where reads have become slow because so many are under way, which is what the live server would feel.
 */

/** What one thread did since it was looked at before. Times in milliseconds. */
export interface ThreadLoad {
  /** Streams that it serves now. */
  readonly jobs: number
  /** How long it has had none. */
  readonly idleMs: number
  readonly wallMs: number
  /** Of that: not waiting for the backup to take something, nor for anything to do. */
  readonly busyMs: number
  /** Undefined for one that is new, and where the system does not tell. */
  readonly times: ThreadTimes | undefined
}

export interface ThreadTimes {
  /** On a processor. */
  readonly cpuMs: number
  /** Ready to run, but on none: others had it. */
  readonly queuedMs: number
  /** How often it got a processor: once after each wait. */
  readonly turns: number
}

/** More do not make any disk faster that they have not made so before. */
const THREADS_MAX = 16
/** Of each thread that was set: where one was thought right, sixteen are not. */
const GROWTH_MAX = 8
/** Of its time: below, a thread has room for one more stream. */
const BUSY_SHARE_MIN = 0.8
/** Of what it is busy with, waiting for the disk: below, the reading itself is the work. */
const DISK_SHARE_MIN = 0.6
/** Of what it is busy with, waiting for a processor: above, they are what is short. */
const QUEUED_SHARE_MAX = 0.25
/** Times a wait of the threads that were set: then more reads at once only wait for each other. */
const SLOWER_MAX = 2
/** Libraries come one after another: a thread that has had nothing to do for so long has outlived its work. */
const IDLE_MS_MAX = 30_000

export interface ReaderDecision {
  /** Threads. */
  readonly most: number
  wantsMore(loads: readonly ThreadLoad[]): boolean
  spare(loads: readonly ThreadLoad[]): number | undefined
}

export class ReaderCount implements ReaderDecision {
  readonly most: number
  /** Milliseconds of a wait, as last seen with as many threads as were set. */
  #usualWaitMs = Infinity

  /** `least` threads were set (`workers`). */
  constructor(readonly least: number) {
    this.most = Math.max(least, Math.min(THREADS_MAX, GROWTH_MAX * least))
  }

  /** Whether more would be of use, were there jobs for them. To be asked at each look: it remembers how long a wait is without more. */
  wantsMore(loads: readonly ThreadLoad[]): boolean {
    const known = loads.filter(({ times }) => times !== undefined)
    if (known.length === 0 || !known.every(waitsForDisk)) return false
    const waitMs = meanWaitMs(known)
    if (loads.length <= this.least) this.#usualWaitMs = waitMs
    return loads.length < this.most && waitMs < SLOWER_MAX * this.#usualWaitMs
  }

  /** The index of a thread that is to be ended. */
  spare(loads: readonly ThreadLoad[]): number | undefined {
    if (loads.length <= this.least) return undefined
    const index = loads.findLastIndex(({ jobs, idleMs }) => jobs === 0 && idleMs >= IDLE_MS_MAX)
    return index < 0 ? undefined : index
  }
}

function waitsForDisk(load: ThreadLoad): boolean {
  const { jobs, wallMs, busyMs, times } = load
  if (jobs === 0 || times === undefined || busyMs < BUSY_SHARE_MIN * wallMs) return false
  return diskMs(load) >= DISK_SHARE_MIN * busyMs && times.queuedMs <= QUEUED_SHARE_MAX * busyMs
}

/** Busy, and neither on a processor nor waiting for one. */
const diskMs = ({ busyMs, times }: ThreadLoad): number =>
  times === undefined ? 0 : busyMs - times.cpuMs - times.queuedMs

function meanWaitMs(loads: readonly ThreadLoad[]): number {
  const turns = loads.reduce((sum, { times }) => sum + (times?.turns ?? 0), 0)
  const waited = loads.reduce((sum, load) => sum + diskMs(load), 0)
  return turns === 0 ? Infinity : waited / turns
}
