/** Who has the token and speaks to a backup's events address as an agent does, and says what it likes. */

import { once } from 'node:events'
import { WebSocket } from 'ws'
import { EventSeal, VERSION_HEADER, authKey, signRequest } from '../../src/shared/wire/auth.js'
import { PROTOCOL_VERSION } from '../../src/shared/wire/sync-messages.js'
import { TOKEN } from './pair.js'

const PATH = '/v1/events'

export class FakeAgent implements Disposable {
  readonly closed: Promise<unknown>
  #seq = 0

  private constructor(
    readonly socket: WebSocket,
    private readonly seal: EventSeal,
  ) {
    this.closed = once(socket, 'close')
    socket.on('error', () => {})
  }

  static async connect(port: number, token = TOKEN): Promise<FakeAgent> {
    const key = authKey(token)
    const { nonce, headers } = signRequest(key, { method: 'GET', path: PATH, body: '' })
    const socket = new WebSocket(`ws://127.0.0.1:${port}${PATH}`, {
      headers: { ...headers, [VERSION_HEADER]: String(PROTOCOL_VERSION) },
    })
    await once(socket, 'open')
    return new FakeAgent(socket, new EventSeal(key, nonce))
  }

  /** With the next number, and under its seal. */
  say(message: object): void {
    this.saySealed(JSON.stringify({ epoch: 'f'.repeat(16), seq: ++this.#seq, ...message }))
  }

  saySealed(text: string): void {
    this.socket.send(this.seal.seal(text))
  }

  changed(repo: string, head: string | null): void {
    this.say({ type: 'event', repo, head, agoMs: 0 })
  }

  [Symbol.dispose](): void {
    this.socket.terminate()
  }
}
