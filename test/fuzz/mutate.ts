/** What damage, carelessness and malice make of bytes and of JSON. */

import fc from 'fast-check'

const ACTS = ['flip', 'set', 'cut', 'drop', 'insert', 'repeat', 'swap'] as const

/** One change of a piece of bytes; `at` and `size` may be any numbers, the bytes decide what they mean. */
export interface ByteEdit {
  readonly act: (typeof ACTS)[number]
  readonly at: number
  readonly size: number
  readonly byte: number
}

export const byteActs: readonly ByteEdit['act'][] = ACTS

export function edited(bytes: Buffer, { act, at, size, byte }: ByteEdit): Buffer {
  const from = bytes.byteLength === 0 ? 0 : at % bytes.byteLength
  const [before, piece, after] = [
    bytes.subarray(0, from),
    bytes.subarray(from, from + size),
    bytes.subarray(from + size),
  ]
  switch (act) {
    case 'flip':
      return Buffer.concat([before, piece.subarray(0, 1).map(b => b ^ (1 << (byte % 8))), bytes.subarray(from + 1)])
    case 'set':
      return Buffer.concat([before, Buffer.alloc(piece.byteLength, byte), after])
    case 'cut':
      return Buffer.from(before)
    case 'drop':
      return Buffer.concat([before, after])
    case 'insert':
      return Buffer.concat([before, Buffer.alloc(size, byte), bytes.subarray(from)])
    case 'repeat':
      return Buffer.concat([before, piece, piece, after])
    case 'swap':
      return Buffer.concat([before, after.subarray(0, size), piece, after.subarray(size)])
  }
}

const byteEdit: fc.Arbitrary<ByteEdit> = fc.record({
  act: fc.constantFrom(...ACTS),
  at: fc.nat(),
  size: fc.integer({ min: 1, max: 40 }),
  byte: fc.oneof(fc.constantFrom(0, 0x0a, 0x22, 0x2d, 0x5c, 0x7f, 0x80, 0xff), fc.nat(255)),
})

/** One to four edits, one after the other. */
export const damaged = (bytes: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> =>
  fc.tuple(bytes, fc.array(byteEdit, { minLength: 1, maxLength: 4 })).map(([some, edits]) => edits.reduce(edited, some))

const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)

/** Texts of JSON that no honest encoder writes, or that no decoder should stumble over. */
const ODD_JSON = [
  ...['null', 'true', 'false', '0', '-0', '-1', '1.5', '1e999', '-1e999', '9007199254740993', '4294967296', '1e-9'],
  ...['""', '" "', '"\\ud800"', '"\\udc00x"', '"\\u0000"', '"\\u001b[2J"', '"\\u202e"', '"\\n"', '"../../etc/passwd"'],
  ...['[]', '{}', '[null]', '[[]]', '{"length":1}', '{"toString":1,"valueOf":1}', '{"toJSON":1}'],
  ...['{"__proto__":{"polluted":1}}', '{"constructor":{"prototype":{"polluted":1}}}', '"__proto__"', '"toString"'],
  ...['"0000000000000000000000000000000000000000"', '"ABABABABABABABABABABABABABABABABABABABAB"'],
  ...['"00000000-0000-0000-0000-000000000000"', '"3F1C09AA-0000-4000-8000-000000000001"'],
  ...['', ',', '\ufeff{}', 'NaN', "'x'", '"\t"', '01', '{"a":1,}'],
]

export const oddJson: fc.Arbitrary<string> = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom(...ODD_JSON) },
  { weight: 6, arbitrary: fc.jsonValue({ maxDepth: 2 }).map(value => JSON.stringify(value)) },
  { weight: 3, arbitrary: fc.string({ unit: 'binary', maxLength: 60 }).map(text => JSON.stringify(text)) },
  { weight: 3, arbitrary: fc.double().map(String) },
  { weight: 1, arbitrary: fc.constantFrom(10, 1_000, 20_000).map(nested) },
  { weight: 1, arbitrary: fc.constantFrom(81, 1_001, 65_536, 70_000).map(n => JSON.stringify('x'.repeat(n))) },
)

const JSON_ACTS = [
  'replace',
  'remove',
  'twice',
  'before',
  'rename',
  'proto',
  'wrap',
  'more',
  'upper',
  'pad',
  'minus',
  'quote',
] as const

interface JsonEdit {
  readonly at: number
  readonly act: (typeof JSON_ACTS)[number]
  readonly json: string
}

const jsonEdit: fc.Arbitrary<JsonEdit> = fc.record({
  at: fc.nat(),
  act: fc.constantFrom('replace', 'replace', 'replace', ...JSON_ACTS),
  json: oddJson,
})

/** A value written as JSON with one to three of its places spoilt: its text may not even be JSON any more. */
export const spoilt = (value: fc.Arbitrary<unknown>): fc.Arbitrary<Buffer> =>
  fc.tuple(value, fc.array(jsonEdit, { minLength: 1, maxLength: 3 })).map(([good, edits]) => {
    const plain: unknown = JSON.parse(JSON.stringify(good) ?? 'null')
    return Buffer.from(new SpoiltText(plain, edits).text)
  })

const countOf = (value: unknown): number =>
  typeof value === 'object' && value !== null ? Object.values(value).reduce<number>((n, v) => n + countOf(v), 1) : 1

/** Places are counted as they are written: an object before its fields. */
class SpoiltText {
  readonly text: string
  readonly #edits: ReadonlyMap<number, JsonEdit>
  #place = 0

  constructor(value: unknown, edits: readonly JsonEdit[]) {
    const places = countOf(value)
    this.#edits = new Map(edits.map(edit => [edit.at % places, edit]))
    this.text = this.#write(value)
  }

  #write(value: unknown): string {
    const edit = this.#edits.get(this.#place++)
    const plain = this.#plain(value)
    switch (edit?.act) {
      case 'replace':
        return edit.json
      case 'wrap':
        return `[${plain}]`
      case 'more':
        return plain.replace(/\}$/, () => `,${JSON.stringify(edit.json.slice(0, 9))}:${edit.json}}`)
      case 'upper':
        return plain.toUpperCase()
      case 'pad':
        return plain.replace(/"$/, ' "')
      case 'minus':
        return `-${plain}`
      case 'quote':
        return JSON.stringify(plain)
      default:
        return plain
    }
  }

  #plain(value: unknown): string {
    if (Array.isArray(value)) return `[${value.map(one => this.#write(one)).join()}]`
    if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
    return `{${Object.entries(value)
      .flatMap(([name, one]) => this.#field(name, one))
      .join()}}`
  }

  #field(name: string, value: unknown): string[] {
    const edit = this.#edits.get(this.#place)
    const text = this.#write(value)
    const field = (as: string, what: string) => `${JSON.stringify(as)}:${what}`
    switch (edit?.act) {
      case 'remove':
        return []
      case 'twice':
        return [field(name, text), field(name, edit.json)]
      case 'before':
        return [field(name, edit.json), field(name, text)]
      case 'rename':
        return [field(name.toUpperCase(), text)]
      case 'proto':
        return [field('__proto__', text)]
      default:
        return [field(name, text)]
    }
  }
}

export const anyBytes = (maxLength = 200): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength }).map(some => Buffer.from(some))
