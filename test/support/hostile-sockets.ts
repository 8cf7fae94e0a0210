/** Sockets that misbehave, and what they cost the daemon that they are connected to. */

import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { VERSION_HEADER, authKeys, signRequest } from '../../src/shared/wire/auth.js'
import { PROTOCOL_VERSION } from '../../src/shared/wire/sync-messages.js'
import { TOKEN } from './pair.js'
import type { Socket } from 'node:net'

const MB = 1024 * 1024

/** Resident memory of a process, in MB. */
export function residentMb(pid: number): number {
  const [, kb] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return (Number(kb) * 1024) / MB
}

export function signedHeaders(method: string, path: string, body: string | Uint8Array = ''): Record<string, string> {
  const { headers } = signRequest(authKeys([TOKEN]), { method, path, body })
  return { ...headers, [VERSION_HEADER]: String(PROTOCOL_VERSION) }
}

export class HostileSocket implements Disposable {
  readonly socket: Socket
  /** Resolves to the seconds from the connection to its end. */
  readonly closed: Promise<number>
  #text = ''
  #timer: NodeJS.Timeout | undefined

  constructor(port: number, { reads = true, halfOpen = false } = {}) {
    this.socket = connect({ port, host: '127.0.0.1', allowHalfOpen: halfOpen })
    const from = performance.now()
    this.socket.on('error', () => {})
    this.closed = new Promise(resolve =>
      this.socket.once('close', () => {
        clearInterval(this.#timer)
        resolve((performance.now() - from) / 1000)
      }),
    )
    if (reads)
      this.socket.on('data', (chunk: Buffer) => (this.#text = (this.#text + chunk.toString()).slice(0, 10_000)))
  }

  get heard(): string {
    return this.#text
  }

  say(text: string | Buffer): this {
    this.socket.write(text)
    return this
  }

  /** The text again and again, one piece at a time, until the other side hangs up. */
  trickle(text: string, everyMs = 1_000): this {
    this.#timer = setInterval(() => this.socket.writable && this.socket.write(text), everyMs)
    return this
  }

  /** As fast as the other side reads, until it hangs up. */
  flood(piece: string): this {
    const more = () => {
      while (this.socket.writable && this.socket.write(piece));
    }
    this.socket.on('drain', more)
    more()
    return this
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
    this.socket.destroy()
  }
}
