/**
 * A preload for a daemon: its clock, and that of all its threads, is off by the milliseconds that a file holds, so
 * that it can jump while the daemon runs. Timers and `performance.now()` go on as they do when a host's clock is set.
 */

import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'

const FILE_KEY = 'SEAF_BACKUP_TEST_CLOCK'
const LOOK_AGAIN_MS = 50

/** Environment for a daemon whose clock follows the file. */
export const otherClock = (file: string): NodeJS.ProcessEnv => ({
  NODE_OPTIONS: `--import=${import.meta.url}`,
  [FILE_KEY]: file,
})

export const setClock = (file: string, offsetMs: number): Promise<void> => writeFile(file, String(offsetMs))

function install(file: string): void {
  const RealDate = Date
  let offset = 0
  let lookedAt = -Infinity
  const now = (): number => {
    if (performance.now() - lookedAt > LOOK_AGAIN_MS) {
      lookedAt = performance.now()
      offset = Number(readFileSync(file, 'utf8'))
    }
    return RealDate.now() + offset
  }
  globalThis.Date = new Proxy(RealDate, {
    construct: (target, args: [], newTarget: typeof Date) =>
      Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget) as Date,
    apply: () => new RealDate(now()).toString(),
    get: (target, key, receiver) => (key === 'now' ? now : (Reflect.get(target, key, receiver) as unknown)),
  })
}

const file = process.env[FILE_KEY]
if (file !== undefined) install(file)
