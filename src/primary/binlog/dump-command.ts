/**
 * COM_BINLOG_DUMP over a connection of mysql2, as a replica asks: its own command of that name gives events that it has
 * taken apart, and we want their bytes.
 */

import { EventEmitter } from 'node:events'
import type { Connection } from 'mysql2'
import type { BinlogPosition } from '../../shared/binlog-events.js'

const COM_BINLOG_DUMP = 0x12
/** The server answers with an end in place of waiting for more. */
const NON_BLOCK = 0x01
/** MariaDB leaves these events out unless told; to MySQL the bit says something else. */
const ANNOTATE_ROWS = 0x02
const PACKET_HEADER_BYTES = 4
const POSITION_MAX = 0xffffffff

export interface DumpOptions {
  readonly from: BinlogPosition
  /** Nobody else's. */
  readonly serverId: number
  readonly isMariadb: boolean
}

/** What mysql2 hands to a command. */
interface Packet {
  readonly buffer: Buffer
  readonly start: number
  readonly end: number
  isError(): boolean
  isEOF(): boolean
  asError(encoding: string): Error
}

interface Line {
  readonly clientEncoding: string
  _resetSequenceId(): void
  writePacket(packet: OutPacket): void
}

interface Commands {
  addCommand(command: unknown): void
}

/** Calls `onEvent` with the bytes of each; resolves at the end of what there is. Who has enough destroys the connection. */
export function dumpBinlog(
  connection: Connection,
  options: DumpOptions,
  onEvent: (event: Buffer) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const command = new DumpCommand(options, onEvent, error => (error ? reject(error) : resolve()))
    ;(connection as unknown as Commands).addCommand(command)
  })
}

/** Of the shape that mysql2 drives: `execute` for each packet, true at the end; `onResult` when the line breaks. */
class DumpCommand extends EventEmitter {
  #asked = false

  constructor(
    private readonly options: DumpOptions,
    private readonly onEvent: (event: Buffer) => void,
    readonly onResult: (error: Error | null) => void,
  ) {
    super()
  }

  execute(packet: Packet | undefined, line: Line): boolean {
    if (!this.#asked) {
      this.#asked = true
      line._resetSequenceId()
      line.writePacket(new OutPacket(request(this.options)))
      return false
    }
    if (!packet) return false
    if (packet.isError()) return this.#end(packet.asError(line.clientEncoding))
    if (packet.isEOF()) return this.#end(null)
    try {
      // behind the byte that says that it is no error
      this.onEvent(packet.buffer.subarray(packet.start + PACKET_HEADER_BYTES + 1, packet.end))
      return false
    } catch (error) {
      return this.#end(error as Error)
    }
  }

  #end(error: Error | null): true {
    this.onResult(error)
    this.emit('end')
    return true
  }
}

function request({ from, serverId, isMariadb }: DumpOptions): Buffer {
  if (from.offset > POSITION_MAX) throw new Error(`assertion failed: asked for the binlog from ${from.offset}`)
  const name = Buffer.from(from.file, 'utf8')
  const body = Buffer.alloc(11 + name.byteLength)
  body.writeUInt8(COM_BINLOG_DUMP, 0)
  body.writeUInt32LE(from.offset, 1)
  body.writeUInt16LE(isMariadb ? NON_BLOCK | ANNOTATE_ROWS : NON_BLOCK, 5)
  body.writeUInt32LE(serverId, 7)
  name.copy(body, 11)
  return body
}

/** What mysql2 sends. */
class OutPacket {
  readonly buffer: Buffer

  constructor(private readonly body: Buffer) {
    this.buffer = Buffer.concat([Buffer.alloc(PACKET_HEADER_BYTES), body])
  }

  length(): number {
    return this.buffer.byteLength
  }

  writeHeader(sequenceId: number): void {
    this.buffer.writeUIntLE(this.body.byteLength, 0, 3)
    this.buffer.writeUInt8(sequenceId, 3)
  }
}
