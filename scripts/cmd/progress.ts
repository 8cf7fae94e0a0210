/**
 * How far a sync is, on standard error: a bar on a terminal, a line now and then elsewhere.
 *
 * The daemon learns what a library consists of while it reads its directories,
 * so "time left" is what is known so far, and may grow.
 */

import cliProgress from 'cli-progress'
import { duration } from '../../src/shared/duration.js'
import { byteSize, count } from './render.js'
import type { SyncProgress } from '../../src/shared/wire/control-messages.js'

export interface ProgressView extends Disposable {
  /** `done` of `libraries`; one library shows its objects alone. */
  show(done: number, libraries: number, progress: SyncProgress): void
}

/** Seldom enough for a log, often enough to see that it lives. */
const LINE_EVERY_MS = 5_000

export const silentProgress: ProgressView = { show() {}, [Symbol.dispose]() {} }

export function openProgress(stream: NodeJS.WriteStream): ProgressView {
  return stream.isTTY ? progressBar(stream) : progressLines(stream)
}

function progressBar(stream: NodeJS.WriteStream): ProgressView {
  const bar = new cliProgress.SingleBar({ stream, format: '{bar} {text}', hideCursor: true, linewrap: false }, STYLE)
  let started = false
  return {
    show(done, libraries, progress) {
      const whole = progress.objects + progress.objectsWanted
      const payload = { text: describe(done, libraries, progress) }
      if (!started) bar.start(whole, progress.objects, payload)
      started = true
      bar.setTotal(whole)
      bar.update(progress.objects, payload)
    },
    [Symbol.dispose]() {
      if (started) bar.stop()
    },
  }
}

const STYLE = cliProgress.Presets.shades_classic

function progressLines(stream: NodeJS.WritableStream): ProgressView {
  let shownAt = -Infinity
  return {
    show(done, libraries, progress) {
      const now = performance.now()
      if (now - shownAt < LINE_EVERY_MS) return
      shownAt = now
      stream.write(`${describe(done, libraries, progress)}\n`)
    },
    [Symbol.dispose]() {},
  }
}

/** One line that says how far something is whose end nobody knows. */
export interface Counter extends Disposable {
  /** Asked for its text only when it is shown. */
  show(text: () => string): void
  /** Takes its line away, before others are written. */
  clear(): void
}

const SHOW_EVERY_MS = 200

export function openCounter(
  stream: Pick<NodeJS.WriteStream, 'isTTY' | 'columns' | 'write'>,
  everyMs = stream.isTTY ? SHOW_EVERY_MS : LINE_EVERY_MS,
): Counter {
  let shownAt = performance.now()
  let shown = false
  const clear = () => {
    if (shown && stream.isTTY) stream.write('\r\x1b[K')
    shown = false
  }
  return {
    show(text) {
      const now = performance.now()
      if (now - shownAt < everyMs) return
      shownAt = now
      clear()
      stream.write(stream.isTTY ? text().slice(0, stream.columns - 1) : `${text()}\n`)
      shown = true
    },
    clear,
    [Symbol.dispose]: clear,
  }
}

/** "3 of 14 libraries, 120 of 400 objects, 3.1 MiB of 9.0 MiB, 1.2 MiB/s, 4.9 s left" */
export function describe(done: number, libraries: number, progress: SyncProgress): string {
  const { objects, objectsWanted, bytes, bytesWanted, elapsedMs } = progress
  const perMs = elapsedMs > 0 ? bytes / elapsedMs : 0
  const parts = [
    `${objects} of ${count(objects + objectsWanted, 'object')}`,
    `${byteSize(bytes)} of ${byteSize(bytes + bytesWanted)}`,
    `${byteSize(Math.round(perMs * 1000))}/s`,
  ]
  if (libraries > 1) parts.unshift(`${done} of ${libraries} libraries`)
  if (perMs > 0 && bytesWanted > 0) parts.push(`${duration(bytesWanted / perMs)} left`)
  return parts.join(', ')
}
