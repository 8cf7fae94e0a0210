/** Reads what an HTTP server has written to a socket, however many answers it is, and counts them. */

import { isErrorCode } from '../../src/shared/errors.js'

export interface Answer {
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  readonly body: Buffer
  /** The body ended as its headers said. */
  readonly whole: boolean
}

const HEAD_END = Buffer.from('\r\n\r\n')

/** In their order; what comes after the last one that begins like an answer is left out. */
export function answersIn(bytes: Buffer): Answer[] {
  const answers: Answer[] = []
  for (let at = 0; at < bytes.byteLength;) {
    const end = bytes.indexOf(HEAD_END, at)
    if (end < 0) break
    const [first = '', ...lines] = bytes.toString('latin1', at, end).split('\r\n')
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(first)?.[1])
    if (!(status >= 100)) break
    const headers = new Map(
      lines.map(line => [line.split(':', 1)[0]?.toLowerCase() ?? '', line.replace(/^[^:]*: */, '')]),
    )
    const from = end + HEAD_END.byteLength
    const { body, next, whole } = bodyAt(bytes, from, status, headers)
    answers.push({ status, headers, body, whole })
    if (status === 101) break
    at = next
  }
  return answers
}

function bodyAt(bytes: Buffer, from: number, status: number, headers: ReadonlyMap<string, string>) {
  const length = headers.get('content-length')
  if (status < 200 || status === 204) return { body: Buffer.alloc(0), next: from, whole: true }
  if (length !== undefined) {
    const next = from + Number(length)
    return { body: bytes.subarray(from, next), next, whole: next <= bytes.byteLength }
  }
  if (headers.get('transfer-encoding') !== 'chunked') {
    return { body: bytes.subarray(from), next: bytes.byteLength, whole: true }
  }
  const chunks: Buffer[] = []
  for (let at = from; ;) {
    const end = bytes.indexOf('\r\n', at)
    const size = end < 0 ? NaN : Number.parseInt(bytes.toString('latin1', at, end), 16)
    if (!(size >= 0)) return { body: Buffer.concat(chunks), next: bytes.byteLength, whole: false }
    chunks.push(bytes.subarray(end + 2, end + 2 + size))
    at = end + 2 + size + 2
    if (size === 0) return { body: Buffer.concat(chunks), next: at, whole: true }
  }
}

/** The code that an answer of 400 or more carries in its JSON; undefined: none that is known. */
export function codeOf({ body }: Answer): string | undefined {
  try {
    const { code } = JSON.parse(body.toString()) as { code?: unknown }
    return isErrorCode(code) ? code : undefined
  } catch {
    return undefined
  }
}

/** How often what was answered, and every refusal without a code. */
export class Tally {
  readonly #counts = new Map<string, number>()
  readonly uncoded: string[] = []

  count(what: string, by = 1): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + by)
  }

  of(what: string): number {
    return this.#counts.get(what) ?? 0
  }

  /** Counts what was heard on one connection; `asked` is shown of what was refused without a code. */
  heard(who: string, bytes: Buffer, asked: Buffer): void {
    const answers = answersIn(bytes)
    if (answers.length === 0) this.count(`${who}: hung up without a word`)
    for (const answer of answers) {
      const code = answer.status >= 400 && answer.whole ? codeOf(answer) : undefined
      this.count(`${who}: ${answer.status}${code === undefined ? '' : ` ${code}`}`)
      if (answer.status < 400 || !answer.whole || code !== undefined) continue
      if (asked.includes('HEAD ') && /^(HTTP\/1|$)/.test(answer.body.toString('latin1', 0, 6))) continue // has no body
      if (this.uncoded.length < 20) {
        const said = answer.body.toString('latin1', 0, 80)
        this.uncoded.push(
          `${who} answered ${answer.status} ${JSON.stringify(said)} to ${JSON.stringify(asked.toString('latin1', 0, 200))}`,
        )
      }
    }
  }

  lines(): string[] {
    return [...this.#counts]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([what, n]) => `  ${String(n).padStart(8)}  ${what}`)
  }
}
