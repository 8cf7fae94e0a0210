/** Reading a dump in a thread of its own: a gigabyte of SQL is seconds of work that nobody else should wait for. */

import { parentPort, workerData } from 'node:worker_threads'
import { asBackupError } from '../../shared/errors.js'
import { readDump } from './read-dump.js'
import type { ReadingAnswer, ReadingOrder } from './read-apart.js'

const { dump, scratch } = workerData as ReadingOrder
const never = new AbortController().signal // the thread is ended from outside

try {
  const contents = await readDump(dump, scratch, never)
  parentPort?.postMessage({ contents } satisfies ReadingAnswer)
} catch (error) {
  const { code, message } = asBackupError(error)
  parentPort?.postMessage({ code, message } satisfies ReadingAnswer)
}
