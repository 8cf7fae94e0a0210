/** Agents that have the token and speak WebSocket as they please: wrong frames, wrong order, wrong events. */

import { randomBytes } from 'node:crypto'
import { EventSeal, VERSION_HEADER, authKey } from '../../src/shared/wire/auth.js'
import { signedHeaders } from '../support/hostile-sockets.js'
import { TOKEN } from '../support/pair.js'
import { changed, converse } from './talk.js'
import type { Random } from '../kinds/random.js'
import type { Address, Inputs, Speaker } from './talk.js'

const EVENTS = '/v1/events'
const OPCODES = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

/** A frame as a client must send it, masked; whatever is odd about it is chosen by the caller. */
function frame(
  payload: Buffer,
  { opcode = 1 as number, fin = true, masked = true, reserved = 0, says = payload.byteLength },
): Buffer {
  const first = (fin ? 0x80 : 0) | (reserved << 4) | opcode
  const bit = masked ? 0x80 : 0
  const length =
    says < 126
      ? Buffer.of(first, bit | says)
      : says < 65_536
        ? Buffer.of(first, bit | 126, says >> 8, says & 255)
        : Buffer.concat([Buffer.of(first, bit | 127, 0, 0, 0, 0), uint32(says)])
  if (!masked) return Buffer.concat([length, payload])
  const mask = randomBytes(4)
  return Buffer.concat([length, mask, payload.map((byte, i) => byte ^ (mask[i % 4] as number))])
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value >>> 0)
  return bytes
}

/** What an agent says first, and what proves its messages after that. */
function upgrade(random: Random): { hello: Buffer; seal: EventSeal } {
  const proof = signedHeaders('GET', EVENTS)
  const nonce = /nonce=(\w+)/.exec(proof['authorization'] ?? '')?.[1] ?? ''
  const signed = random.chance(0.9) ? proof : {}
  const headers: Record<string, string> = {
    host: 'x',
    connection: 'Upgrade',
    upgrade: random.chance(0.95) ? 'websocket' : 'h2c',
    'sec-websocket-version': random.chance(0.95) ? '13' : '12',
    'sec-websocket-key': random.chance(0.95) ? randomBytes(16).toString('base64') : 'x',
    ...signed,
  }
  if (random.chance(0.03)) headers[VERSION_HEADER] = '7'
  if (random.chance(0.03)) headers['sec-websocket-extensions'] = 'permessage-deflate; client_max_window_bits=99'
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  const hello = changed(Buffer.from([`GET ${EVENTS} HTTP/1.1`, ...lines, '', ''].join('\r\n')), random, 0.05)
  return { hello, seal: new EventSeal(authKey(TOKEN), nonce) }
}

/** Well-formed events of one epoch, with gaps and repetitions; then whatever the pool has. */
function message(random: Random, inputs: Inputs, number: { seq: number }): Buffer {
  const pooled = random.pick(inputs.event) ?? Buffer.alloc(0)
  if (random.chance(0.4)) return pooled
  try {
    number.seq += random.chance(0.9) ? 1 : random.below(5)
    const json = JSON.parse(pooled.toString()) as Record<string, unknown>
    return Buffer.from(JSON.stringify({ ...json, epoch: 'f'.repeat(16), seq: number.seq }))
  } catch {
    return pooled
  }
}

function frames(random: Random, inputs: Inputs, seal: EventSeal): Buffer[] {
  const number = { seq: 0 }
  return Array.from({ length: random.below(12) }, () => {
    const kind = random.weighted({ whole: 12, binary: 2, pieces: 2, control: 2, lies: 1, huge: 1, odd: 1 })
    if (kind === 'control') return frame(random.bytes(random.below(130)), { opcode: random.pick([8, 9, 9, 10]) ?? 9 })
    const text = message(random, inputs, number)
    const payload = random.chance(0.95) ? Buffer.from(seal.seal(text.toString())) : text
    const at = random.below(payload.byteLength + 1)
    switch (kind) {
      case 'whole':
        return frame(payload, {})
      case 'binary':
        return frame(payload, { opcode: OPCODES.binary })
      case 'pieces': {
        const rest = frame(payload.subarray(at), { opcode: OPCODES.continuation })
        const ping = random.chance(0.5) ? frame(Buffer.from('between'), { opcode: OPCODES.ping }) : Buffer.alloc(0)
        return Buffer.concat([frame(payload.subarray(0, at), { fin: false }), ping, rest])
      }
      case 'lies':
        return frame(payload, { says: random.pick([0, 1, 126, 5_000, 2 ** 31, 2 ** 32 - 1]) ?? 0 })
      case 'huge':
        return frame(Buffer.alloc(random.pick([4_096, 4_097, 100_000]) ?? 1, ' '), {})
      case 'odd':
        return frame(payload, { opcode: random.below(16), masked: random.chance(0.5), reserved: random.below(8) })
    }
  })
}

export const agents = (address: Address, inputs: Inputs): Speaker => ({
  name: 'backup: WebSocket',
  async speak(random, tally) {
    const { hello, seal } = upgrade(random)
    const said = frames(random, inputs, seal).map(one => changed(one, random, 0.05))
    tally.count('backup: WebSocket frames sent', said.length)
    tally.heard('backup', await converse(address, [hello, ...said], random), hello)
  },
})
