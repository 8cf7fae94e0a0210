/** Fields of JSON that somebody else wrote, read one by one; what is not of its kind is a TypeError that names the field. */

export type Fields = Readonly<Record<string, unknown>>

export function fields(value: unknown, name: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new TypeError(`${name} is no object`)
  return value as Fields
}

export function text(value: unknown, name: string): string {
  if (typeof value !== 'string') throw new TypeError(`${name} is no text`)
  return value
}

/** Counts, sizes and times: none of them is ever negative. */
export function number(value: unknown, name: string): number {
  if (typeof value !== 'number' || !(value >= 0 && value <= Number.MAX_SAFE_INTEGER)) {
    throw new TypeError(`${name} is no number of 0 or more`)
  }
  return value
}

export function count(value: unknown, name: string): number {
  const counted = number(value, name)
  if (!Number.isInteger(counted)) throw new TypeError(`${name} is no whole number`)
  return counted
}

export function boolean(value: unknown, name: string): boolean {
  if (typeof value !== 'boolean') throw new TypeError(`${name} is neither true nor false`)
  return value
}

export function oneOf<const T extends string>(value: unknown, name: string, words: readonly T[]): T {
  const word = words.find(w => w === value)
  if (word === undefined) throw new TypeError(`${name} is none of ${words.join(', ')}`)
  return word
}

export function list<T>(value: unknown, name: string, read: (item: unknown) => T): T[] {
  if (!Array.isArray(value)) throw new TypeError(`${name} is no list`)
  return value.map(item => read(item))
}

export const nullable = <T>(value: unknown, read: (value: unknown) => T): T | null =>
  value === null ? null : read(value)
