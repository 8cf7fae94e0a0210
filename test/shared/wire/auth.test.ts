import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import fc from 'fast-check'
import t from 'tap'
import {
  answerProof,
  AUTH_HEADER,
  authKey,
  CLOCK_WINDOW_MS,
  FailureLimit,
  provingKey,
  RequestGuard,
  sameProof,
  signRequest,
} from '../../../src/shared/wire/auth.js'
import { BackupError } from '../../../src/shared/errors.js'
import { StreamSeal } from '../../../src/shared/wire/stream-seal.js'
import { buffer } from './support.js'
import type { AuthKey } from '../../../src/shared/wire/auth.js'
import type { Test } from 'tap'

const KEY = authKey('the sync token')
const NOW = 1_800_000_000_000
const REQUEST = { method: 'POST', path: '/v1/delta', body: '{"repo":"x"}' }
const MISMATCH = { code: 'TOKEN_MISMATCH' }
const SENT_BEFORE = { code: 'TOKEN_MISMATCH', message: /sent before/ }

const sign = (request = REQUEST, at = NOW, key = KEY) => signRequest(key, request, at).headers[AUTH_HEADER] as string
const guardAt = (at = NOW) => {
  const clock = { now: at }
  return { clock, guard: new RequestGuard(KEY, () => clock.now) }
}

const path = fc.webPath().map(some => some || '/')
const request = fc.record({
  method: fc.constantFrom('GET', 'POST', 'PUT'),
  path,
  body: fc.oneof(fc.string(), buffer()),
})

t.test('auth: a request made with another token is refused, however near that token is', async t => {
  for (const token of ['', 'the sync toke', 'the sync token ', 'The sync token', 'the sync token\n']) {
    const header = sign(REQUEST, NOW, authKey(token))
    t.throws(() => guardAt().guard.check({ ...REQUEST, header }), MISMATCH, JSON.stringify(token))
  }
})

t.test('auth: who has no token is not told how far apart the clocks are', async t => {
  const header = sign(REQUEST, NOW - 10 * CLOCK_WINDOW_MS, authKey('another'))
  t.throws(() => guardAt().guard.check({ ...REQUEST, header }), MISMATCH)
})

t.test('auth: a request whose method, path or body was changed on the way is refused', async t => {
  fc.assert(
    fc.property(request, request, fc.constantFrom('method', 'path', 'body'), (sent, other, field) => {
      fc.pre(!Buffer.from(sent[field]).equals(Buffer.from(other[field])))
      const header = signRequest(KEY, sent, NOW).headers[AUTH_HEADER]
      return Boolean(t.throws(() => guardAt().guard.check({ ...sent, [field]: other[field], header }), MISMATCH))
    }),
  )
})

t.test('auth: text cannot be moved between method, path and body', async t => {
  const header = sign({ method: 'GET', path: '/a?b', body: '' })
  for (const moved of [
    { method: 'GET/', path: 'a?b', body: '' },
    { method: 'GET', path: '/a?', body: 'b' },
    { method: 'GE', path: 'T/a?b', body: '' },
  ]) {
    t.throws(() => guardAt().guard.check({ ...moved, header }), MISMATCH)
  }
})

t.test(
  'auth: a request is taken to the last millisecond of the clock window, in both directions, and no further',
  async t => {
    for (const direction of [-1, 1]) {
      const { guard } = guardAt()
      const inside = sign(REQUEST, NOW + direction * CLOCK_WINDOW_MS)
      t.match(guard.check({ ...REQUEST, header: inside }), /^[0-9a-f]{32}$/)
      for (const by of [CLOCK_WINDOW_MS + 1, 3_600_000, NOW - 1]) {
        const { nonce, headers } = signRequest(KEY, REQUEST, NOW + direction * by)
        const refusal = { code: 'CLOCK_SKEW', details: { nonce }, message: `${Math.round(by / 1000)} s apart` }
        t.throws(() => guard.check({ ...REQUEST, header: headers[AUTH_HEADER] }), refusal, `${direction * by} ms`)
      }
    }
  },
)

t.test('auth: a request that is played back is refused for as long as its time would be taken', async t => {
  for (const ahead of [-CLOCK_WINDOW_MS, 0, CLOCK_WINDOW_MS]) {
    const { guard, clock } = guardAt()
    const header = sign(REQUEST, NOW + ahead)
    guard.check({ ...REQUEST, header })
    t.throws(() => guard.check({ ...REQUEST, header }), SENT_BEFORE, 'at once')
    const last = NOW + ahead + CLOCK_WINDOW_MS
    for (const at of [NOW + 1, last].filter(at => at <= last)) {
      clock.now = at
      guard.check({ ...REQUEST, header: sign(REQUEST, at) }) // a request between them makes the guard forget old ones
      t.throws(() => guard.check({ ...REQUEST, header }), SENT_BEFORE, `${at - NOW} ms later`)
    }
    clock.now = last + 1
    t.throws(() => guard.check({ ...REQUEST, header }), { code: 'CLOCK_SKEW' })
  }
})

t.test('auth: a forged request does not use up the nonce of the true one', async t => {
  const { guard } = guardAt()
  const header = sign()
  t.throws(() => guard.check({ ...REQUEST, body: 'forged', header }), MISMATCH)
  t.doesNotThrow(() => guard.check({ ...REQUEST, header }))
})

t.test(
  'auth: the guard remembers half a million nonces, refuses more, and takes requests when they are old',
  async t => {
    withCheapMacs(t)
    const { guard, clock } = guardAt()
    const check = (nonce: number) => {
      const parts = `time=${clock.now},nonce=${nonce.toString(16).padStart(32, '0')},mac=${'0'.repeat(64)}`
      return guard.check({ method: 'GET', path: '/', body: '', header: `SEAF-BACKUP-HMAC ${parts}` })
    }
    for (let nonce = 0; nonce < 500_000; nonce += 1) check(nonce)
    const tooMany = { code: 'TOKEN_MISMATCH', message: /too many/ }
    t.throws(() => check(500_000), tooMany)
    t.throws(() => check(0), SENT_BEFORE, 'the first is not forgotten for the last')
    clock.now += 2 * CLOCK_WINDOW_MS
    t.throws(() => check(500_000), tooMany)
    clock.now += 1
    t.doesNotThrow(() => check(500_000))
  },
)

/** Every MAC is zeros until the test ends: half a million real ones take a quarter of a minute. */
function withCheapMacs(t: Test) {
  const { createHmac } = crypto
  const set = (some: object) => {
    Object.assign(crypto, some)
    syncBuiltinESMExports()
  }
  const mac = { update: () => mac, digest: () => '0'.repeat(64) }
  set({ createHmac: () => mac })
  t.teardown(() => set({ createHmac }))
}

t.test('auth: a header that is cut anywhere, or with any one character changed, is refused', async t => {
  const header = sign()
  const refused = (changed: string | undefined) =>
    t.throws(() => guardAt().guard.check({ ...REQUEST, header: changed }), MISMATCH)
  for (let length = 0; length < header.length; length += 1) refused(header.slice(0, length))
  fc.assert(
    fc.property(fc.nat(header.length - 1), fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }), (at, other) => {
      fc.pre(header[at] !== other)
      return Boolean(refused(header.slice(0, at) + other + header.slice(at + 1)))
    }),
    { numRuns: 1_000 },
  )
})

t.test('auth: three proofs are refused, and two of which neither was made with a token of ours', async t => {
  const [other, third] = [authKey('another'), authKey('a third')]
  const signed = (keys: readonly AuthKey[]) => signRequest(keys, REQUEST, NOW).headers[AUTH_HEADER]
  t.throws(() => guardAt().guard.check({ ...REQUEST, header: signed([other, third]) }), MISMATCH)
  t.throws(() => guardAt().guard.check({ ...REQUEST, header: signed([KEY, other, third]) }), MISMATCH)
})

t.test(
  'auth: of sides of which one or both hold two tokens, each takes what the other proves with a common one',
  async t => {
    const [older, newer] = [authKey('older'), authKey('newer')]
    const held = { old: [older], both: [newer, older], new: [newer] }
    const meet = (asks: keyof typeof held, answers: keyof typeof held) => {
      const { nonce, headers } = signRequest(held[asks], REQUEST, NOW)
      const proven = new RequestGuard(held[answers], () => NOW).prove({ ...REQUEST, header: headers[AUTH_HEADER] })
      t.equal(proven.nonce, nonce)
      const answer = { nonce, status: 200, body: 'stream' }
      return provingKey(held[asks], answer, answerProof(proven.key, answer))
    }
    t.equal(meet('both', 'old'), older)
    t.equal(meet('old', 'both'), older)
    t.equal(meet('both', 'both'), newer, 'the newest that both have')
    t.equal(meet('both', 'new'), newer)
    t.equal(meet('new', 'both'), newer)
    t.throws(() => meet('old', 'new'), MISMATCH)
    t.throws(() => meet('new', 'old'), MISMATCH)
    const answer = { nonce: 'a'.repeat(32), status: 200, body: 'x' }
    t.equal(provingKey(held.new, answer, answerProof(older, answer)), undefined)
  },
)

t.test('auth: a header that is odd in any other way is refused as one without proof', async t => {
  const header = sign()
  const odd = [
    undefined,
    '',
    ' ',
    'Bearer x',
    ` ${header}`,
    `${header} `,
    `${header}\n`,
    `${header}, ${header}`,
    header.toUpperCase(),
    header.toLowerCase(),
    header.replace('time=', 'time=-'),
    header.replace('time=', 'time=0x'),
    header.replace(/time=\d+/, 'time='),
    header.replace(/time=\d+/, 'time=1e12'),
    header.replace(/time=\d+/, `time=${'9'.repeat(17)}`),
    header.replace(/time=\d+/, 'time=１'),
    header.replace(/(time=\d+),(nonce=\w+)/, '$2,$1'),
    header.replace(/nonce=\w+/, 'nonce='),
    header.replace(/mac=\w+/, 'mac='),
    `${header}${'0'.repeat(100_000)}`,
  ]
  const refusal = { code: 'TOKEN_MISMATCH', message: /no proof/ }
  for (const one of odd)
    t.throws(() => guardAt().guard.check({ ...REQUEST, header: one }), refusal, String(one).slice(0, 99))
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), text => {
      try {
        guardAt().guard.check({ ...REQUEST, header: text })
      } catch (error) {
        return error instanceof BackupError && error.code === 'TOKEN_MISMATCH'
      }
      return false
    }),
  )
})

t.test('auth: any request is taken once by whoever has the token, and its header does not carry the token', async t => {
  fc.assert(
    fc.property(request, fc.string({ minLength: 4 }), (sent, token) => {
      const key = authKey(token)
      const { nonce, headers } = signRequest(key, sent, NOW)
      const guard = new RequestGuard(authKey(token), () => NOW)
      return guard.check({ ...sent, header: headers[AUTH_HEADER] }) === nonce && !key.includes(token)
    }),
  )
  t.notMatch(sign(), /the sync token/)
  t.notMatch(sign(), KEY.toString('hex'))
  t.not(sign(), sign(), 'no two requests are the same')
})

t.test('auth: an answer is proven for one key, nonce, status and body only', async t => {
  const answer = { nonce: 'a'.repeat(32), status: 200, body: 'body' }
  const proof = answerProof(KEY, answer)
  t.equal(sameProof(proof, answerProof(KEY, { ...answer, body: Buffer.from('body') })), true, 'text or bytes are one')
  const others = [
    answerProof(authKey('another'), answer),
    answerProof(KEY, { ...answer, nonce: 'b'.repeat(32) }),
    answerProof(KEY, { ...answer, status: 204 }),
    answerProof(KEY, { ...answer, body: 'bodY' }),
    answerProof(KEY, { ...answer, body: '' }),
    answerProof(KEY, { ...answer, body: 'stream' }),
    new StreamSeal(KEY, answer.nonce).end(false),
  ]
  for (const other of others) t.equal(sameProof(proof, other), false)
  t.equal(new Set([proof, ...others]).size, others.length + 1, 'and no two of these are the same')
})

t.test('auth: the proof of a request is none of an answer with the same words', async t => {
  const header = sign({ method: '200', path: '', body: '' })
  const [, nonce = '', mac] = /nonce=(\w+),mac=(\w+)/.exec(header) ?? []
  t.equal(sameProof(answerProof(KEY, { nonce, status: 200, body: '' }), mac), false)
})

t.test('auth: a proof is the same as itself only: no other type, length or character, in any alphabet', async t => {
  const proof = answerProof(KEY, { nonce: '', status: 200, body: '' })
  t.equal(sameProof(proof, `${proof}`), true)
  for (const other of [undefined, null, 5, true, [proof], { length: 64 }, Buffer.from(proof), '', `${proof}0`]) {
    t.equal(sameProof(proof, other), false, typeof other)
  }
  for (let at = 0; at < proof.length; at += 1) {
    const changed = (code: number) => proof.slice(0, at) + String.fromCharCode(code) + proof.slice(at + 1)
    const is = proof.charCodeAt(at)
    for (const code of [is ^ 1, is ^ 0x80, is + 0x100, is + 0xd700]) {
      t.equal(sameProof(proof, changed(code)), false, `character ${at} as ${code.toString(16)}`)
    }
  }
})

t.test('auth: of the failures of one address within a minute the first is worth a log line, others none', async t => {
  const clock = { now: NOW }
  const limit = new FailureLimit(() => clock.now)
  t.equal(limit.failed('a'), true)
  for (let failures = 2; failures <= 10; failures += 1) t.equal(limit.failed('a'), false)
  t.equal(limit.failed('b'), true)
  clock.now += 59_999
  t.equal(limit.failed('a'), false)
  clock.now += 1
  t.equal(limit.failed('a'), true, 'a new minute, a new line')
})

t.test(
  'auth: failures from ever new addresses do not grow without bound: beyond ten thousand all are forgotten',
  async t => {
    const limit = new FailureLimit(() => NOW)
    for (let others = 0; others < 10_000; others += 1) limit.failed(`address ${others}`)
    t.equal(limit.failed('address 0'), false)
    limit.failed('one more')
    t.equal(limit.failed('address 0'), true)
  },
)
