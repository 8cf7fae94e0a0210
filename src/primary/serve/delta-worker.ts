/**
 * The thread in which objects are read: synchronous file work, away from the event loop that answers heartbeats.
 *
 * Several jobs share a thread and take turns whenever one must wait for its reader. Messages: delta-pool.ts.
 */

import { parentPort, workerData } from 'node:worker_threads'
import { asBackupError } from '../../shared/errors.js'
import { DiskObjectReader } from '../../shared/store/disk-object-store.js'
import { FRAME } from '../../shared/wire/frames.js'
import { CHUNK_BYTES } from '../../shared/wire/chunks.js'
import { StreamSeal } from '../../shared/wire/stream-seal.js'
import { streamDelta, streamObjects } from './delta.js'
import { FrameWriter } from './frame-writer.js'
import { Packing } from './packing.js'
import { ownThreadId } from './thread-times.js'
import type { FromWorker, ToWorker, WorkerJob } from './delta-pool.js'

/** On their way to the main thread and not yet taken by the socket: enough to keep it busy. */
const UNTAKEN_BYTES_MAX = 2 * 1024 * 1024

const port = parentPort
if (!port) throw new Error('delta-worker.js is a worker thread, not a program')
const { dataDir } = workerData as { dataDir: string }
const objects = new DiskObjectReader(dataDir)
const running = new Map<number, Running>()
const packing = new Packing()
/** Chunks that came back: gigabytes pass through a few megabytes. */
const spare: Buffer[] = []
const SPARE_MAX = 16

/** Above Node's pool, from which smaller buffers are cut. */
const TRANSFER_BYTES_MIN = 128 * 1024

class Gone extends Error {}

class Running {
  #untaken = 0
  #wake: (() => void) | undefined
  #aborted = false
  finish: ((changed: boolean) => void) | undefined

  constructor(
    readonly id: number,
    private readonly mayPack: boolean,
  ) {}

  credit(bytes: number): void {
    packing.left(bytes)
    this.#untaken -= bytes
    this.#wake?.()
  }

  abort(): void {
    this.#aborted = true
    this.#wake?.()
    this.finish?.(false)
  }

  async send(given: Buffer, isChunk: boolean): Promise<void> {
    if (this.#untaken >= UNTAKEN_BYTES_MAX) await this.#waitToLeave()
    if (this.#aborted) throw new Gone()
    const chunk = isChunk && this.mayPack ? packing.apply(given) : given
    if (chunk !== given) keep(given.buffer as ArrayBuffer)
    this.#untaken += chunk.byteLength
    // copied, all of the memory behind it would be, however little of it is used
    post({ type: 'chunk', job: this.id, chunk }, ownsItsMemory(chunk) ? [chunk.buffer as ArrayBuffer] : [])
    await new Promise<void>(resolve => setImmediate(resolve)) // others' turn; and messages for us are read
  }

  async #waitToLeave(): Promise<void> {
    packing.waits()
    while (this.#untaken >= UNTAKEN_BYTES_MAX && !this.#aborted)
      await new Promise<void>(resolve => (this.#wake = resolve))
    packing.goesOn()
  }
}

/** Handed over instead of copied. Pooled memory cannot be: others use it too. */
const ownsItsMemory = (chunk: Buffer): boolean => chunk.buffer.byteLength > TRANSFER_BYTES_MIN

function keep(memory: ArrayBuffer): void {
  if (memory.byteLength === CHUNK_BYTES && spare.length < SPARE_MAX) spare.push(Buffer.from(memory))
}

function post(message: FromWorker, transfer: ArrayBuffer[] = []): void {
  port?.postMessage(message, transfer)
}

async function run(job: WorkerJob, state: Running): Promise<void> {
  const out = new FrameWriter(
    new StreamSeal(job.proof.key, job.proof.nonce),
    (chunk, isChunk) => state.send(chunk, isChunk),
    () => spare.pop() ?? Buffer.allocUnsafeSlow(CHUNK_BYTES),
  )
  try {
    if (job.library) await out.json(FRAME.library, job.library)
    if (job.delta) await streamDelta(job.delta, objects, out)
    if (job.objects) await streamObjects(job.objects, objects, out)
    const changed = out.absent > 0 && (await askWhetherChanged(state))
    await out.end(changed)
    await out.flush()
    post({ type: 'done', job: state.id })
  } catch (error) {
    if (error instanceof Gone) post({ type: 'done', job: state.id })
    else post({ type: 'failed', job: state.id, message: asBackupError(error).message })
  } finally {
    running.delete(state.id)
  }
}

/** Only the main thread reads rows: has seaf-gc run, or the head moved, since the job began? */
function askWhetherChanged(state: Running): Promise<boolean> {
  return new Promise(resolve => {
    state.finish = resolve
    post({ type: 'changed?', job: state.id })
  })
}

post({ type: 'thread', id: ownThreadId() })
port.on('message', (message: ToWorker) => {
  if (message.type === 'start') {
    const state = new Running(message.job, message.work.mayPack)
    running.set(message.job, state)
    void run(message.work, state)
    return
  }
  const state = running.get(message.job)
  if (message.type === 'credit') {
    keep(message.memory)
    state?.credit(message.bytes)
  } else if (message.type === 'abort') state?.abort()
  else state?.finish?.(message.changed)
})
