/**
 * The command's end of the control socket; see wire/control-messages.ts.
 *
 * Answers are bounded and decoded before anybody sees them. A refusal becomes
 * the daemon's own coded error, a daemon that ends in the middle
 * BACKUP_UNREACHABLE, and one that is not there `NoDaemon`.
 */

import { request as httpRequest } from 'node:http'
import { BackupError, isAbort, reason, systemCode } from '../../src/shared/errors.js'
import {
  CONTROL_REQUEST_BYTES_MAX,
  STATUS_BYTES_MAX,
  SYNC_EVENT_BYTES_MAX,
  decodeControlError,
  decodeDumpEvent,
  decodeHeadLog,
  decodeStatusReport,
  decodeSyncEvent,
} from '../../src/shared/wire/control-codec.js'
import { NoDaemon } from './exit.js'
import type { IncomingMessage } from 'node:http'
import type {
  ControlError,
  DumpEvent,
  HeadLogEntry,
  StatusReport,
  SyncEvent,
  SyncRequest,
} from '../../src/shared/wire/control-messages.js'

/** A daemon answers `status` from memory; after this long it is stuck. */
const STATUS_MS_MAX = 30_000
/** A refusal is a sentence, a next step and 20 ids. */
const REFUSAL_BYTES_MAX = CONTROL_REQUEST_BYTES_MAX
const LINE_FEED = 0x0a

interface Ask {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly body?: string
}

export class ControlClient {
  constructor(readonly socketPath: string) {}

  async status({ libraries }: { libraries: boolean }, signal: AbortSignal): Promise<StatusReport> {
    const timeout = AbortSignal.timeout(STATUS_MS_MAX)
    const ask = { method: 'GET', path: `/v1/status${libraries ? '?libraries=1' : ''}` } as const
    try {
      const response = await this.#ask(ask, AbortSignal.any([signal, timeout]))
      return decodeStatusReport(await readWhole(response, STATUS_BYTES_MAX))
    } catch (error) {
      if (!timeout.aborted || signal.aborted) throw error
      const seconds = STATUS_MS_MAX / 1000
      throw this.#broken(`read the status: the daemon has not answered for ${seconds} s`, error)
    }
  }

  /** Newest first, at most `limit`. */
  async headLog(library: string, limit: number, signal: AbortSignal): Promise<HeadLogEntry[]> {
    const path = `/v1/log?${new URLSearchParams({ library, limit: String(limit) }).toString()}`
    const both = AbortSignal.any([signal, AbortSignal.timeout(STATUS_MS_MAX)])
    return decodeHeadLog(await readWhole(await this.#ask({ method: 'GET', path }, both), STATUS_BYTES_MAX))
  }

  /** What the sync reports, until `end` or `error`. Aborting hangs up; the daemon decides what goes on. */
  sync(request: SyncRequest, signal: AbortSignal): AsyncGenerator<SyncEvent, void, undefined> {
    const ask = { method: 'POST', path: '/v1/sync', body: JSON.stringify(request) } as const
    return this.#follow(ask, 'the sync', decodeSyncEvent, signal)
  }

  /** Takes a dump, and reports until `end` or `error`. Aborting gives it up. */
  dump(signal: AbortSignal): AsyncGenerator<DumpEvent, void, undefined> {
    return this.#follow({ method: 'POST', path: '/v1/dump' }, 'the dump', decodeDumpEvent, signal)
  }

  async *#follow<E extends { readonly type: string }>(
    ask: Ask,
    what: string,
    decode: (line: Buffer) => E,
    signal: AbortSignal,
  ): AsyncGenerator<E, void, undefined> {
    const response = await this.#ask(ask, signal)
    const ended = `wait for ${what}: the backup daemon ended before it did`
    try {
      for await (const line of lines(response)) {
        const event = decode(line)
        yield event
        if (event.type === 'end' || event.type === 'error') return
      }
    } catch (error) {
      if (error instanceof BackupError || signal.aborted) throw error
      throw this.#broken(ended, error)
    }
    throw this.#broken(ended)
  }

  /** @throws NoDaemon; BackupError as the daemon refused */
  async #ask({ method, path, body }: Ask, signal: AbortSignal): Promise<IncomingMessage> {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = httpRequest({ socketPath: this.socketPath, method, path, signal, agent: false })
      request.once('response', resolve)
      request.once('error', reject)
      request.end(body)
    }).catch((error: unknown) => {
      throw this.#notReached(error)
    })
    if (response.statusCode === 200) return response
    throw refusal(decodeControlError(await readWhole(response, REFUSAL_BYTES_MAX)))
  }

  #notReached(error: unknown): unknown {
    const code = systemCode(error)
    if (isAbort(error)) return error
    if (code === 'ENOENT' || code === 'ECONNREFUSED') return new NoDaemon(this.socketPath, { cause: error })
    if (code !== 'EACCES') return this.#broken(`connect to ${this.socketPath}: ${reason(error)}`, error)
    const nextStep = 'run the command as root, or as the user that the backup daemon runs as'
    const message = `connect to ${this.socketPath}: not allowed`
    return new BackupError('DIRECTORY_UNUSABLE', message, { nextStep }, { cause: error })
  }

  #broken(message: string, cause?: unknown): BackupError {
    const nextStep = 'look at the log of seaf-backup-server; a sync goes on where it was when the daemon runs again'
    return new BackupError('BACKUP_UNREACHABLE', message, { nextStep }, { cause })
  }
}

export const refusal = ({ code, message, nextStep, candidates }: ControlError): BackupError =>
  new BackupError(code, message, { nextStep, ...(candidates === undefined ? {} : { candidates }) })

async function readWhole(response: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength
    if (bytes > bytesMax) throw tooLong(bytesMax)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, bytes)
}

async function* lines(response: IncomingMessage): AsyncGenerator<Buffer, void, undefined> {
  let parts: Buffer[] = []
  let bytes = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    let from = 0
    for (let at = chunk.indexOf(LINE_FEED); at >= 0; at = chunk.indexOf(LINE_FEED, from)) {
      yield Buffer.concat([...parts, chunk.subarray(from, at)])
      parts = []
      bytes = 0
      from = at + 1
    }
    parts.push(chunk.subarray(from))
    bytes += chunk.byteLength - from
    if (bytes > SYNC_EVENT_BYTES_MAX) throw tooLong(SYNC_EVENT_BYTES_MAX)
  }
}

const tooLong = (bytesMax: number): BackupError =>
  new BackupError('PROTOCOL_BROKEN', `read the daemon's answer: more than ${bytesMax} bytes`)
