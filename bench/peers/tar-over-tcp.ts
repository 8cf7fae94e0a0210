/** `tar` on either end of a socket on loopback: the least that a copy over a network can cost. */

import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { ended, startProgram } from '../programs.js'
import type { AddressInfo, Server, Socket } from 'node:net'
import type { Peer, PeerCopy } from './peer.js'

export const tarOverTcp: Peer = {
  name: 'tar over TCP',
  programs: ['tar'],
  again: false,
  async open(source, dir): Promise<PeerCopy> {
    const copy = join(dir, 'copy')
    await mkdir(copy)
    const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    return {
      daemons: [],
      run: () => copyOnce(server, source, copy),
      async [Symbol.asyncDispose]() {
        server.close()
        await once(server, 'close')
      },
    }
  },
}

/** The programs get the sockets themselves; no byte passes through this process. */
async function copyOnce(server: Server, source: string, copy: string): Promise<void> {
  const near = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [[far]] = (await Promise.all([once(server, 'connection'), once(near, 'connect')])) as [[Socket], unknown]
  const unpacking = startProgram('tar', ['-xf', '-', '-C', copy], { stdio: [far, 'ignore', 'pipe'] })
  const packing = startProgram('tar', ['-cf', '-', '-C', source, '.'], { stdio: ['ignore', near, 'pipe'] })
  for (const socket of [near, far]) socket.destroy() // ours; theirs stay open, and the end of one is the end for the other
  await Promise.all([ended(packing, 'tar -c'), ended(unpacking, 'tar -x')])
}
