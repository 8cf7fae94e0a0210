/**
 * A TCP relay on loopback: a fixed address for a daemon that listens on port 0, and a line that a test can cut,
 * hold, lose, tear, or make as bad as it likes (rough-line.ts).
 */

import { connect, createServer } from 'node:net'
import { Transform } from 'node:stream'
import type { AddressInfo, Server, Socket } from 'node:net'

/** Seen from who connects: requests and events go to the target, answers come from it. */
export type Direction = 'toTarget' | 'fromTarget'
const DIRECTIONS = ['toTarget', 'fromTarget'] as const

/** What the bytes of one direction of a new connection go through; undefined: they go as they are. */
export type Roughness = (direction: Direction) => Transform | undefined

interface Link {
  readonly near: Socket
  readonly far: Socket
  /** Neither bytes nor an end reach the other side any more. */
  lost: boolean
  /** Bytes since it was made, or since a reset was ordered. */
  readonly passed: Record<Direction, number>
  readonly taps: Partial<Record<Direction, Transform>>
}

interface Reset {
  readonly direction: Direction
  readonly bytes: number
  readonly happened: () => void
}

const sourceOf = ({ near, far }: Link, direction: Direction): Socket => (direction === 'toTarget' ? near : far)
const sinkOf = ({ near, far }: Link, direction: Direction): Socket => (direction === 'toTarget' ? far : near)

export class Relay implements AsyncDisposable {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #rough = new Set<Transform>()
  readonly #links = new Set<Link>()
  readonly #held = new Set<Direction>()
  #target: number | undefined
  #cut = false
  #lost = false
  #reset: Reset | undefined
  /** Bytes of requests that went to the target. */
  bytesToTarget = 0
  /** Bytes that came back from the target: what a daemon behind it has sent. */
  bytesFromTarget = 0
  /** Of connections from now on. */
  roughness: Roughness = () => undefined
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

  /** Of who connects, open now, also those that lead nowhere. */
  get connections(): number {
    return [...this.#links].filter(({ near }) => !near.destroyed).length
  }

  /** Ends what is connected and lets nothing through until `mend`. */
  cut(): void {
    this.#cut = true
    for (const stream of [...this.#sockets, ...this.#rough]) stream.destroy() // what is still on its way, too
  }

  mend(): void {
    this.#cut = false
  }

  /** Connections stay, and nothing comes back from the target (or goes to it) until `release`. */
  hold(directions: readonly Direction[] = ['fromTarget']): void {
    for (const direction of directions) {
      this.#held.add(direction)
      for (const link of this.#links) this.#flow(link, direction)
    }
  }

  release(): void {
    const held = [...this.#held]
    this.#held.clear()
    for (const direction of held) for (const link of this.#links) this.#flow(link, direction)
  }

  /**
   * A partition without FIN or RST: what is connected is half-open for ever, each side may write and nothing
   * arrives, not even that the other has hung up. New connections are taken and swallowed until `find`.
   */
  lose(): void {
    this.#lost = true
    for (const link of this.#links) {
      link.lost = true
      for (const direction of DIRECTIONS) this.#flow(link, direction)
    }
  }

  /** New connections get through again; those that were lost stay so. */
  find(): void {
    this.#lost = false
  }

  /** RST to both sides of the first connection that passes so many bytes from now on. Resolves when it happened. */
  resetAfter(direction: Direction, bytes: number): Promise<void> {
    for (const { passed } of this.#links) passed.toTarget = passed.fromTarget = 0
    return new Promise(happened => (this.#reset = { direction, bytes, happened }))
  }

  /** RST to everybody, now. */
  resetAll(): void {
    for (const { near, far } of this.#links) for (const socket of [near, far]) socket.resetAndDestroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut()
    await new Promise<void>(resolve => this.#server.close(() => resolve()))
  }

  #connect(near: Socket): void {
    if (this.#cut || this.#target === undefined) return void near.destroy()
    const far = connect(this.#target, '127.0.0.1')
    const link: Link = { near, far, lost: this.#lost, passed: { toTarget: 0, fromTarget: 0 }, taps: {} }
    this.#links.add(link)
    for (const direction of DIRECTIONS) {
      const source = sourceOf(link, direction)
      this.#sockets.add(source)
      source.setNoDelay(true)
      source.on('error', () => {})
      const tap = (link.taps[direction] = this.#tap(link, direction))
      const rough = this.roughness(direction)
      if (rough) {
        this.#rough.add(rough)
        rough.once('close', () => this.#rough.delete(rough))
        tap.pipe(rough).pipe(sinkOf(link, direction))
      } else tap.pipe(sinkOf(link, direction))
      source.on('close', () => {
        this.#sockets.delete(source)
        if (near.destroyed && far.destroyed) this.#links.delete(link)
        if (link.lost) return
        if (rough) tap.end(() => rough.once('end', () => sinkOf(link, direction).destroySoon()))
        else sinkOf(link, direction).destroy()
      })
      this.#flow(link, direction)
    }
  }

  #flow(link: Link, direction: Direction): void {
    const source = sourceOf(link, direction)
    const tap = link.taps[direction]
    if (!tap) return
    source.unpipe(tap)
    if (link.lost) source.resume()
    else if (this.#held.has(direction)) source.pause()
    else source.pipe(tap)
  }

  /** Counts what passes, and tears the line where that was ordered. */
  #tap(link: Link, direction: Direction): Transform {
    return new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        if (direction === 'toTarget') this.bytesToTarget += chunk.byteLength
        else this.bytesFromTarget += chunk.byteLength
        if (direction === 'fromTarget') this.onBytes(this.bytesFromTarget)
        const before = link.passed[direction]
        link.passed[direction] += chunk.byteLength
        const reset = this.#reset
        if (reset?.direction !== direction || link.passed[direction] < reset.bytes) return done(null, chunk)
        this.#reset = undefined
        // what comes before the reset arrives, the rest of its chunk does not
        sinkOf(link, direction).write(chunk.subarray(0, reset.bytes - before), () => {
          for (const socket of [link.near, link.far]) socket.resetAndDestroy()
          reset.happened()
        })
      },
    })
  }
}
