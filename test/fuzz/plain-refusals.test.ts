/** What Node's HTTP server would refuse in its own way, at each of the three doors. */

import { once } from 'node:events'
import { createServer } from 'node:http'
import t from 'tap'
import { refuseInJson } from '../../src/shared/wire/plain-refusals.js'
import { Random } from '../kinds/random.js'
import { HostileSocket, signedHeaders } from '../support/hostile-sockets.js'
import { Pair } from '../support/pair.js'
import { answersIn, codeOf } from './answers.js'
import { portOf } from './protocol-run.js'
import { converse } from './talk.js'
import type { AddressInfo } from 'node:net'
import type { Address } from './talk.js'

const HOST = 'host: x\r\n'
const UPGRADE = `${HOST}connection: upgrade\r\nupgrade: websocket\r\n`
const proof = () =>
  Object.entries(signedHeaders('GET', '/v1/events'))
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')

/** What is sent, and the status with which it must be refused. */
const REFUSED: ReadonlyArray<{ what: string; says: () => string; status: number; backupOnly?: boolean }> = [
  { what: 'no HTTP at all', says: () => '\u0016\u0003\u0001 hello\r\n\r\n', status: 400 },
  { what: 'a header beyond the bound', says: () => `GET / HTTP/1.1\r\nx: ${'a'.repeat(70_000)}\r\n\r\n`, status: 431 },
  {
    what: 'two lengths',
    says: () => `POST / HTTP/1.1\r\n${HOST}content-length: 1\r\ncontent-length: 2\r\n\r\n`,
    status: 400,
  },
  {
    what: 'an expectation',
    says: () => `GET /v1/x HTTP/1.1\r\n${HOST}expect: more\r\nconnection: close\r\n\r\n`,
    status: 417,
  },
  {
    what: 'a WebSocket with a key that is none',
    says: () =>
      `GET /v1/events HTTP/1.1\r\n${UPGRADE}${proof()}sec-websocket-version: 13\r\nsec-websocket-key: x\r\n\r\n`,
    status: 400,
    backupOnly: true,
  },
  {
    what: 'a plain request',
    says: () => `GET / HTTP/1.1\r\n${HOST}connection: close\r\n\r\n`,
    status: 404,
    backupOnly: true,
  },
]

t.test(
  'refusals: what is no HTTP, too long, or expects what is not done is refused with a code, at every door',
  async t => {
    await using pair = await Pair.start()
    const port = async (role: 'primary' | 'backup'): Promise<Address> => ({
      port: await portOf(pair, role),
      host: '127.0.0.1',
    })
    const doors = { agent: await port('primary'), backup: await port('backup'), control: { path: pair.socketPath } }
    const patient = new Random(1)
    patient.chance = () => false
    for (const [door, address] of Object.entries(doors)) {
      for (const { what, says, status, backupOnly } of REFUSED) {
        if (backupOnly && door !== 'backup') continue
        const answers = answersIn(await converse(address, [Buffer.from(says())], patient))
        t.match(answers, [{ status }], `${door}: ${what}`)
        t.ok(answers[0] && codeOf(answers[0]), `${door}: ${what}: with a code`)
      }
      const noHost = answersIn(await converse(address, [Buffer.from('GET /v1/nothing HTTP/1.1\r\n\r\n')], patient))
      t.ok(noHost[0] && codeOf(noHost[0]), `${door}: no host`)
    }
  },
)

t.test('refusals: into the middle of an answer nothing is said; the connection ends', async t => {
  const server = createServer((_request, response) => void response.writeHead(200).write('half of it'))
  refuseInJson(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => void server.close())
  using socket = new HostileSocket((server.address() as AddressInfo).port)
  socket.say(`GET / HTTP/1.1\r\n${HOST}\r\n`)
  while (!socket.heard.includes('half of it')) await once(socket.socket, 'data')
  socket.say('no HTTP at all\r\n\r\n')
  await socket.closed
  t.notMatch(socket.heard, /400|BAD_REQUEST/)
})
