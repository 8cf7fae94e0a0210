/**
 * What Node would refuse in its own way, without a body: requests that are no HTTP, too long or too slow, or that
 * expect what is not done. Here it is refused as everything else is: with a code, in JSON.
 */

import { STATUS_CODES } from 'node:http'
import { systemCode } from '../errors.js'
import type { RequestListener, Server, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { ErrorCode } from '../errors.js'

export type RefusalBody = (code: ErrorCode, message: string) => object

const STATUS: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
}

/** For a server that was made with `requireHostHeader: false`: who must prove a token need not name a host. */
export function refuseInJson(server: Server, bodyOf: RefusalBody = (code, message) => ({ code, message })): void {
  const answering = new WeakMap<Duplex, ServerResponse>()
  server.prependListener('request', (request, response) => void answering.set(request.socket, response))
  server.on('clientError', (error, socket) => {
    const answer = answering.get(socket)
    const isBusy = answer !== undefined && answer.headersSent && !answer.writableFinished
    // into the middle of an answer nothing can be said, and to who has hung up neither
    if (!socket.writable || isBusy || systemCode(error) === 'ECONNRESET') return void socket.destroy()
    const status = STATUS[systemCode(error) ?? ''] ?? 400
    const message = `read a request: ${STATUS_CODES[status]?.toLowerCase()}`
    socket.end(rawAnswer(status, JSON.stringify(bodyOf('BAD_REQUEST', message))), () => socket.destroy())
  })
  const unexpected: RequestListener = (_request, response) => {
    const body = JSON.stringify(bodyOf('BAD_REQUEST', 'read a request: it expects what is not done here'))
    response.writeHead(417, { 'content-type': 'application/json', connection: 'close' }).end(body)
  }
  server.on('checkExpectation', unexpected)
}

/** For a socket that has no ServerResponse. */
export function rawAnswer(status: number, body: string, headers: Readonly<Record<string, string>> = {}): string {
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'connection: close',
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ]
  return `${lines.join('\r\n')}\r\n\r\n${body}`
}
