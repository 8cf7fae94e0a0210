/**
 * A TCP relay on loopback: a fixed address for a daemon that listens on port 0, and a line that a test can cut.
 */

import { connect, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'

export class Relay implements AsyncDisposable {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #target: number | undefined
  #cut = false
  #held = false
  /** From the target, with the way back of each. */
  readonly #back = new Map<Socket, Socket>()
  /** Bytes of requests that went to the target. */
  bytesToTarget = 0
  /** Bytes that came back from the target: what a daemon behind it has sent. */
  bytesFromTarget = 0
  /** Called as they come: a test may act in the middle of a transfer. */
  onBytes: (total: number) => void = () => {}

  private constructor(server: Server) {
    this.#server = server
  }

  static async start(): Promise<Relay> {
    const server = createServer()
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const relay = new Relay(server)
    server.on('connection', socket => relay.#connect(socket))
    return relay
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Undefined: nobody is there. */
  set target(port: number | undefined) {
    this.#target = port
  }

  /** Ends what is connected and lets nothing through until `mend`. */
  cut(): void {
    this.#cut = true
    for (const socket of this.#sockets) socket.destroy()
  }

  mend(): void {
    this.#cut = false
  }

  /** Connections stay, and nothing comes back from the target until `release`. */
  hold(): void {
    this.#held = true
    for (const [far, near] of this.#back) far.unpipe(near).pause()
  }

  release(): void {
    this.#held = false
    for (const [far, near] of this.#back) far.pipe(near)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut()
    await new Promise<void>(resolve => this.#server.close(() => resolve()))
  }

  #connect(near: Socket): void {
    if (this.#cut || this.#target === undefined) return void near.destroy()
    const far = connect(this.#target, '127.0.0.1')
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(one)
      one.setNoDelay(true)
      one.on('error', () => other.destroy())
      one.on('close', () => {
        this.#sockets.delete(one)
        this.#back.delete(one)
        other.destroy()
      })
    }
    far.on('data', (chunk: Buffer) => {
      this.bytesFromTarget += chunk.byteLength
      this.onBytes(this.bytesFromTarget)
    })
    near.on('data', (chunk: Buffer) => (this.bytesToTarget += chunk.byteLength))
    near.pipe(far)
    this.#back.set(far, near)
    if (this.#held) far.pause()
    else far.pipe(near)
  }
}
