/**
 * A daemon's memory, kept to what it uses, and its threads for fsync. Both bounds, and how many threads there are, can only
 * be given to a process when it begins, so it begins again with them, as the same process.
 *
 * Seen in an agent under steady commits: V8 let the young generation of the main thread grow to 134 MB, which it never
 * gives back. With that bound, 250 MB were resident of which the heaps and buffers of V8 were under 100: glibc gives each
 * thread a heap of its own, and returns only the end of it.
 */

import { setFlagsFromString } from 'node:v8'

/**
 * Of each half of the young generation, in MB. Each thread has three such parts: with 8 MB a first copy of small objects
 * had 240 MB resident, with this 170, and took no more processor time.
 */
const YOUNG = '--max-semi-space-size'
const YOUNG_MB_MAX = 1

/**
 * How much the old generation may grow before it is collected, in percent. V8 lets it double where there is memory: with
 * 100,000 libraries the agent had 313 MB resident, and with this 226, no slower. Of all threads, from then on; V8 only
 * complains of flags that it does not know.
 */
const HEAP_GROWTH = '--heap-growing-percent=25'

/** mallopt(3): heaps for all threads; from which size a buffer has a mapping of its own, and goes back when it is freed. */
const MALLOC = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_MMAP_THRESHOLD_: String(512 * 1024),
  MALLOC_TRIM_THRESHOLD_: String(512 * 1024),
}

/**
 * Threads for fsync and the like, of all of a process. With libuv's four a commit of one file, a dozen fsyncs, comes in
 * rounds; those that wait together share a commit of the filesystem's journal. Nothing more was resident with them.
 */
const THREADS = { UV_THREADPOOL_SIZE: '16' }

/** First of all in a `main.ts`, before anything is loaded that would have to be loaded twice. What the operator has set stays. */
export function boundMemory(): void {
  const { execArgv, argv, env, execPath, execve } = process
  if (!execve || execArgv.some(given => given.startsWith(YOUNG))) return setFlagsFromString(HEAP_GROWTH)
  const args = [execPath, `${YOUNG}=${YOUNG_MB_MAX}`, ...execArgv, ...argv.slice(1)]
  execve.call(process, execPath, args, { ...MALLOC, ...THREADS, ...env } as Record<string, string>)
}
