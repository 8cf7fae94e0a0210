/**
 * Who is on the other side: mutual proof of the shared token, which itself never travels.
 *
 * A request carries an HMAC-SHA256 over role, method, path, time, nonce and the
 * digest of its body. The answer carries one over the same nonce, the status
 * and the digest of its body (for a stream: see stream-seal.ts). The two
 * directions use different words, so neither can be played back as the other.
 * While a token is replaced a side holds two: a request carries one HMAC per
 * token, and is answered with the key that both sides have.
 * Requests outside the clock window, or with a nonce seen within it, are refused.
 */

import { createHmac, hash, randomBytes, timingSafeEqual } from 'node:crypto'
import { TOKENS_MAX } from '../config-values.js'
import { BackupError } from '../errors.js'

export const AUTH_HEADER = 'authorization'
export const PROOF_HEADER = 'x-seaf-backup-proof'
export const VERSION_HEADER = 'x-seaf-backup-protocol'
const SCHEME = 'SEAF-BACKUP-HMAC'

/** Two hosts kept by NTP differ by milliseconds; two minutes forgives a broken one and keeps the nonce list short. */
export const CLOCK_WINDOW_MS = 120_000
/** At 1,000 requests a second the window holds 240,000 of them. */
const NONCES_MAX = 500_000
const NONCE_HEX = 32

/** Never the token itself: what was derived from it cannot be turned back, should it ever reach a log or a core dump. */
export type AuthKey = Buffer & { readonly authKey: true }

export const authKey = (syncToken: string): AuthKey =>
  createHmac('sha256', syncToken).update('seaf-backup 1').digest() as AuthKey

/** Of the tokens that a side holds, the newest first; at most TOKENS_MAX. */
export type AuthKeys = readonly AuthKey[]

export const authKeys = (syncTokens: readonly string[]): AuthKeys => syncTokens.map(authKey)

export interface SignedRequest {
  readonly nonce: string
  readonly headers: Readonly<Record<string, string>>
}

const listOf = (keys: AuthKey | AuthKeys): AuthKeys => (Buffer.isBuffer(keys) ? [keys as AuthKey] : (keys as AuthKeys))

const bodyDigest = (body: string | Uint8Array): string => hash('sha256', body, 'hex')

export function signRequest(
  keys: AuthKey | AuthKeys,
  request: { method: string; path: string; body: string | Uint8Array },
  now = Date.now(),
): SignedRequest {
  const nonce = randomBytes(NONCE_HEX / 2).toString('hex')
  const macs = listOf(keys).map(key => `,mac=${requestMac(key, { ...request, time: now, nonce })}`)
  return { nonce, headers: { [AUTH_HEADER]: `${SCHEME} time=${now},nonce=${nonce}${macs.join('')}` } }
}

function requestMac(
  key: AuthKey,
  {
    method,
    path,
    body,
    time,
    nonce,
  }: { method: string; path: string; body: string | Uint8Array; time: number; nonce: string },
): string {
  return createHmac('sha256', key)
    .update(`request\n${method}\n${path}\n${time}\n${nonce}\n${bodyDigest(body)}`)
    .digest('hex')
}

/** What the answer to the request with `nonce` must carry. `body` is 'stream' when the body carries its own proof. */
export function answerProof(
  key: AuthKey,
  answer: { nonce: string; status: number; body: string | Uint8Array | 'stream' },
): string {
  const digest = answer.body === 'stream' ? 'stream' : bodyDigest(answer.body)
  return createHmac('sha256', key).update(`answer\n${answer.nonce}\n${answer.status}\n${digest}`).digest('hex')
}

/** The key with which an answer was proved; undefined: none that we have. */
export const provingKey = (
  keys: AuthKeys,
  answer: Parameters<typeof answerProof>[1],
  given: unknown,
): AuthKey | undefined => keys.find(key => sameProof(answerProof(key, answer), given))

/**
 * The messages of one events connection, each behind a MAC of itself and of its place: on a line without TLS nobody can
 * change, repeat, reorder or leave out one. One for each side; `nonce` is that of the upgrade.
 */
export class EventSeal {
  #number = 0

  constructor(
    private readonly key: AuthKey,
    private readonly nonce: string,
  ) {}

  seal(text: string): string {
    return this.#mac(text) + text
  }

  /** The text of the next message. Throws TOKEN_MISMATCH. */
  open(message: Buffer): Buffer {
    const text = message.subarray(SEAL_BYTES)
    if (!sameProof(this.#mac(text), message.toString('latin1', 0, SEAL_BYTES)))
      throw new BackupError('TOKEN_MISMATCH', 'check an event: it is not the next one of who has the sync token')
    return text
  }

  #mac(text: string | Uint8Array): string {
    return createHmac('sha256', this.key).update(`event\n${this.nonce}\n${this.#number++}\n`).update(text).digest('hex')
  }
}

/** Before each message of the events connection. */
export const SEAL_BYTES = 64

export function sameProof(expected: string, given: unknown): boolean {
  if (typeof given !== 'string' || given.length !== expected.length) return false
  // UTF-8, because latin1 drops high bytes: another text would be the same
  const [ours, theirs] = [Buffer.from(expected), Buffer.from(given)]
  return ours.byteLength === theirs.byteLength && timingSafeEqual(ours, theirs)
}

const HEADER = new RegExp(
  `^${SCHEME} time=(\\d{1,16}),nonce=([0-9a-f]{${NONCE_HEX}})((?:,mac=[0-9a-f]{64}){1,${TOKENS_MAX}})$`,
)

interface CheckedRequest {
  readonly method: string
  readonly path: string
  readonly body: string | Uint8Array
  readonly header: string | undefined
}

/** A request made by somebody who has a token of ours; `key` proves the answer to it. */
export interface ProvenRequest {
  readonly nonce: string
  readonly key: AuthKey
  readonly time: number
}

/** Checks requests; one a listener, because it remembers nonces. */
export class RequestGuard {
  /** In order of arrival, so that the old ones are found at the front. */
  readonly #seen = new Map<string, number>()

  readonly #keys: AuthKeys

  constructor(
    keys: AuthKey | AuthKeys,
    private readonly now: () => number = Date.now,
  ) {
    this.#keys = listOf(keys)
  }

  /** The request's nonce. Throws what `prove` and `admit` throw. */
  check(request: CheckedRequest): string {
    const proven = this.prove(request)
    this.admit(proven)
    return proven.nonce
  }

  /** Throws TOKEN_MISMATCH. Says nothing of when the request was made: see `admit`. */
  prove(request: CheckedRequest): ProvenRequest {
    const parts = HEADER.exec(request.header ?? '')
    if (!parts) throw new BackupError('TOKEN_MISMATCH', 'check a request: it carries no proof of the sync token')
    const [, digits, nonce, list] = parts as unknown as [string, string, string, string]
    const time = Number(digits)
    const macs = list.split(',mac=').slice(1)
    const key = this.#keys.find(ours => {
      const expected = requestMac(ours, { ...request, time, nonce })
      return macs.some(mac => sameProof(expected, mac))
    })
    if (!key) throw new BackupError('TOKEN_MISMATCH', 'check a request: it was made with another sync token')
    return { nonce, key, time }
  }

  /** Throws CLOCK_SKEW, or TOKEN_MISMATCH for what was sent before; a nonce is remembered only of a request that proved itself. */
  admit({ nonce, time }: ProvenRequest): void {
    const now = this.now()
    const skew = Math.abs(now - time)
    if (skew > CLOCK_WINDOW_MS) {
      throw new BackupError('CLOCK_SKEW', `check a request: the two clocks are ${Math.round(skew / 1000)} s apart`, {
        nonce,
      })
    }
    this.#remember(nonce, now)
  }

  #remember(nonce: string, now: number): void {
    for (const [old, at] of this.#seen) {
      if (Math.abs(now - at) <= 2 * CLOCK_WINDOW_MS) break // a clock that was set back leaves some in the future
      this.#seen.delete(old)
    }
    if (this.#seen.has(nonce)) throw new BackupError('TOKEN_MISMATCH', 'check a request: it was sent before')
    if (this.#seen.size >= NONCES_MAX) throw new BackupError('TOKEN_MISMATCH', 'check a request: too many requests')
    this.#seen.set(nonce, now)
  }
}

const FAILURE_WINDOW_MS = 60_000
const ADDRESSES_MAX = 10_000

/**
 * Keeps the log readable while somebody guesses. Nobody is shut out by it: 160 bits need no protection against
 * guessing, and behind a proxy the guesser has the address of the other side.
 */
export class FailureLimit {
  /** When the window of an address began. */
  readonly #failures = new Map<string, number>()

  constructor(private readonly now: () => number = () => performance.now()) {}

  /** True for the first of an address within a minute: that one is worth a log line. */
  failed(address: string): boolean {
    const since = this.#failures.get(address)
    if (since !== undefined && this.now() - since < FAILURE_WINDOW_MS) return false
    if (this.#failures.size >= ADDRESSES_MAX) this.#failures.clear()
    this.#failures.set(address, this.now())
    return true
  }
}
