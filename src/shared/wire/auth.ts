/**
 * Who is on the other side: mutual proof of the shared token, which itself never travels.
 *
 * A request carries an HMAC-SHA256 over role, method, path, time, nonce and the
 * digest of its body. The answer carries one over the same nonce, the status
 * and the digest of its body (for a stream: see frames.ts, END). The two
 * directions use different words, so neither can be played back as the other.
 * Requests outside the clock window, or with a nonce seen within it, are refused.
 */

import { createHmac, hash, randomBytes, timingSafeEqual } from 'node:crypto'
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

export interface SignedRequest {
  readonly nonce: string
  readonly headers: Readonly<Record<string, string>>
}

const bodyDigest = (body: string | Uint8Array): string => hash('sha256', body, 'hex')

export function signRequest(
  key: AuthKey,
  request: { method: string; path: string; body: string | Uint8Array },
  now = Date.now(),
): SignedRequest {
  const nonce = randomBytes(NONCE_HEX / 2).toString('hex')
  const mac = requestMac(key, { ...request, time: now, nonce })
  return { nonce, headers: { [AUTH_HEADER]: `${SCHEME} time=${now},nonce=${nonce},mac=${mac}` } }
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

/** Over the frames of a stream that do not prove themselves, in their order. */
export function streamMac(key: AuthKey, nonce: string) {
  return createHmac('sha256', key).update(`stream\n${nonce}\n`)
}

export function sameProof(expected: string, given: unknown): boolean {
  if (typeof given !== 'string' || given.length !== expected.length) return false
  // UTF-8, because latin1 drops high bytes: another text would be the same
  const [ours, theirs] = [Buffer.from(expected), Buffer.from(given)]
  return ours.byteLength === theirs.byteLength && timingSafeEqual(ours, theirs)
}

const HEADER = new RegExp(`^${SCHEME} time=(\\d{1,16}),nonce=([0-9a-f]{${NONCE_HEX}}),mac=([0-9a-f]{64})$`)

/** Checks requests; one a listener, because it remembers nonces. */
export class RequestGuard {
  /** In order of arrival, so that the old ones are found at the front. */
  readonly #seen = new Map<string, number>()

  constructor(
    readonly key: AuthKey,
    private readonly now: () => number = Date.now,
  ) {}

  /** The request's nonce. Rejects with TOKEN_MISMATCH or CLOCK_SKEW; a nonce is remembered only of a request that proved itself. */
  check(request: { method: string; path: string; body: string | Uint8Array; header: string | undefined }): string {
    const parts = HEADER.exec(request.header ?? '')
    if (!parts) throw new BackupError('TOKEN_MISMATCH', 'check a request: it carries no proof of the sync token')
    const [, time, nonce, mac] = parts as unknown as [string, string, string, string]
    const expected = requestMac(this.key, { ...request, time: Number(time), nonce })
    if (!sameProof(expected, mac)) {
      throw new BackupError('TOKEN_MISMATCH', 'check a request: it was made with another sync token')
    }
    const now = this.now()
    const skew = Math.abs(now - Number(time))
    if (skew > CLOCK_WINDOW_MS) {
      throw new BackupError('CLOCK_SKEW', `check a request: the two clocks are ${Math.round(skew / 1000)} s apart`, {
        nonce,
      })
    }
    this.#remember(nonce, now)
    return nonce
  }

  #remember(nonce: string, now: number): void {
    for (const [old, at] of this.#seen) {
      if (now - at <= 2 * CLOCK_WINDOW_MS) break
      this.#seen.delete(old)
    }
    if (this.#seen.has(nonce)) throw new BackupError('TOKEN_MISMATCH', 'check a request: it was sent before')
    if (this.#seen.size >= NONCES_MAX) throw new BackupError('TOKEN_MISMATCH', 'check a request: too many requests')
    this.#seen.set(nonce, now)
  }
}

/** Failed proofs of one address before it must wait: a person who mistyped a token, not a guesser. */
const FAILURES_MAX = 10
const FAILURE_WINDOW_MS = 60_000
const ADDRESSES_MAX = 10_000

/** Slows down whoever guesses, and keeps the log readable meanwhile. */
export class FailureLimit {
  readonly #failures = new Map<string, { count: number; since: number }>()

  constructor(private readonly now: () => number = Date.now) {}

  /** True when the address failed too often within a minute. */
  blocked(address: string): boolean {
    const entry = this.#failures.get(address)
    return entry !== undefined && entry.count >= FAILURES_MAX && this.now() - entry.since < FAILURE_WINDOW_MS
  }

  /** Counts one; true for the first of a window: that one is worth a log line. */
  failed(address: string): boolean {
    const entry = this.#failures.get(address)
    if (entry && this.now() - entry.since < FAILURE_WINDOW_MS) {
      entry.count += 1
      return false
    }
    if (this.#failures.size >= ADDRESSES_MAX) this.#failures.clear()
    this.#failures.set(address, { count: 1, since: this.now() })
    return true
  }
}
