/** What is asked of whatever reads bytes that somebody else wrote, and how one case is judged. */

import { hash } from 'node:crypto'
import { inspect, isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { BackupError } from '../../src/shared/errors.js'
import { anyBytes, damaged, oddJson, spoilt } from './mutate.js'
import type { ErrorCode } from '../../src/shared/errors.js'

export interface Case {
  readonly input: Buffer
  /** Set for valid input: what it must be decoded to. */
  readonly means?: { readonly value: unknown }
}

export interface Decoder {
  readonly name: string
  readonly cases: fc.Arbitrary<Case>
  decode(input: Buffer): unknown
  /** Whether it may refuse so. */
  refuses(error: unknown): boolean
  /** Whether it may give this. */
  right(value: never, input: Buffer): boolean
}

/** A single case that takes longer is worth a look; it fails nothing, because a machine may be busy. */
export const SLOW_MS = 2_000
const REASON_LENGTH_MAX = 700

/** Words of the engine's own: whoever reads them learns that a check is missing, not what is wrong. */
const ENGINE_WORDS = /is not a function|is not iterable|Cannot (read|convert)|is not defined|Unexpected (token|end)/

/** Ends a line, moves a terminal's cursor, or turns its text round. */
const UNPRINTABLE = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u

/** In one line that is fit for a log, and in our words. */
export const isSaid = (message: string): boolean =>
  message.length < REASON_LENGTH_MAX && !UNPRINTABLE.test(message) && !ENGINE_WORDS.test(message)

/** Refuses with one of these codes, and says why. */
export const coded =
  (...codes: readonly ErrorCode[]) =>
  (error: unknown): boolean =>
    error instanceof BackupError && codes.includes(error.code) && isSaid(error.message)

export interface Verdict {
  /** What is wrong; null: nothing. */
  readonly problem: string | null
  readonly ms: number
}

const PROTOTYPES = [Object.prototype, Array.prototype, String.prototype, Function.prototype] as const
const keysOfPrototypes = (): number => PROTOTYPES.reduce<number>((sum, one) => sum + Reflect.ownKeys(one).length, 0)
const KEYS = keysOfPrototypes()

export async function judge(decoder: Decoder, one: Case): Promise<Verdict> {
  const from = performance.now()
  const problem = await problemOf(decoder, one)
  const ms = performance.now() - from
  if (keysOfPrototypes() !== KEYS) return { problem: 'changed a prototype that everybody shares', ms }
  return { problem, ms }
}

async function problemOf(decoder: Decoder, { input, means }: Case): Promise<string | null> {
  let value: unknown
  try {
    value = await decoder.decode(input)
  } catch (error) {
    if (!decoder.refuses(error)) return `threw what it must not: ${inspect(error).slice(0, 1_500)}`
    return means ? `refused what is valid: ${String(error)}` : null
  }
  if (means && !isDeepStrictEqual(value, means.value)) {
    return `made ${shown(value)} of what means ${shown(means.value)}`
  }
  return decoder.right(value as never, input) ? null : `gave what it promises not to: ${shown(value)}`
}

const shown = (value: unknown): string => inspect(value, { depth: 6, maxStringLength: 200 }).slice(0, 1_500)

const jsonOf = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))

/** Any bytes, any JSON, valid values, and valid values spoilt in their bytes and in their structure. */
export const jsonCases = <T>(
  valid: fc.Arbitrary<T>,
  meaning: (value: T) => unknown = value => value,
): fc.Arbitrary<Case> =>
  fc.oneof(
    { weight: 1, arbitrary: anyBytes().map(input => ({ input })) },
    { weight: 2, arbitrary: oddJson.map(text => ({ input: Buffer.from(text) })) },
    { weight: 3, arbitrary: valid.map(value => ({ input: jsonOf(value), means: { value: meaning(value) } })) },
    { weight: 3, arbitrary: damaged(valid.map(jsonOf)).map(input => ({ input })) },
    { weight: 6, arbitrary: spoilt(valid).map(input => ({ input })) },
  )

/** As `jsonCases`, for what is not JSON; `more` are further inputs of which nobody says what they mean. */
export const byteCases = <T>(
  valid: fc.Arbitrary<T>,
  encode: (value: T) => Buffer,
  meaning: (value: T) => unknown = value => value,
  more: fc.Arbitrary<Buffer> = anyBytes(60),
): fc.Arbitrary<Case> =>
  fc.oneof(
    { weight: 2, arbitrary: anyBytes().map(input => ({ input })) },
    { weight: 1, arbitrary: more.map(input => ({ input })) },
    { weight: 3, arbitrary: valid.map(value => ({ input: encode(value), means: { value: meaning(value) } })) },
    { weight: 6, arbitrary: damaged(valid.map(encode)).map(input => ({ input })) },
  )

/** Fields in the order of the type; without a null prototype, as JSON gives it. */
export const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record<T>(model, { noNullPrototype: true })

/** The same bytes are always cut in the same places. */
export function* piecesOf(input: Buffer): Generator<Buffer> {
  const sizes = hash('sha1', input, 'buffer')
  for (let at = 0, turn = 0; at < input.byteLength; turn++) {
    const size = ((sizes[turn % sizes.byteLength] as number) % 13) + (turn % 3 === 0 ? 1 : 0)
    yield input.subarray(at, at + size)
    at += size
  }
}
