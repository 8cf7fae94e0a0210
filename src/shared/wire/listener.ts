/**
 * An HTTP or HTTPS server on the address of the configuration, the same for both daemons.
 *
 * Time and size limits are set here once: a peer that sends its request slowly, or never ends it, is cut off.
 */

import { readFileSync } from 'node:fs'
import { createServer as createHttp } from 'node:http'
import { createServer as createHttps } from 'node:https'
import { BackupError, reason, systemCode } from '../errors.js'
import { refuseInJson } from './plain-refusals.js'
import type { IncomingMessage, RequestListener, Server } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface ListenOptions {
  readonly listen: { readonly host: string; readonly port: number }
  readonly tls: { readonly certFile: string; readonly keyFile: string } | null
}

/** A request is a few headers and at most some hundred kilobytes. */
const REQUEST_MS_MAX = 30_000
const HEADERS_MS_MAX = 10_000
/** How often the two are looked at; Node's own half a minute would more than double them. */
const DEADLINES_CHECK_MS = 1_000
const HEADER_BYTES_MAX = 16 * 1024
/** Longer than the pauses between a backup's requests while it works, so that its connections live on. */
const KEEP_ALIVE_MS = 75_000
const CONNECTIONS_MAX = 1_000

export interface Listener extends AsyncDisposable {
  readonly server: Server
  /** Where it really listens: port 0 of the configuration has become a number. */
  readonly url: string
}

/** Rejects with LISTEN_FAILED or CONFIG_INVALID (certificate). When disposal resolves, every connection is closed. */
export async function listen(options: ListenOptions, handler: RequestListener): Promise<Listener> {
  const server = createServer(options, handler)
  refuseInJson(server)
  server.requestTimeout = REQUEST_MS_MAX
  server.headersTimeout = HEADERS_MS_MAX
  server.keepAliveTimeout = KEEP_ALIVE_MS
  server.maxConnections = CONNECTIONS_MAX
  const { host, port } = options.listen
  await new Promise<void>((resolve, reject) => {
    server.once('error', error =>
      reject(
        new BackupError(
          'LISTEN_FAILED',
          `listen on ${host}:${port} (key listen): ${systemCode(error) === 'EADDRINUSE' ? 'another process has this port' : reason(error)}`,
          {},
          { cause: error },
        ),
      ),
    )
    server.listen(port, host, resolve)
  })
  const address = server.address() as AddressInfo
  const shown = address.family === 'IPv6' ? `[${address.address}]` : address.address
  return {
    server,
    url: `${options.tls ? 'https' : 'http'}://${shown}:${address.port}`,
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>(resolve => server.close(() => resolve()))
      server.closeAllConnections()
      await closed
    },
  }
}

function createServer({ tls }: ListenOptions, handler: RequestListener): Server {
  const common = {
    maxHeaderSize: HEADER_BYTES_MAX,
    noDelay: true,
    connectionsCheckingInterval: DEADLINES_CHECK_MS,
    requireHostHeader: false, // it would be missed without a code
  }
  if (!tls) return createHttp(common, handler)
  try {
    const [cert, key] = [readFileSync(tls.certFile), readFileSync(tls.keyFile)]
    return createHttps({ ...common, cert, key, handshakeTimeout: HEADERS_MS_MAX }, handler)
  } catch (cause) {
    throw new BackupError('CONFIG_INVALID', `load tls_cert and tls_key: ${reason(cause)}`, {}, { cause })
  }
}

export const peerAddress = (request: IncomingMessage): string => request.socket.remoteAddress ?? 'unknown'

/** The whole body; rejects with BAD_REQUEST beyond `bytesMax`. */
export async function readBody(request: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength
    if (bytes > bytesMax) throw new BackupError('BAD_REQUEST', `read a request: more than ${bytesMax} bytes`)
    chunks.push(chunk)
  }
  return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)
}
